//! One walk over the unpacked image that reads the files in which secrets are looked for.

use super::Facts;
use super::file::Found;
use super::places::{self, Look, Place};
use std::fs::{DirEntry, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Of a file that a rule names.
const MAX_NAMED_BYTES: u64 = 8 << 20;
/// Of a file that is only looked at for tokens; secrets are kept in small ones.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Of all files that are only looked at for tokens.
const MAX_BYTES: u64 = 1 << 30;
/// Of the whole walk; only an image that is made to take long takes longer.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Bytes without a zero that a text begins with.
const TEXT_BYTES: u64 = 4096;
const TOKENS: &str = "secrets_tokens_in_files";

struct Walk<'a> {
    root: PathBuf,
    facts: &'a mut Facts,
    buffer: Vec<u8>,
    /// What is left of [`MAX_BYTES`].
    left: u64,
    begun: Instant,
}

/// Looks at every regular file below `root`; links are not followed, since what they lead to is met at its own place.
pub(super) fn look(root: &Path, facts: &mut Facts) {
    let mut walk = Walk { root: root.to_owned(), facts, buffer: Vec::new(), left: MAX_BYTES, begun: Instant::now() };
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        if walk.begun.elapsed() > MAX_TIME {
            walk.missed(&folder, &io::Error::new(io::ErrorKind::TimedOut, "looking at files took too long"));
            continue;
        }
        let mut entries = match std::fs::read_dir(walk.root.join(&folder)).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>) {
            Ok(entries) => entries,
            Err(e) => {
                walk.missed(&folder, &e);
                continue;
            }
        };
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let path = join(&folder, &entry);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() && walk.begun.elapsed() <= MAX_TIME => walk.file(&entry, &path),
                Ok(kind) if kind.is_file() => walk.missed(&path, &io::Error::new(io::ErrorKind::TimedOut, "looking at files took too long")),
                Ok(_) => {}
                Err(e) => walk.missed(&path, &e),
            }
        }
    }
}

/// Whether it is a core dump, by its first bytes: ELF of the type `ET_CORE`, of either byte order.
fn is_core_dump(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(18).read_to_end(&mut head)?;
    Ok(head.starts_with(b"\x7fELF") && matches!(head.get(16..18), Some([4, 0] | [0, 4])))
}

/// The path of `entry`, relative to the root. What is no UTF-8 is not readable by it, but told by it.
fn join(folder: &str, entry: &DirEntry) -> String {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if folder.is_empty() { name.into_owned() } else { format!("{folder}/{name}") }
}

impl Walk<'_> {
    /// What cannot be read may hold anything.
    fn missed(&mut self, path: &str, error: &io::Error) {
        places::RULES.iter().for_each(|rule| self.facts.gap(rule, &format!("/{path} ({error})")));
    }

    fn file(&mut self, entry: &DirEntry, path: &str) {
        let absolute = format!("/{path}");
        let places = places::of(&absolute);
        let tokens = places::is_searched(&absolute);
        for place in &places {
            match place.look {
                Look::Present => self.facts.found(place.rule, &absolute),
                Look::Core => match is_core_dump(&entry.path()) {
                    Ok(true) => self.facts.found(place.rule, &absolute),
                    Ok(false) => {}
                    Err(e) => self.facts.gap(place.rule, &format!("{absolute} ({e})")),
                },
                Look::Text(_) => {}
            }
        }
        let read: Vec<&Place> = places.iter().filter(|place| matches!(place.look, Look::Text(_))).collect();
        if !read.is_empty() || tokens {
            self.read(entry, &absolute, &read, tokens);
        }
    }

    fn read(&mut self, entry: &DirEntry, path: &str, places: &[&Place], tokens: bool) {
        if places.is_empty() && self.left == 0 {
            return;
        }
        let whole = match self.fill(entry, places.is_empty()) {
            Ok(Some(whole)) => whole,
            Ok(None) => return,
            Err(e) => {
                let rules = places.iter().map(|place| place.rule).chain(tokens.then_some(TOKENS));
                rules.for_each(|rule| self.facts.gap(rule, &format!("{path} ({e})")));
                return;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer);
        let mut told = Vec::new();
        for place in places {
            let found = match place.look {
                Look::Text(look) => look(&text),
                Look::Present | Look::Core => Vec::new(),
            };
            if found.is_empty() && !whole {
                self.facts.gap(place.rule, &format!("{path} beyond its first {} MiB", MAX_NAMED_BYTES >> 20));
            }
            for Found { line, what } in found {
                told.push(line);
                self.facts.found(place.rule, &format!("{path} line {line} ({what})"));
            }
        }
        if tokens && !whole {
            self.facts.gap(TOKENS, &format!("{path} beyond its first {} MiB", MAX_NAMED_BYTES >> 20));
        }
        if tokens {
            for Found { line, what } in super::file::tokens(&text, path) {
                if !told.contains(&line) {
                    self.facts.found(TOKENS, &format!("{path} line {line} ({what})"));
                }
            }
        }
    }

    /// Reads a file into the buffer; whether it is there whole. `None`: it is no text, or too large to be looked at only for tokens.
    fn fill(&mut self, entry: &DirEntry, only_tokens: bool) -> io::Result<Option<bool>> {
        self.buffer.clear();
        let mut file = File::open(entry.path())?;
        if only_tokens {
            let size = file.metadata()?.len();
            if !(16..=MAX_FILE_BYTES).contains(&size) {
                return Ok(None);
            }
            file.by_ref().take(TEXT_BYTES).read_to_end(&mut self.buffer)?;
            if self.buffer.contains(&0) {
                return Ok(None);
            }
        }
        let most = if only_tokens { MAX_FILE_BYTES } else { MAX_NAMED_BYTES };
        file.by_ref().take(most + 1 - self.buffer.len() as u64).read_to_end(&mut self.buffer)?;
        let size = self.buffer.len() as u64;
        if only_tokens {
            self.left = self.left.saturating_sub(size);
            if self.left == 0 {
                self.facts.gap(TOKENS, &format!("files beyond the first {} MiB", MAX_BYTES >> 20));
            }
        }
        Ok(Some(size <= most))
    }
}
