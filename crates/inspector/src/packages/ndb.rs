//! Package headers from rpm's own database format (`Packages.db` of SUSE).
//!
//! Source: rpm, `lib/backend/ndb/rpmpkg.c`.

use super::rpm::MAX_HEADER_BYTES;
use super::{MAX_DATABASE_BYTES, MAX_PACKAGES};
use crate::inside;
use std::path::Path;

const PAGE_BYTES: usize = 4096;
const SLOT_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
/// The file's header takes the place of the first slots.
const FIRST_SLOT: usize = 2;
const BLOB_HEAD_BYTES: usize = 16;

/// The header of each package; the error is a reason for people.
pub(super) fn headers(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes = inside::read_at(path, MAX_DATABASE_BYTES).map_err(|e| e.to_string())?;
    if bytes.get(..4) != Some(b"RpmP") || number(&bytes, 4) != Some(0) {
        return Err("it is not an rpm package database".into());
    }
    let slots = number(&bytes, 12).unwrap_or(0).checked_mul(PAGE_BYTES).and_then(|size| bytes.get(..size)).ok_or("it is cut off")?;
    let mut headers = Vec::new();
    let mut total = 0;
    for slot in slots.chunks_exact(SLOT_BYTES).skip(FIRST_SLOT) {
        if &slot[..4] != b"Slot" {
            return Err("its list of packages is damaged".into());
        }
        let header = match number(slot, 8) {
            None | Some(0) => continue, // free
            Some(block) => blob(&bytes, block, &slot[4..8])?,
        };
        total += header.len() as u64;
        if headers.len() >= MAX_PACKAGES || total > MAX_DATABASE_BYTES {
            return Err("it names too many packages".into());
        }
        headers.push(header);
    }
    Ok(headers)
}

/// The header at block `block`, which must belong to the package `index`.
fn blob(bytes: &[u8], block: usize, index: &[u8]) -> Result<Vec<u8>, String> {
    let damaged = || "a package's header is damaged".to_owned();
    let start = block.checked_mul(BLOCK_BYTES).ok_or_else(damaged)?;
    let head = bytes.get(start..start + BLOB_HEAD_BYTES).ok_or_else(damaged)?;
    let length = number(head, 12).ok_or_else(damaged)?;
    if &head[..4] != b"BlbS" || &head[4..8] != index || length > MAX_HEADER_BYTES {
        return Err(damaged());
    }
    let data = start + BLOB_HEAD_BYTES;
    Ok(bytes.get(data..data + length).ok_or_else(damaged)?.to_vec())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}
