//! Owners and modes of the unpacked files, as fakeroot reads them.
//!
//! The files themselves belong to the inspector and are readable for it; what the image says of them is only here.
//!
//! Source: fakeroot's `faked.cpp` (`save_database`, `load_database`).

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What the image says of one inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
    /// Type and permission bits.
    mode: u32,
    uid: u32,
    gid: u32,
}

/// What the image says of all inodes.
#[derive(Debug, Default)]
pub(crate) struct State {
    inodes: HashMap<u64, Owned>,
}

impl State {
    /// Records the file that is there now. `permissions`: with setuid, setgid and sticky. Ids beyond 32 bits, which no system has, become `nobody`'s.
    pub(crate) fn record(&mut self, file: &Metadata, permissions: u32, uid: u64, gid: u64) {
        const NOBODY: u32 = 65_534;
        let id = |id: u64| u32::try_from(id).unwrap_or(NOBODY);
        let mode = (file.mode() & 0o170_000) | (permissions & 0o7777);
        self.inodes.insert(file.ino(), Owned { mode, uid: id(uid), gid: id(gid) });
    }

    /// What is recorded of a file.
    pub(crate) fn owned(&self, file: &Metadata) -> Option<Owned> {
        self.inodes.get(&file.ino()).copied()
    }

    /// Records for a file what was recorded of another.
    pub(crate) fn own(&mut self, file: &Metadata, owned: Owned) {
        self.inodes.insert(file.ino(), owned);
    }

    /// The file is about to go; its inode may be used again.
    pub(crate) fn forget(&mut self, file: &Metadata) {
        if file.is_dir() || file.nlink() <= 1 {
            self.inodes.remove(&file.ino());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Writes the state; all inodes are on the device of `root`. One line each, in the order of inodes.
    pub(crate) fn write(&self, root: &Path, to: &Path) -> io::Result<()> {
        let device = root.symlink_metadata()?.dev();
        let mut inodes: Vec<_> = self.inodes.iter().collect();
        inodes.sort_unstable_by_key(|(inode, _)| **inode);
        let mut out = BufWriter::new(File::create(to)?);
        for (inode, Owned { mode, uid, gid }) in inodes {
            // fakeroot takes the number of links from the file itself.
            writeln!(out, "dev={device:x},ino={inode},mode={mode:o},uid={uid},gid={gid},nlink=1,rdev=0")?;
        }
        out.flush()
    }
}
