//! The list of packages in images that chisel cut out of Ubuntu's: lines of JSON, compressed by zstd.
//!
//! Source: canonical/chisel, `public/manifest` and `public/jsonwall`.

use super::{MAX_PACKAGES, Unreadable};
use crate::inside;
use serde::Deserialize;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

pub(super) const FOLDER: &str = "var/lib/chisel/";
const MAX_BYTES: u64 = 64 << 20;

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    arch: String,
}

/// Each list with its path, its packages as dpkg would describe them.
pub(super) fn stanzas(root: &Path) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let Some(folder) = inside::locate(root, FOLDER).map_err(Unreadable::io(FOLDER))?.filter(|folder| folder.is_dir()) else { return Ok(Vec::new()) };
    let mut names: Vec<String> =
        folder.read_dir().map_err(Unreadable::io(FOLDER))?.take(1000).flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.ends_with(".wall"));
    names.sort();
    let read = |name: String| {
        let path = format!("{FOLDER}{name}");
        let packed = inside::read(root, &path, MAX_BYTES).map_err(Unreadable::io(&path))?;
        packed.map(|packed| Ok((path.clone(), parse(&packed).map_err(|reason| Unreadable::new(&path, reason))?.into_bytes()))).transpose()
    };
    names.into_iter().filter_map(|name| read(name).transpose()).collect()
}

fn parse(packed: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    let unpacked = zstd::Decoder::new(packed).and_then(|decoder| decoder.take(MAX_BYTES + 1).read_to_string(&mut text));
    unpacked.map_err(|e| format!("it cannot be unpacked: {e}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err("it is larger than 64 MiB".into());
    }
    if !text.lines().next().is_some_and(|line| line.contains("\"jsonwall\"")) {
        return Err("it is no list of chisel's".into());
    }
    let mut stanzas = String::new();
    let mut count = 0;
    for (number, line) in text.lines().enumerate().skip(1) {
        let line: Line = serde_json::from_str(line).map_err(|e| format!("line {} is damaged: {e}", number + 1))?;
        if line.kind != "package" {
            continue;
        }
        let word = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let (name, version, arch) = (word(&line.name), word(&line.version), word(&line.arch));
        let _ = write!(stanzas, "Package: {name}\nVersion: {version}\nArchitecture: {arch}\n\n");
        count += 1;
        if count > MAX_PACKAGES {
            return Err("it names more than 100,000 packages".into());
        }
    }
    Ok(stanzas)
}
