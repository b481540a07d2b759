//! How much of an image is taken.

use super::decoder::MAX_WINDOW_BYTES;
use crate::failure::{bad_image, failure, storage};
use scap::protocol::{Failure, FailureCode};
use std::io::{self, ErrorKind, Read};
use thiserror::Error;

/// What an unpacked image may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What files (holes included), folders and the layers as stored may take on the disk at a time.
    pub unpacked_bytes: u64,
    /// Entries of all layers, and folders that no entry names.
    pub entries: u64,
    /// The largest window of zstd that there is memory for.
    pub window_bytes: u64,
}

impl Limits {
    /// With room in a container of `bytes` memory; the rest is for everything else that the inspector does.
    pub(crate) fn within_memory(self, bytes: u64) -> Self {
        const OWN_BYTES: u64 = 192 << 20;
        Self { window_bytes: bytes.saturating_sub(OWN_BYTES).min(MAX_WINDOW_BYTES), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 10 << 30, entries: 1_000_000, window_bytes: MAX_WINDOW_BYTES }
    }
}

/// A layer that unpacks to more than this many times its size is a bomb, once it is larger than [`BOMB_FROM_BYTES`].
const BOMB_RATIO: u64 = 200;
const BOMB_FROM_BYTES: u64 = 1 << 30;
/// What headers and padding may add to the files of an archive.
const OVERHEAD_BYTES: u64 = 2 << 30;

/// Why a layer could not be unpacked.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("writing the image's files: {0}")]
    Storage(io::Error),
}

impl Refusal {
    /// In the words of the report; `layer` counts from 1.
    pub(crate) fn failure(self, layer: usize) -> Failure {
        match self {
            Self::Damaged(what) => bad_image(format!("Layer {layer} of the image cannot be unpacked: {what}.")),
            Self::TooLarge(what) => failure(FailureCode::TooLarge, format!("The image is too large to be inspected: {what} (layer {layer}).")),
            Self::Storage(e) => storage("unpacking the image", &e),
        }
    }

    /// An error of the layer's stream; a limit that was passed on the way is in it.
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(refusal) => refusal,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".into()),
            Err(error) => Self::Damaged(error.to_string()),
        }
    }
}

/// The disk that an image takes, in the blocks that file systems give out.
pub(crate) struct Room {
    limit: u64,
    taken: u64,
    /// Layers as stored, beside the unpacked tree.
    pub(super) stored: u64,
}

impl Room {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, taken: 0, stored: 0 }
    }

    /// Room for a file of `bytes`, or a folder (1).
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.taken = self.taken.saturating_add(blocks(bytes));
        if self.taken.saturating_add(self.stored) > self.limit {
            let limit = self.limit >> 20;
            return Err(Refusal::TooLarge(format!("it unpacks to more than {limit} MiB, which the scan's storage has room for (smartstate.storage_limit)")));
        }
        Ok(())
    }

    pub(super) const fn give_back(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_sub(blocks(bytes));
    }
}

const fn blocks(bytes: u64) -> u64 {
    const BLOCK: u64 = 4096;
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// A reader that stops a layer that grows out of proportion.
pub(crate) struct Guarded<R> {
    inner: R,
    read: u64,
    compressed: u64,
    most: u64,
}

impl<R: Read> Guarded<R> {
    /// `compressed`: the layer's size as stored.
    pub(crate) fn new(inner: R, compressed: u64, limits: Limits) -> Self {
        Self { inner, read: 0, compressed, most: limits.unpacked_bytes.saturating_add(OVERHEAD_BYTES) }
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.read > self.most {
            return Err(io::Error::other(Refusal::TooLarge(format!("the archive is larger than {} MiB", self.most >> 20))));
        }
        if is_bomb(self.read, self.compressed) {
            return Err(io::Error::other(Refusal::TooLarge(format!("it unpacks to more than {BOMB_RATIO} times its size"))));
        }
        Ok(read)
    }
}

/// `unpacked` bytes out of `compressed` are out of proportion.
pub(crate) fn is_bomb(unpacked: u64, compressed: u64) -> bool {
    unpacked > BOMB_FROM_BYTES && unpacked / BOMB_RATIO > compressed
}
