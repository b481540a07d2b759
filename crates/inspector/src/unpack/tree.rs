//! The folder that an image is unpacked into.
//!
//! We alone write there, so a path that was looked at component by component stays what it was; no call ever follows a link.

mod ours;
mod removal;

use super::limits::{Limits, Refusal, Room, is_bomb};
use super::links::{clean, meaning, rewrite};
use crate::archive::Entry;
use crate::failure::is_full;
use crate::notes::Notes;
use crate::state::State;
use nix::errno::Errno;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

/// As the kernel has it.
const MAX_LINKS_FOLLOWED: u32 = 40;
const FOLDER_MODE: u32 = 0o755;

pub(crate) struct Tree {
    root: PathBuf,
    limits: Limits,
    /// Size of the layer being unpacked as stored.
    compressed: u64,
    pub(crate) state: State,
    pub(crate) notes: Notes,
    /// Hashes of the real paths that this layer made: its whiteouts spare them.
    fresh: HashSet<u64>,
    hasher: RandomState,
    /// The folder asked for last, as named and as it really is.
    last: Option<(Vec<OsString>, PathBuf)>,
    buffer: Vec<u8>,
    pub(crate) entries: u64,
    /// Sum of the regular files that are there.
    pub(crate) bytes: u64,
    room: Room,
}

impl Tree {
    /// An empty root at `root`, which must not exist.
    pub(crate) fn create(root: &Path, limits: Limits) -> io::Result<Self> {
        fs::create_dir(root)?;
        let mut state = State::default();
        state.record(&root.symlink_metadata()?, FOLDER_MODE, 0, 0);
        Ok(Self {
            root: root.to_owned(),
            limits,
            compressed: 0,
            state,
            notes: Notes::default(),
            fresh: HashSet::new(),
            hasher: RandomState::new(),
            last: None,
            buffer: vec![0; 128 << 10],
            entries: 0,
            bytes: 0,
            room: Room::new(limits.unpacked_bytes),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) const fn limits(&self) -> Limits {
        self.limits
    }

    /// How many bytes layers that are not unpacked yet take beside the tree.
    pub(crate) const fn keep_room_for(&mut self, stored_bytes: u64) {
        self.room.stored = stored_bytes;
    }

    /// What comes now belongs to the next layer, which is `compressed` bytes as stored.
    pub(super) fn begin_layer(&mut self, compressed: u64) {
        self.fresh.clear();
        self.compressed = compressed;
    }

    /// Folders that no entry names count too: one entry can make a thousand of them.
    pub(super) fn count_entry(&mut self) -> Result<(), Refusal> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Refusal::TooLarge(format!("it has more than {} files", self.limits.entries)));
        }
        Ok(())
    }

    pub(super) fn add_folder(&mut self, names: &[OsString], entry: &Entry) -> Result<(), Refusal> {
        let Some(real) = self.real(names)? else { return Ok(()) };
        let path = self.root.join(&real);
        let there = metadata(&path)?;
        if !there.as_ref().is_some_and(Metadata::is_dir) {
            self.remove(&real, there)?;
            if self.refused(fs::create_dir(&path), entry)?.is_none() {
                return Ok(());
            }
            self.room.take(1)?;
        }
        self.made(&real, entry)
    }

    /// Writes a file with the content that `content` has for it.
    pub(super) fn add_file(&mut self, names: &[OsString], entry: &Entry, content: &mut impl Read) -> Result<(), Refusal> {
        if is_bomb(entry.size, self.compressed) {
            return Err(Refusal::TooLarge("a file in it is far larger than what is stored of it".into()));
        }
        let Some(real) = self.vacant(names)? else { return Ok(()) };
        // Readable and removable for us whatever the image says; its own word is in the state.
        let mode = 0o600 | (entry.mode & 0o777);
        let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(self.root.join(&real));
        let Some(mut file) = self.refused(created, entry)? else { return Ok(()) };
        self.room.take(entry.size)?;
        match &entry.sparse {
            None => self.copy(content, &mut file, entry.size)?,
            Some(segments) => {
                file.set_len(entry.size).map_err(Refusal::Storage)?;
                for (offset, length) in segments {
                    file.seek(SeekFrom::Start(*offset)).map_err(Refusal::Storage)?;
                    self.copy(content, &mut file, *length)?;
                }
            }
        }
        self.bytes += entry.size;
        self.made(&real, entry)
    }

    pub(super) fn add_link(&mut self, names: &[OsString], entry: &Entry) -> Result<(), Refusal> {
        let Some(real) = self.vacant(names)? else { return Ok(()) };
        let Some((target, clamped)) = rewrite(real.parent().unwrap_or(Path::new("")), &entry.link) else {
            self.notes.unwritable.add(&entry.path);
            return Ok(());
        };
        if clamped {
            self.notes.bent_links.add(&entry.path);
        }
        match self.refused(symlink(target, self.root.join(&real)), entry)? {
            Some(()) => self.made(&real, entry),
            None => Ok(()),
        }
    }

    pub(super) fn add_hard_link(&mut self, names: &[OsString], entry: &Entry) -> Result<(), Refusal> {
        let found = match clean(&entry.link) {
            Some(cleaned) => self.find(&cleaned.names)?,
            None => None,
        };
        let Some((target, file)) = found.filter(|(_, file)| !file.is_dir()) else {
            self.notes.dangling.add(&entry.path);
            return Ok(());
        };
        if file.is_symlink() {
            return self.repeat_link(names, entry, &target);
        }
        if self.real(names)?.as_deref() == Some(&target) {
            return Ok(());
        }
        let Some(real) = self.vacant(names)? else { return Ok(()) };
        let linked = fs::hard_link(self.root.join(target), self.root.join(&real));
        if self.refused(linked, entry)?.is_some() {
            self.mark(&real);
        }
        Ok(())
    }

    /// A second name for a link. It may be in a folder of another depth, where the same text would mean another place, or one outside.
    fn repeat_link(&mut self, names: &[OsString], entry: &Entry, existing: &Path) -> Result<(), Refusal> {
        let target = fs::read_link(self.root.join(existing)).map_err(Refusal::Storage)?;
        let target = meaning(existing.parent().unwrap_or(Path::new("")), &target);
        let link = Entry { link: target.as_os_str().as_bytes().to_vec(), path: entry.path.clone(), sparse: None, ..*entry };
        self.add_link(names, &link)
    }

    /// The root's own owner and mode.
    pub(super) fn set_root(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.made(Path::new(""), entry)
    }

    /// What is at `names`, its last name not followed.
    pub(super) fn find(&mut self, names: &[OsString]) -> Result<Option<(PathBuf, Metadata)>, Refusal> {
        let Some((name, folder)) = names.split_last() else { return Ok(None) };
        let Some(folder) = self.folder(folder, false)? else { return Ok(None) };
        let real = folder.join(name);
        Ok(metadata(&self.root.join(&real))?.map(|file| (real, file)))
    }

    /// Where `names` really is, its folder made if need be; `None`, noted, when that cannot be.
    fn real(&mut self, names: &[OsString]) -> Result<Option<PathBuf>, Refusal> {
        let Some((name, folder)) = names.split_last() else { return Ok(None) };
        match self.folder(folder, true)? {
            Some(folder) => Ok(Some(folder.join(name))),
            None => {
                self.notes.unwritable.add(names.iter().collect::<PathBuf>().as_os_str().as_bytes());
                Ok(None)
            }
        }
    }

    /// As [`Tree::real`], with nothing there any more.
    fn vacant(&mut self, names: &[OsString]) -> Result<Option<PathBuf>, Refusal> {
        let Some(real) = self.real(names)? else { return Ok(None) };
        let there = metadata(&self.root.join(&real))?;
        self.remove(&real, there)?;
        Ok(Some(real))
    }

    /// The folder `names` without links in its path, relative to the root. `None`: something else is in its way, or it is not there and not to be made.
    fn folder(&mut self, names: &[OsString], make: bool) -> Result<Option<PathBuf>, Refusal> {
        if let Some((last, real)) = &self.last
            && last == names
        {
            return Ok(Some(real.clone()));
        }
        let mut real = PathBuf::new();
        let mut links = 0;
        let mut ahead: Vec<OsString> = names.iter().rev().cloned().collect();
        while let Some(name) = ahead.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let path = self.root.join(&real).join(&name);
            match metadata(&path)? {
                Some(there) if there.is_dir() => real.push(name),
                Some(there) if there.is_symlink() && links < MAX_LINKS_FOLLOWED => {
                    links += 1;
                    let target = fs::read_link(&path).map_err(Refusal::Storage)?;
                    ahead.extend(target.components().rev().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned()));
                }
                None if make => match fs::create_dir(&path) {
                    Ok(()) => {
                        self.count_entry()?;
                        self.room.take(1)?;
                        real.push(name);
                        self.state.record(&path.symlink_metadata().map_err(Refusal::Storage)?, FOLDER_MODE, 0, 0);
                    }
                    Err(e) if is_of_the_name(&e) => return Ok(None),
                    Err(e) => return Err(Refusal::Storage(e)),
                },
                _ => return Ok(None),
            }
        }
        self.last = Some((names.to_vec(), real.clone()));
        Ok(Some(real))
    }

    fn copy(&mut self, from: &mut impl Read, to: &mut File, size: u64) -> Result<(), Refusal> {
        let mut left = size;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = from.read(&mut self.buffer[..room]).map_err(Refusal::reading)?;
            if read == 0 {
                return Err(Refusal::Damaged("it ends within a file".into()));
            }
            to.write_all(&self.buffer[..read]).map_err(Refusal::Storage)?;
            left -= read as u64;
        }
        Ok(())
    }

    fn made(&mut self, real: &Path, entry: &Entry) -> Result<(), Refusal> {
        let file = self.root.join(real).symlink_metadata().map_err(Refusal::Storage)?;
        // A link's permissions are always these.
        let mode = if file.is_symlink() { 0o777 } else { entry.mode };
        self.state.record(&file, mode, entry.uid, entry.gid);
        self.mark(real);
        Ok(())
    }

    fn mark(&mut self, real: &Path) {
        let hash = self.hasher.hash_one(real);
        self.fresh.insert(hash);
    }

    fn is_fresh(&self, real: &Path) -> bool {
        self.fresh.contains(&self.hasher.hash_one(real))
    }

    /// `None`, noted, when the system does not take the entry for what it is; an error when the storage fails.
    fn refused<T>(&mut self, result: io::Result<T>, entry: &Entry) -> Result<Option<T>, Refusal> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(e) if is_full(&e) || !is_of_the_name(&e) => Err(Refusal::Storage(e)),
            Err(_) => {
                self.notes.unwritable.add(&entry.path);
                Ok(None)
            }
        }
    }
}

/// `None` when there is nothing, or nothing can be.
fn metadata(path: &Path) -> Result<Option<Metadata>, Refusal> {
    match path.symlink_metadata() {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound || is_of_the_name(&e) => Ok(None),
        Err(e) => Err(Refusal::Storage(e)),
    }
}

/// The name or the target is at fault, not the storage.
fn is_of_the_name(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    error.kind() == ErrorKind::InvalidInput
        || matches!(code, Some(Errno::ENAMETOOLONG | Errno::EINVAL | Errno::ELOOP | Errno::EMLINK | Errno::ENOENT | Errno::ENOTDIR | Errno::EILSEQ))
}
