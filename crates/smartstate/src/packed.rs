//! Content as it is put into a pod.

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Content ready to be put into a pod.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// Of the content itself, hex.
    pub sha256: String,
    /// The content as zstd.
    pub body: Bytes,
}

/// Compresses `content`.
///
/// # Errors
/// The compressor's own.
pub(crate) fn pack(content: &[u8]) -> std::io::Result<Packed> {
    Ok(Packed { sha256: hex::encode(Sha256::digest(content)), body: zstd::encode_all(content, 3)?.into() })
}
