//! Files that checks need in the root and that no image has (as they must be).

use super::limits::Refusal;
use super::tree::Tree;
use crate::config::Config;
use crate::facts::Facts;
use crate::inside;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

/// Adds our files to the unpacked image, and cuts (and notes) account files that a check would choke on.
///
/// * `run/.containerenv`: rules for whole machines see that this is a container.
/// * `proc/mounts`: walks over local file systems find the root.
/// * `run/tidewaiter/facts/…`: what our code found out for rules of the image benchmark.
pub(crate) fn complete(tree: &mut Tree, config: &Config) -> Result<(), Refusal> {
    tree.put(&["run", ".containerenv"], b"")?;
    tree.put(&["proc", "mounts"], b"/dev/root / ext4 rw,relatime 0 0\n")?;
    Facts::of(tree.root(), config).put(tree)?;
    for name in ["passwd", "shadow", "group", "gshadow", "login.defs", "sudoers"] {
        cut_hazard(tree, name)?;
    }
    Ok(())
}

/// Cuts the file `name` of /etc, wherever a link leads, when a probe of accounts would choke on it: those never end on huge lines.
fn cut_hazard(tree: &mut Tree, name: &str) -> Result<(), Refusal> {
    let path = format!("etc/{name}");
    // What is no file, or cannot be followed, is no probe's either.
    let Ok(Some(file)) = inside::file(tree.root(), &path) else { return Ok(()) };
    let Some(kept) = sane_part(&file).map_err(Refusal::Storage)? else { return Ok(()) };
    let root = tree.root().canonicalize().map_err(Refusal::Storage)?;
    let Ok(real) = file.strip_prefix(root) else { return Ok(()) };
    tree.rewrite(real, &kept)?;
    tree.notes.cut_files.push(format!("/{path}"));
    Ok(())
}

/// The lines of `file` that are not longer than any real one, as far as they are not more than any real file has; `None` when that is all of it.
///
/// Measured with OpenSCAP 1.4.2: the guide takes 4 s with 1000 accounts and more than 120 s with 2500.
fn sane_part(file: &Path) -> io::Result<Option<Vec<u8>>> {
    const MAX_BYTES: usize = 256 << 10;
    const MAX_LINES: usize = 1000;
    const MAX_LINE_BYTES: u64 = 64 << 10;
    let mut reader = BufReader::new(File::open(file)?);
    let (mut kept, mut line) = (Vec::new(), Vec::new());
    let mut lines = 0;
    let mut whole = true;
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok((!whole).then_some(kept));
        }
        lines += 1;
        if lines > MAX_LINES || kept.len() + line.len() > MAX_BYTES {
            return Ok(Some(kept));
        }
        if read as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            whole = false;
            reader.skip_until(b'\n')?;
        } else {
            kept.extend_from_slice(&line);
        }
    }
}
