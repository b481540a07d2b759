//! Symbolic links that cannot lead out of the root.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// Longest path in bytes, and the most folders in it.
const MAX_PATH_BYTES: usize = 4096;
const MAX_DEPTH: usize = 1024;

/// The names of an entry's path, from the root on: no empty ones, no `.`; `..` is taken back as if the root were its own parent.
///
/// `clamped` tells that the path tried to leave. `None`: too long, or with a NUL byte.
pub(super) fn clean(path: &[u8]) -> Option<Cleaned> {
    if path.len() > MAX_PATH_BYTES || path.contains(&0) {
        return None;
    }
    let mut cleaned = Cleaned { names: Vec::new(), clamped: false };
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => cleaned.clamped |= cleaned.names.pop().is_none(),
            name => cleaned.names.push(OsString::from_vec(name.to_vec())),
        }
    }
    (cleaned.names.len() <= MAX_DEPTH).then_some(cleaned)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cleaned {
    pub(super) names: Vec<OsString>,
    pub(super) clamped: bool,
}

/// The target to write for a link in `folder` (real, relative to the root, without links in it) that says `target`.
///
/// `..` occurs at the beginning alone and never more often than `folder` has names: since folders are never moved, and every link below obeys the same rule,
/// following it cannot leave the root. Absolute targets are meant from the root. `None`: too long, or empty.
pub(super) fn rewrite(folder: &Path, target: &[u8]) -> Option<(PathBuf, bool)> {
    let depth = folder.components().count();
    let mut whole = Vec::new();
    if !target.starts_with(b"/") {
        whole.extend_from_slice(folder.as_os_str().as_bytes());
        whole.push(b'/');
    }
    whole.extend_from_slice(target);
    if target.is_empty() {
        return None;
    }
    let Cleaned { names, clamped } = clean(&whole)?;
    let shared = if target.starts_with(b"/") { 0 } else { names.iter().zip(folder.components()).take_while(|(name, part)| part.as_os_str() == *name).count() };
    let mut rewritten: PathBuf = std::iter::repeat_n("..", depth - shared).collect();
    rewritten.extend(&names[shared..]);
    if rewritten.as_os_str().is_empty() {
        rewritten.push(".");
    }
    (rewritten.as_os_str().len() < MAX_PATH_BYTES).then_some((rewritten, clamped))
}

/// The absolute meaning (from the root) of a link in `folder` whose rewritten target is `target`.
pub(super) fn meaning(folder: &Path, target: &Path) -> PathBuf {
    let mut whole = PathBuf::from("/");
    for part in folder.components().chain(target.components()) {
        match part {
            Component::Normal(name) => whole.push(name),
            Component::ParentDir => {
                whole.pop();
            }
            _ => {}
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::{clean, rewrite};
    use std::path::{Path, PathBuf};

    #[test]
    fn links_are_rewritten_so_that_they_stay_inside() {
        let at = |folder: &str, target: &str| {
            let (path, clamped) = rewrite(Path::new(folder), target.as_bytes()).unwrap();
            (path.to_str().unwrap().to_owned(), clamped)
        };
        let kept = |text: &str| (text.to_owned(), false);
        let bent = |text: &str| (text.to_owned(), true);
        assert_eq!(at("", "/etc/passwd"), kept("etc/passwd"));
        assert_eq!(at("usr/bin", "/bin/sh"), kept("../../bin/sh"));
        assert_eq!(at("usr/lib", "x/y.so"), kept("x/y.so"));
        assert_eq!(at("usr/lib", "../share"), kept("../share"));
        assert_eq!(at("usr/lib", "../lib/x"), kept("x"));
        assert_eq!(at("a", "../../../../etc"), bent("../etc"));
        assert_eq!(at("a/b", "s/../../../../etc"), bent("../../etc"));
        assert_eq!(at("a", "/"), kept(".."));
        assert_eq!(at("", "/"), kept("."));
        assert_eq!(at("", "/../../x"), bent("x"));
        assert_eq!(rewrite(Path::new("a"), b""), None);
        assert_eq!(rewrite(Path::new("a"), &[b'x'; 5000]), None);
    }

    #[test]
    fn paths_of_entries_are_taken_from_the_root() {
        let names = |path: &[u8]| clean(path).map(|cleaned| (cleaned.names.iter().collect::<PathBuf>(), cleaned.clamped));
        assert_eq!(names(b"./usr//bin/"), Some(("usr/bin".into(), false)));
        assert_eq!(names(b"/abs/x"), Some(("abs/x".into(), false)));
        assert_eq!(names(b"../../tmp/x"), Some(("tmp/x".into(), true)));
        assert_eq!(names(b"a\0b"), None);
        assert_eq!(names("d/".repeat(1100).as_bytes()), None);
    }
}
