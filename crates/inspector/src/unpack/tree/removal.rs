//! Taking away what a layer hides or replaces.

use super::Tree;
use crate::unpack::limits::Refusal;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

impl Tree {
    /// Removes what lower layers have at `names`; what this layer made there stays.
    pub(in crate::unpack) fn hide(&mut self, names: &[OsString]) -> Result<(), Refusal> {
        match self.find(names)? {
            Some((real, file)) if file.is_dir() => self.clear(&real, true, false),
            Some((real, file)) if !self.is_fresh(&real) => self.remove(&real, Some(file)),
            _ => Ok(()),
        }
    }

    /// Removes what lower layers have in the folder `names`.
    pub(in crate::unpack) fn hide_content(&mut self, names: &[OsString]) -> Result<(), Refusal> {
        match self.folder(names, false)? {
            Some(real) => self.clear(&real, false, false),
            None => Ok(()),
        }
    }

    pub(super) fn remove(&mut self, real: &Path, there: Option<Metadata>) -> Result<(), Refusal> {
        match there {
            None => Ok(()),
            Some(file) if file.is_dir() => self.clear(real, true, true),
            Some(file) => self.unlink(&self.root.join(real), &file),
        }
    }

    fn unlink(&mut self, path: &Path, file: &Metadata) -> Result<(), Refusal> {
        fs::remove_file(path).map_err(Refusal::Storage)?;
        self.state.forget(file);
        if file.is_file() && file.nlink() <= 1 {
            self.bytes = self.bytes.saturating_sub(file.len());
            self.room.give_back(file.len());
        }
        Ok(())
    }

    /// Removes what is below the folder `real` (and, with `itself`, the folder), but not what this layer made, unless `everything`.
    ///
    /// Without recursion: images may nest thousands of folders.
    fn clear(&mut self, real: &Path, itself: bool, everything: bool) -> Result<(), Refusal> {
        self.last = None;
        let mut folders = vec![real.to_owned()];
        let mut next = 0;
        while next < folders.len() {
            let folder = folders[next].clone();
            next += 1;
            for child in fs::read_dir(self.root.join(&folder)).map_err(Refusal::Storage)? {
                let child = child.map_err(Refusal::Storage)?;
                let (below, file) = (folder.join(child.file_name()), child.metadata().map_err(Refusal::Storage)?);
                if file.is_dir() {
                    folders.push(below);
                } else if everything || !self.is_fresh(&below) {
                    self.unlink(&child.path(), &file)?;
                }
            }
        }
        for folder in folders[usize::from(!itself)..].iter().rev() {
            if !everything && self.is_fresh(folder) {
                continue;
            }
            let path = self.root.join(folder);
            let there = path.symlink_metadata().map_err(Refusal::Storage)?;
            match fs::remove_dir(&path) {
                Ok(()) => {
                    self.state.forget(&there);
                    self.room.give_back(1);
                }
                // This layer has something in it.
                Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => {}
                Err(e) => return Err(Refusal::Storage(e)),
            }
        }
        Ok(())
    }
}
