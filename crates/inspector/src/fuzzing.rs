//! Doors for the fuzz targets (tests/fuzz) to what the crate keeps to itself. Compiled with `--cfg fuzzing` alone.

use crate::unpack::{self, Limits, Tree};
use crate::{challenge, config, manifest};
use std::fs;
use std::path::Path;

/// What one unpacked image of a fuzz target may take.
const UNPACKED_BYTES: u64 = 64 << 20;
const ENTRIES: u64 = 10_000;
const WINDOW_BYTES: u64 = 8 << 20;

/// Unpacks `layers` one over the other into `folder`/root; `folder` exists and is empty.
pub fn unpack<'a>(layers: impl Iterator<Item = &'a [u8]>, folder: &Path) {
    let limits = Limits { unpacked_bytes: UNPACKED_BYTES, entries: ENTRIES, window_bytes: WINDOW_BYTES };
    let mut tree = Tree::create(&folder.join("root"), limits).expect("the folder is ours and empty");
    let file = folder.join("layer");
    for layer in layers {
        fs::write(&file, layer).expect("the folder is ours");
        // No fuzzer finds the digest; the layer is unpacked before it is compared.
        let _ = unpack::apply(&mut tree, &file, layer.len() as u64, "");
    }
    let _ = tree.notes.sentences();
}

/// Reads a manifest or a list.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest::Manifest::List(list)) = manifest::parse(bytes) {
        let _ = list.iter().filter(|entry| manifest::is_list(entry) || manifest::is_companion(entry)).count();
    }
}

/// Reads an image's configuration.
pub fn config(bytes: &[u8]) {
    let _ = config::parse(bytes, 1);
}

/// Reads what a registry asks for.
pub fn challenge(text: &str) {
    let _ = challenge::parse(text.lines());
}
