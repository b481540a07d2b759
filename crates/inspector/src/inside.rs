//! Reading files of the unpacked image without ever leaving its root.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where `relative` really is, with all links followed; `None` when there is nothing.
///
/// # Errors
/// A link that leads out of `root`, or one that cannot be followed (loops).
pub(crate) fn locate(root: &Path, relative: &str) -> io::Result<Option<PathBuf>> {
    let root = root.canonicalize()?;
    let path = match root.join(relative.trim_start_matches('/')).canonicalize() {
        Ok(path) => path,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e),
    };
    if path.starts_with(&root) { Ok(Some(path)) } else { Err(io::Error::new(ErrorKind::PermissionDenied, "a link leads out of the image")) }
}

/// Where the regular file `relative` is; `None` when there is no such file.
///
/// # Errors
/// As [`locate`], and for anything that is no regular file (opening a pipe would wait for ever).
pub(crate) fn file(root: &Path, relative: &str) -> io::Result<Option<PathBuf>> {
    match locate(root, relative)? {
        Some(path) if path.is_file() => Ok(Some(path)),
        Some(_) => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
        None => Ok(None),
    }
}

/// The bytes of the regular file `relative`, at most `limit`; `None` when there is no such file.
///
/// # Errors
/// As [`file`]; `FileTooLarge` past the limit.
pub(crate) fn read(root: &Path, relative: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match file(root, relative)? {
        Some(path) => read_at(&path, limit).map(Some),
        None => Ok(None),
    }
}

/// The bytes of the file at `path` (one that [`file`] told), at most `limit`.
///
/// # Errors
/// `FileTooLarge` past the limit.
pub(crate) fn read_at(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

/// Replaces what the file at `path` says. Its owner and mode hang on its inode, which stays; but never what other names or a link share with it: then
/// there is a new file, made before the old one goes, since an inode that is used again would have the old one's kind and owner.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(file) if file.is_file() && file.nlink() == 1 => fs::write(path, bytes),
        Ok(_) => {
            let folder = path.parent().ok_or(ErrorKind::NotFound)?;
            let mut made = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(folder)?;
            made.write_all(bytes)?;
            made.persist(path).map_err(|e| e.error)?;
            Ok(())
        }
        Err(_) => fs::write(path, bytes),
    }
}
