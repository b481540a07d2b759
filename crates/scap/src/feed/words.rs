//! Ids and names, each kept once and known by a number.

use super::FeedError;
use super::limits::MAX_WORD_BYTES;
use std::collections::HashMap;
use std::sync::Arc;

/// Words by number, and numbers by word.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<Arc<str>, u32>,
    words: Vec<Arc<str>>,
    bytes: usize,
}

impl Words {
    /// The number of `word`, a new one when it is not known.
    pub(super) fn number(&mut self, word: &str) -> Result<u32, FeedError> {
        if let Some(number) = self.numbers.get(word) {
            return Ok(*number);
        }
        self.bytes += word.len();
        if self.bytes > MAX_WORD_BYTES {
            return Err(FeedError::too_large("more than 64 MiB of ids or names"));
        }
        let number = u32::try_from(self.words.len()).map_err(|_| FeedError::too_large("too many ids or names"))?;
        let word: Arc<str> = word.into();
        self.words.push(word.clone());
        self.numbers.insert(word, number);
        Ok(number)
    }

    pub(super) fn find(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn word(&self, number: u32) -> &str {
        &self.words[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }
}
