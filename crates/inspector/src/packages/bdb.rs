//! Package headers from a Berkeley DB hash file (`Packages` of rpm before 4.16).
//!
//! The keys do not matter, so no bucket is ever looked up: every hash page is read in turn, and long values are followed along their overflow pages.
//!
//! Source: Berkeley DB 5.3, `src/dbinc/db_page.h`.

use super::rpm::MAX_HEADER_BYTES;
use super::{MAX_DATABASE_BYTES, MAX_PACKAGES};
use crate::inside;
use std::path::Path;

const HASH_MAGIC: u32 = 0x0006_1561;
const HASH_META_PAGE: u8 = 8;
const HASH_PAGES: [u8; 2] = [2, 13]; // unsorted (before 4.6), sorted
const OVERFLOW_PAGE: u8 = 7;
const PAGE_HEADER_BYTES: usize = 26;
const ITEM_INLINE: u8 = 1;
const ITEM_OFF_PAGE: u8 = 3;

/// The header of each package; the error is a reason for people.
pub(super) fn headers(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes = inside::read_at(path, MAX_DATABASE_BYTES).map_err(|e| e.to_string())?;
    let file = Hash::open(&bytes)?;
    let mut headers = Vec::new();
    let mut total = 0u64;
    for page in 1..file.pages() {
        for value in file.values(page)? {
            let header = value.map_err(|reason| format!("page {page}: {reason}"))?;
            total += header.len() as u64;
            if headers.len() >= MAX_PACKAGES || total > MAX_DATABASE_BYTES {
                return Err("it names too many packages".into());
            }
            headers.push(header);
        }
    }
    Ok(headers)
}

struct Hash<'a> {
    bytes: &'a [u8],
    page_bytes: usize,
    swapped: bool,
}

impl<'a> Hash<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut file = Self { bytes, page_bytes: 512, swapped: false };
        let magic = file.u32(bytes, 12).ok_or("it is too short")?;
        file.swapped = magic.swap_bytes() == HASH_MAGIC;
        if (magic != HASH_MAGIC && !file.swapped) || bytes.get(25) != Some(&HASH_META_PAGE) {
            return Err("it is not a Berkeley DB hash file".into());
        }
        if bytes.get(24) != Some(&0) {
            return Err("it is encrypted".into());
        }
        file.page_bytes = file.u32(bytes, 20).unwrap_or(0) as usize;
        if !file.page_bytes.is_power_of_two() || !(512..=65_536).contains(&file.page_bytes) || !bytes.len().is_multiple_of(file.page_bytes) {
            return Err("it is cut off or its page size is wrong".into());
        }
        let last = file.u32(bytes, 32).unwrap_or(0) as usize;
        if last >= file.pages() {
            return Err("it is cut off".into());
        }
        Ok(file)
    }

    fn pages(&self) -> usize {
        self.bytes.len() / self.page_bytes
    }

    fn page(&self, number: usize) -> Option<&'a [u8]> {
        let start = number.checked_mul(self.page_bytes)?;
        self.bytes.get(start..start + self.page_bytes)
    }

    /// The values on a page; none when it is not a hash page. Keys and values alternate; rpm's counter (a value of four bytes) is left out.
    fn values(&self, number: usize) -> Result<impl Iterator<Item = Result<Vec<u8>, String>>, String> {
        let page = self.page(number).ok_or("it is cut off")?;
        let items = if HASH_PAGES.contains(&page[25]) { usize::from(self.u16(page, 20).unwrap_or(0)) } else { 0 };
        if PAGE_HEADER_BYTES + 2 * items > page.len() || !items.is_multiple_of(2) {
            return Err(format!("page {number} is damaged"));
        }
        Ok((1..items).step_by(2).map(move |item| self.value(page, item)).filter(|value| !value.as_ref().is_ok_and(|bytes| bytes.len() <= 4)))
    }

    fn value(&self, page: &[u8], item: usize) -> Result<Vec<u8>, String> {
        let offset = |item: usize| self.u16(page, PAGE_HEADER_BYTES + 2 * item).map(usize::from);
        let damaged = || "an entry is damaged".to_owned();
        // Items are stored from the page's end backwards: each ends where the one before begins.
        let (start, end) = (offset(item).ok_or_else(damaged)?, offset(item - 1).ok_or_else(damaged)?);
        let bytes = page.get(start..end).filter(|bytes| !bytes.is_empty()).ok_or_else(damaged)?;
        match bytes[0] {
            ITEM_INLINE => Ok(bytes[1..].to_vec()),
            ITEM_OFF_PAGE => {
                let first = self.u32(bytes, 4).ok_or_else(damaged)?;
                let length = self.u32(bytes, 8).ok_or_else(damaged)?;
                self.chain(first as usize, length as usize)
            }
            _ => Err("an entry is of an unknown kind".into()),
        }
    }

    /// A long value, along its overflow pages.
    fn chain(&self, first: usize, length: usize) -> Result<Vec<u8>, String> {
        if length > MAX_HEADER_BYTES {
            return Err("a package's header is larger than 16 MiB".into());
        }
        let mut value = Vec::with_capacity(length);
        let mut next = first;
        while value.len() < length {
            let page = self.page(next).filter(|page| next != 0 && page[25] == OVERFLOW_PAGE).ok_or("a package's header is cut off")?;
            let here = usize::from(self.u16(page, 22).unwrap_or(0));
            let data = page.get(PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + here).filter(|data| !data.is_empty()).ok_or("an overflow page is damaged")?;
            value.extend_from_slice(data);
            next = self.u32(page, 16).unwrap_or(0) as usize;
        }
        value.truncate(length);
        Ok(value)
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let value = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        Some(if self.swapped { value.swap_bytes() } else { value })
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let value = u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
        Some(if self.swapped { value.swap_bytes() } else { value })
    }
}
