//! Files that OpenSCAP needs in the root and that images do not have.

use crate::inside;
use crate::packages::dpkg;
use std::fs;
use std::io;
use std::path::Path;

/// Puts what is missing into `root`; what is there stays as it is.
///
/// * `run/.containerenv`: rules for machines (partitions, boot loaders) see that this is a container and do not fail falsely.
/// * `proc/mounts`: without it, walks over "local file systems" find nothing and pass falsely.
/// * `var/lib/dpkg/status`: OpenSCAP does not read distroless images' `status.d`.
pub(super) fn complete(root: &Path) -> io::Result<()> {
    add(root, "run", ".containerenv", b"")?;
    add(root, "proc", "mounts", b"/dev/root / ext4 rw,relatime 0 0\n")?;
    let parts = dpkg::status_d(root).map_err(|unreadable| io::Error::other(unreadable.reason))?;
    if !parts.is_empty() {
        add(root, "var/lib/dpkg", "status", &joined(&parts))?;
    }
    Ok(())
}

fn add(root: &Path, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    if inside::locate(root, folder)?.is_none() {
        fs::create_dir_all(root.join(folder))?;
    }
    let Some(folder) = inside::locate(root, folder)? else { return Ok(()) };
    let path = folder.join(name);
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::write(path, bytes)
}

/// One status file out of distroless images' parts, which lack the field `Status`.
fn joined(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut status = Vec::new();
    for (_, bytes) in parts {
        let text = String::from_utf8_lossy(bytes);
        for stanza in text.split("\n\n").map(str::trim_end).filter(|stanza| !stanza.trim().is_empty()) {
            let fields = stanza.lines().filter(|line| !line.starts_with("Status:"));
            for (number, line) in fields.enumerate() {
                status.extend_from_slice(line.as_bytes());
                status.push(b'\n');
                if number == 0 {
                    status.extend_from_slice(b"Status: install ok installed\n");
                }
            }
            status.push(b'\n');
        }
    }
    status
}
