//! The key that seals credentials: a file outside the database.

use anyhow::{Context, bail};
use model::Sealer;
use rand::RngCore;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The sealer of the key in `file`; makes the file (mode 0600, 64 hexadecimal digits) when there is none.
///
/// # Errors
/// The file cannot be read or made, holds something else, or others may read it.
pub fn load_or_make(file: &Path) -> anyhow::Result<Sealer> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    match make(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.with_context(|| format!("making the key file {}", file.display()))?,
    }
    let mode = fs::metadata(file).with_context(|| format!("reading the key file {}", file.display()))?.mode();
    if mode & 0o077 != 0 {
        bail!("others may read the key file {0} (mode {1:o}); run: chmod 600 {0}", file.display(), mode & 0o777);
    }
    let text = fs::read_to_string(file).with_context(|| format!("reading the key file {}", file.display()))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).with_context(|| format!("the key file {} does not hold 64 hexadecimal digits", file.display()))?;
    Ok(Sealer::new(&key))
}

fn make(file: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(open, "{}", hex::encode(key))?;
    open.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/secret.key");
        let sealed = load_or_make(&file).unwrap().seal(b"x", "c").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_make(&file).unwrap().open(&sealed, "c").unwrap(), b"x");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_make(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
