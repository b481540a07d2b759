//! Files that we put there or change, once the image is whole.

use super::{FOLDER_MODE, Tree, metadata};
use crate::unpack::limits::Refusal;
use std::fs::{self, Metadata, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

impl Tree {
    /// Puts a file of ours there, in place of anything that the image has in its way.
    pub(crate) fn put(&mut self, names: &[&str], bytes: &[u8]) -> Result<(), Refusal> {
        let mut real = PathBuf::new();
        for (number, name) in names.iter().enumerate() {
            real.push(name);
            let path = self.root.join(&real);
            let there = metadata(&path)?;
            let is_file = number + 1 == names.len();
            if !is_file && there.as_ref().is_some_and(Metadata::is_dir) {
                continue;
            }
            self.remove(&real, there)?;
            if is_file {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).map_err(Refusal::Storage)?;
                file.write_all(bytes).map_err(Refusal::Storage)?;
            } else {
                fs::create_dir(&path).map_err(Refusal::Storage)?;
            }
            let file = path.symlink_metadata().map_err(Refusal::Storage)?;
            self.state.record(&file, if is_file { 0o644 } else { FOLDER_MODE }, 0, 0);
        }
        Ok(())
    }

    /// Replaces what the file at `real` says: its owner and mode stay, and its other names keep the old content.
    pub(crate) fn rewrite(&mut self, real: &Path, bytes: &[u8]) -> Result<(), Refusal> {
        let path = self.root.join(real);
        let owned = self.state.owned(&path.symlink_metadata().map_err(Refusal::Storage)?);
        self.remove(real, metadata(&path)?)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(Refusal::Storage)?;
        file.write_all(bytes).map_err(Refusal::Storage)?;
        self.bytes += bytes.len() as u64;
        self.room.take(bytes.len() as u64)?;
        if let Some(owned) = owned {
            self.state.own(&file.metadata().map_err(Refusal::Storage)?, owned);
        }
        Ok(())
    }
}
