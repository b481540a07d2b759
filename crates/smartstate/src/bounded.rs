//! Reading JSON of strangers: what an answer may hold in memory is limited while it is read, and not only when it is there.
//!
//! Two guards work together. [`Lexer`] looks at the bytes on their way to the parser: their number, the length of one text, the depth of nesting.
//! [`Bounded`] stands between the parser and the type: it charges each text and each item of a list or map to a budget *before* it is made, whatever the type
//! does with it (serde itself collects unknown fields of tagged enums, for example).

mod wrap;

use serde::de::{self, DeserializeOwned};
use std::cell::Cell;
use std::io::{self, BufReader, Read};
use wrap::Bounded;

/// The largest window that a zstd frame may ask for, as a power of two: 8 MiB. The inspector's need 2 MiB.
pub(crate) const ZSTD_WINDOW_LOG: u32 = 23;

/// What one document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of the document.
    pub document_bytes: u64,
    /// Bytes of one text in it.
    pub text_bytes: usize,
    /// Lists and objects in each other.
    pub depth: usize,
    /// Items of one list or map.
    pub items: usize,
    /// Bytes in memory of all that is made of it.
    pub held_bytes: usize,
}

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// Past a limit; where and which.
    #[error("{0}")]
    TooMuch(String),
    #[error("{0}")]
    Malformed(String),
}

/// Reads zstd of JSON.
///
/// # Errors
/// Past a limit, or malformed; the message names the field where there is one.
pub(crate) fn from_zstd<T: DeserializeOwned>(packed: &[u8], limits: Limits) -> Result<T, Unread> {
    let damaged = |error: io::Error| Unread::Malformed(format!("it is not compressed with zstd: {error}"));
    from_reader(decoder(packed).map_err(damaged)?, limits)
}

/// Reads JSON.
///
/// # Errors
/// As [`from_zstd`].
pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8], limits: Limits) -> Result<T, Unread> {
    from_reader(json, limits)
}

/// A decoder of zstd that takes no more memory than our own frames need.
///
/// # Errors
/// Those of zstd.
pub(crate) fn decoder(packed: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn from_reader<T: DeserializeOwned>(reader: impl Read, limits: Limits) -> Result<T, Unread> {
    let budget = Budget { left: Cell::new(limits.held_bytes), items: limits.items, exceeded: Cell::new(false) };
    let lexer = Lexer { inner: reader, limits, budget: &budget, read: 0, text: 0, depth: 0, within: Within::Structure };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, lexer));
    let read = serde_path_to_error::deserialize(Bounded::new(&mut json, &budget)).map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.into_inner().to_string());
        if path == "." { cause } else { format!("{path}: {cause}") }
    });
    let ended = read.and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()));
    ended.map_err(|text| {
        let text = crate::words::clean(&text, 300);
        if budget.exceeded.get() { Unread::TooMuch(text) } else { Unread::Malformed(text) }
    })
}

/// What is left of [`Limits::held_bytes`].
struct Budget {
    left: Cell<usize>,
    items: usize,
    exceeded: Cell<bool>,
}

impl Budget {
    fn charge<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.refuse("it holds more than the server keeps in memory")),
        }
    }

    fn count<E: de::Error>(&self, items: usize) -> Result<(), E> {
        if items <= self.items { Ok(()) } else { Err(self.refuse(&format!("more than {} items", self.items))) }
    }

    fn refuse<E: de::Error>(&self, why: &str) -> E {
        self.exceeded.set(true);
        E::custom(why)
    }
}

/// Looks at JSON on its way to the parser.
struct Lexer<'a, R> {
    inner: R,
    limits: Limits,
    budget: &'a Budget,
    read: u64,
    text: usize,
    depth: usize,
    within: Within,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Structure,
    Text,
    /// Behind a backslash.
    Escape,
}

impl<R: Read> Read for Lexer<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        if self.read > self.limits.document_bytes {
            return Err(self.refuse(format!("it is larger than {} bytes", self.limits.document_bytes)));
        }
        for &byte in &buffer[..count] {
            self.see(byte)?;
        }
        Ok(count)
    }
}

impl<R> Lexer<'_, R> {
    fn see(&mut self, byte: u8) -> io::Result<()> {
        match (self.within, byte) {
            (Within::Structure, b'"') => (self.within, self.text) = (Within::Text, 0),
            (Within::Structure, b'[' | b'{') => self.depth += 1,
            (Within::Structure, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (Within::Text, b'"') => self.within = Within::Structure,
            (Within::Text, b'\\') => (self.within, self.text) = (Within::Escape, self.text + 1),
            (Within::Text | Within::Escape, _) => (self.within, self.text) = (Within::Text, self.text + 1),
            _ => return Ok(()),
        }
        if self.text > self.limits.text_bytes {
            return Err(self.refuse(format!("a text in it is longer than {} bytes", self.limits.text_bytes)));
        }
        if self.depth > self.limits.depth {
            return Err(self.refuse(format!("more than {} lists and objects are in each other", self.limits.depth)));
        }
        Ok(())
    }

    fn refuse(&self, why: String) -> io::Error {
        self.budget.exceeded.set(true);
        io::Error::other(why)
    }
}

#[cfg(test)]
mod tests;
