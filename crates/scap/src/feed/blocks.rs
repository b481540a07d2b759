//! The feed's own text, compressed in blocks, so that pieces of it can be taken out.

use super::FeedError;
use super::limits::{MAX_FRAGMENT_BYTES, MAX_PACKED_BYTES};

/// Small enough that an image that needs a little of each block is served quickly, large enough to compress well.
const BLOCK_BYTES: usize = 32 << 10;
const LEVEL: i32 = 1;

/// Where an element's text is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    block: u32,
    start: u32,
    bytes: u32,
}

/// Takes text in, piece by piece.
#[derive(Default)]
pub(super) struct Packer {
    blocks: Vec<Box<[u8]>>,
    open: Vec<u8>,
    packed_bytes: usize,
}

impl Packer {
    pub(super) fn add(&mut self, text: &[u8]) -> Result<Fragment, FeedError> {
        if text.len() > MAX_FRAGMENT_BYTES {
            return Err(FeedError::too_large("one definition, test or object of more than 4 MiB"));
        }
        let number = |n: usize| u32::try_from(n).expect("blocks are bounded by MAX_PACKED_BYTES, and what is in them by MAX_FRAGMENT_BYTES");
        let fragment = Fragment { block: number(self.blocks.len()), start: number(self.open.len()), bytes: number(text.len()) };
        self.open.extend_from_slice(text);
        if self.open.len() >= BLOCK_BYTES {
            self.close()?;
        }
        Ok(fragment)
    }

    fn close(&mut self) -> Result<(), FeedError> {
        let block = zstd::bulk::compress(&self.open, LEVEL).map_err(|e| FeedError::Malformed(e.to_string()))?;
        self.open.clear();
        self.packed_bytes += block.len();
        if self.packed_bytes > MAX_PACKED_BYTES {
            return Err(FeedError::too_large("more than 192 MiB when compressed"));
        }
        self.blocks.push(block.into_boxed_slice());
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Blocks, FeedError> {
        self.close()?;
        Ok(Blocks(self.blocks))
    }
}

/// All of the text.
#[derive(Debug)]
pub(super) struct Blocks(Vec<Box<[u8]>>);

impl Blocks {
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { blocks: self, at: None, text: Vec::new() }
    }
}

/// Gives fragments out; quick when they are asked for in the feed's order.
pub(super) struct Reader<'a> {
    blocks: &'a Blocks,
    at: Option<u32>,
    text: Vec<u8>,
}

impl Reader<'_> {
    pub(super) fn get(&mut self, fragment: Fragment) -> Result<&str, FeedError> {
        if self.at != Some(fragment.block) {
            let block = &self.blocks.0[fragment.block as usize];
            self.text = zstd::bulk::decompress(block, BLOCK_BYTES + MAX_FRAGMENT_BYTES).map_err(|e| FeedError::Malformed(e.to_string()))?;
            self.at = Some(fragment.block);
        }
        let (start, bytes) = (fragment.start as usize, fragment.bytes as usize);
        std::str::from_utf8(&self.text[start..start + bytes]).map_err(|e| FeedError::Malformed(e.to_string()))
    }
}
