//! One layer: its stream, its entries, its whiteouts.

use super::decoder::decoder;
use super::limits::{Guarded, Refusal};
use super::links::clean;
use super::tree::Tree;
use crate::archive::{Archive, Entry};
use sha2::{Digest as _, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tar::EntryType;

const BUFFER_BYTES: usize = 256 << 10;

/// Unpacks the layer in `file` (gzip, zstd or plain, as its first bytes tell) over what `tree` holds.
///
/// `compressed`: its size in bytes; `diff_id`: digest of its tar stream, verified at the end.
///
/// # Errors
/// The tree is then to be thrown away. Entries that cannot be as they are (see [`crate::notes::Notes`]) are no errors.
pub(crate) fn apply(tree: &mut Tree, file: &Path, compressed: u64, diff_id: &str) -> Result<(), Refusal> {
    let stream = decoder(File::open(file).map_err(Refusal::Storage)?, tree.limits())?;
    let hashed = Hashed { inner: Guarded::new(stream, compressed, tree.limits()), hash: Sha256::new() };
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, hashed));
    tree.begin_layer(compressed);
    while let Some(entry) = archive.next().map_err(Refusal::reading)? {
        add(tree, &entry, &mut archive)?;
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Refusal::reading)?;
    let found = format!("sha256:{}", hex::encode(rest.into_inner().hash.finalize()));
    if found != diff_id {
        return Err(Refusal::Damaged("its content is not what the image's configuration promises (diff_id)".into()));
    }
    Ok(())
}

fn add(tree: &mut Tree, entry: &Entry, content: &mut impl Read) -> Result<(), Refusal> {
    tree.count_entry()?;
    let Some(cleaned) = clean(&entry.path) else {
        tree.notes.unwritable.add(&entry.path);
        return Ok(());
    };
    if cleaned.clamped {
        tree.notes.escaping.add(&entry.path);
    }
    if entry.has_capabilities {
        tree.notes.capabilities.add(&entry.path);
    }
    let names = cleaned.names;
    let Some((name, folder)) = names.split_last() else {
        return if entry.kind == EntryType::Directory { tree.set_root(entry) } else { Ok(()) };
    };
    if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
        return whiteout(tree, folder, hidden);
    }
    match entry.kind {
        EntryType::Directory => tree.add_folder(&names, entry),
        // Old archives mark folders by the slash alone.
        EntryType::Regular if entry.path.ends_with(b"/") && entry.size == 0 => tree.add_folder(&names, entry),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => tree.add_file(&names, entry, content),
        EntryType::Symlink => tree.add_link(&names, entry),
        EntryType::Link => tree.add_hard_link(&names, entry),
        _ => {
            // A device may well replace a file of a lower layer.
            tree.hide(&names)?;
            tree.notes.special.add(&entry.path);
            Ok(())
        }
    }
}

/// `hidden`: what follows `.wh.` in the name.
fn whiteout(tree: &mut Tree, folder: &[OsString], hidden: &[u8]) -> Result<(), Refusal> {
    match hidden {
        b".wh..opq" => tree.hide_content(folder),
        // Other marks of AUFS, and names that are none.
        b"" | b"." | b".." => Ok(()),
        mark if mark.starts_with(b".wh.") => Ok(()),
        name => {
            let mut names = folder.to_vec();
            names.push(OsStr::from_bytes(name).to_owned());
            tree.hide(&names)
        }
    }
}

/// Hashes what is read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
