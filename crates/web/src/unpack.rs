//! Stored documents, unpacked while they are sent: an ARF of 95 MB takes no more memory than its zstd.

use axum::body::{Body, Bytes};
use futures::stream::try_unfold;
use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Result};

const CHUNK_BYTES: usize = 128 * 1024;

struct Unpacking {
    decoder: zstd::Decoder<'static, BufReader<Cursor<Vec<u8>>>>,
    left: u64,
}

/// The document inside of `packed` (zstd), which has `size_bytes`. One that is shorter, longer or broken ends with an error, so that the reader sees an
/// interrupted download, never a part as if it were all.
///
/// # Errors
/// zstd cannot begin.
pub fn body(packed: Vec<u8>, size_bytes: u64) -> Result<Body> {
    let unpacking = Unpacking { decoder: zstd::Decoder::new(Cursor::new(packed))?, left: size_bytes };
    Ok(Body::from_stream(try_unfold(unpacking, |unpacking| async {
        let next = match tokio::task::spawn_blocking(move || unpacking.next()).await {
            Ok(next) => next,
            Err(error) => Err(Error::other(error)),
        };
        next.inspect_err(|error| tracing::error!(%error, "a stored document could not be unpacked to its end"))
    })))
}

impl Unpacking {
    fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = self.decoder.read(&mut chunk)?;
        chunk.truncate(read);
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| Error::new(ErrorKind::InvalidData, "it is longer than it was when it was stored"))?;
        match read {
            0 if self.left > 0 => Err(Error::new(ErrorKind::UnexpectedEof, "it is shorter than it was when it was stored")),
            0 => Ok(None),
            _ => Ok(Some((chunk.into(), self))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn document() -> Vec<u8> {
        (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    #[tokio::test]
    async fn a_document_arrives_as_it_was_stored() {
        let document = document();
        let packed = zstd::encode_all(document.as_slice(), 1).unwrap();
        assert!(body(packed, document.len() as u64).unwrap().collect().await.unwrap().to_bytes() == document);
    }

    #[tokio::test]
    async fn what_is_not_the_whole_document_ends_with_an_error() {
        let document = document();
        let packed = zstd::encode_all(document.as_slice(), 1).unwrap();
        let cut = packed[..packed.len() / 2].to_vec();
        for (packed, size) in [(packed.clone(), document.len() - 1), (packed, document.len() + 1), (cut, document.len())] {
            assert!(body(packed, size as u64).unwrap().collect().await.is_err());
        }
    }
}
