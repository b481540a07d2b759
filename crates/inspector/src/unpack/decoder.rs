//! A layer's stream as it is stored: compressed or not, as its first bytes tell and not its media type.
//!
//! Source: containerd, `pkg/archive/compression`; RFC 1952 §2.2 (members); RFC 8878 §3.1 (frames).

use super::limits::{Limits, Refusal};
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

const BUFFER_BYTES: usize = 256 << 10;
/// The largest zstd window that container runtimes take, and thus the most memory that one needs.
pub(super) const MAX_WINDOW_BYTES: u64 = 512 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The tar stream in `file`.
///
/// # Errors
/// `Damaged` for what is compressed in a way that container runtimes do not take.
pub(super) fn decoder(file: File, limits: Limits) -> Result<Box<dyn Read>, Refusal> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let start = reader.fill_buf().map_err(Refusal::Storage)?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(Members(Some(GzDecoder::new(reader)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(Zstd::new(reader, limits.window_bytes)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(unknown("xz")),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => return Err(unknown("bzip2")),
        [0x04, 0x22, 0x4d, 0x18, ..] => return Err(unknown("lz4")),
        // Plain tar; each header's checksum tells whether it is.
        _ => Box::new(reader),
    })
}

fn unknown(name: &str) -> Refusal {
    Refusal::Damaged(format!("it is compressed by {name}, which container runtimes do not take: build the image with gzip or zstd"))
}

/// Gzip members one after the other. What follows the last one and is none counts for nothing: the digest of what was read tells whether all was.
struct Members<R: BufRead>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else { break };
            if follows(&mut rest)? {
                self.0 = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Whether another member follows, zeros before it passed over.
fn follows(rest: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let start = rest.fill_buf()?;
        let zeros = start.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            // A buffer may end between the two bytes; the first one alone is no end that anybody writes.
            return Ok(start.starts_with(&GZIP) || start == &GZIP[..1]);
        }
        rest.consume(zeros);
    }
}

/// Zstandard frames, whose windows need memory.
struct Zstd<R: BufRead> {
    inner: zstd::Decoder<'static, R>,
    window_bytes: u64,
}

impl<R: BufRead> Zstd<R> {
    /// `window_bytes`: the largest window that there is memory for; a smaller power of two counts.
    fn new(reader: R, window_bytes: u64) -> Result<Self, Refusal> {
        let log = window_bytes.clamp(1 << 10, MAX_WINDOW_BYTES).ilog2();
        let mut inner = zstd::Decoder::with_buffer(reader).map_err(Refusal::reading)?;
        inner.window_log_max(log).map_err(Refusal::reading)?;
        Ok(Self { inner, window_bytes: 1 << log })
    }

    fn too_large(&self) -> Refusal {
        let mib = self.window_bytes >> 20;
        Refusal::TooLarge(if self.window_bytes >= MAX_WINDOW_BYTES {
            format!("it is compressed by zstd with a window of more than {mib} MiB, which container runtimes do not take")
        } else {
            format!("it is compressed by zstd with a window of more than {mib} MiB, which the scan pod's memory has no room for (smartstate.memory_limit)")
        })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|e| {
            // zstd's own words for a window beyond the limit; its binding gives no code.
            if e.to_string().contains("too much memory") { io::Error::other(self.too_large()) } else { e }
        })
    }
}
