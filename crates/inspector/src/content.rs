//! SCAP content that the server hands over.

use crate::inspection::Inspection;
use crate::reference::is_hex_sha256;
use axum::body::Body;
use axum::http::StatusCode;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use tokio::io::AsyncWriteExt as _;

const MAX_COMPRESSED_BYTES: u64 = 256 << 20;
const MAX_BYTES: u64 = 1 << 30;

type Refused = (StatusCode, String);

/// Keeps the zstd `body` unpacked under the name `sha256`, which must be that of the unpacked bytes.
///
/// # Errors
/// 400: no such name, broken transfer, no zstd, another digest. 413: too large. 507: no space.
pub(crate) async fn store(inspection: &Inspection, sha256: &str, body: Body) -> Result<(), Refused> {
    if !is_hex_sha256(sha256) {
        return Err(bad("the name is no SHA-256"));
    }
    let packed = receive(inspection.temporary_dir(), body).await?;
    let (folder, name) = (inspection.content_dir(), sha256.to_owned());
    tokio::task::spawn_blocking(move || unpack(packed, folder, &name)).await.map_err(|e| bad(&e.to_string()))?
}

async fn receive(folder: PathBuf, body: Body) -> Result<File, Refused> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile_in(folder).map_err(|e| disk(&e))?);
    let mut stream = body.into_data_stream();
    let mut size = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| bad(&e.to_string()))?;
        size += chunk.len() as u64;
        if size > MAX_COMPRESSED_BYTES {
            return Err(too_large());
        }
        file.write_all(&chunk).await.map_err(|e| disk(&e))?;
    }
    file.flush().await.map_err(|e| disk(&e))?;
    Ok(file.into_std().await)
}

fn unpack(mut packed: File, folder: PathBuf, name: &str) -> Result<(), Refused> {
    packed.rewind().map_err(|e| disk(&e))?;
    let mut stream = zstd::Decoder::new(packed).map_err(|e| disk(&e))?.take(MAX_BYTES + 1);
    let mut out = tempfile::NamedTempFile::new_in(&folder).map_err(|e| disk(&e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let read = stream.read(&mut buffer).map_err(|e| bad(&format!("the body is no zstd: {e}")))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > MAX_BYTES {
            return Err(too_large());
        }
        hash.update(&buffer[..read]);
        out.write_all(&buffer[..read]).map_err(|e| disk(&e))?;
    }
    let found = hex::encode(hash.finalize());
    if found != name {
        return Err(bad(&format!("the content's SHA-256 is {found}")));
    }
    out.persist(folder.join(name)).map(|_| ()).map_err(|e| disk(&e.error))
}

fn bad(what: &str) -> Refused {
    (StatusCode::BAD_REQUEST, what.to_owned())
}

fn too_large() -> Refused {
    (StatusCode::PAYLOAD_TOO_LARGE, "the content is too large".to_owned())
}

fn disk(error: &io::Error) -> Refused {
    (StatusCode::INSUFFICIENT_STORAGE, error.to_string())
}
