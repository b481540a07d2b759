//! dpkg's status file, and distroless images' `status.d`.
//!
//! Source: deb-control(5), dpkg's `lib/dpkg/parse.c`; status.d: bazelbuild/rules_docker.

use super::{Found, MAX_PACKAGES, Unreadable, clean};
use crate::inside;
use scap::report::{Package, PackageKind};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const STATUS: &str = "var/lib/dpkg/status";
pub(crate) const STATUS_D: &str = "var/lib/dpkg/status.d";
const MAX_STATUS_BYTES: u64 = 64 << 20;
/// States in which a package's files are on the disk, and with them their faults.
const PRESENT: [&str; 5] = ["installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"];

/// Packages whose files are there; `None` when dpkg's files are not.
pub(crate) fn read(root: &Path) -> Result<Option<Found>, Unreadable> {
    let mut found = Found { paths: Vec::new(), packages: Vec::new() };
    if let Some(bytes) = inside::read(root, STATUS, MAX_STATUS_BYTES).map_err(Unreadable::io(STATUS))? {
        found.paths.push(STATUS.to_owned());
        add(&mut found.packages, &bytes, STATUS, true)?;
    }
    for (path, bytes) in status_d(root)? {
        add(&mut found.packages, &bytes, &path, false)?;
        if found.paths.last().is_none_or(|last| last != STATUS_D) {
            found.paths.push(STATUS_D.to_owned());
        }
    }
    Ok((!found.paths.is_empty()).then_some(found))
}

/// The files of `status.d` that describe packages, with their paths, sorted; empty when there is no such folder.
pub(crate) fn status_d(root: &Path) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let Some(folder) = inside::locate(root, STATUS_D).map_err(Unreadable::io(STATUS_D))? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    let mut total = 0;
    for entry in folder.read_dir().map_err(Unreadable::io(STATUS_D))?.take(2 * MAX_PACKAGES) {
        let name = entry.map_err(Unreadable::io(STATUS_D))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md5sums") || name.starts_with('.') {
            continue;
        }
        let path = format!("{STATUS_D}/{name}");
        let bytes = inside::read(root, &path, MAX_STATUS_BYTES).map_err(Unreadable::io(&path))?.unwrap_or_default();
        total += bytes.len() as u64;
        if total > MAX_STATUS_BYTES {
            return Err(Unreadable::new(STATUS_D, "it is larger than 64 MiB"));
        }
        files.push((path, bytes));
    }
    files.sort();
    Ok(files)
}

/// The architectures of the packages, the most frequent first, without `all`.
pub(crate) fn architectures(packages: &[Package]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for package in packages.iter().filter(|package| package.kind == PackageKind::Deb) {
        *counts.entry(&package.architecture).or_default() += 1;
    }
    let mut names: Vec<(&str, usize)> = counts.into_iter().filter(|(name, _)| *name != "all" && is_word(name)).collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn add(packages: &mut Vec<Package>, bytes: &[u8], path: &str, needs_status: bool) -> Result<(), Unreadable> {
    if bytes.contains(&0) {
        return Err(Unreadable::new(path, "it is not a text file"));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut stanza = Stanza::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            packages.extend(std::mem::take(&mut stanza).finish(path, number, needs_status)?);
        } else if line.starts_with([' ', '\t']) {
            if stanza.0.is_empty() {
                return Err(Unreadable::new(path, format!("line {} continues nothing", number + 1)));
            }
        } else {
            let (name, value) = line
                .split_once(':')
                .filter(|(name, _)| is_word(name))
                .ok_or_else(|| Unreadable::new(path, format!("line {} is not of the form \"Field: value\"", number + 1)))?;
            stanza.0.insert(name.to_ascii_lowercase(), clean(value));
        }
        if packages.len() > MAX_PACKAGES {
            return Err(Unreadable::new(path, "it names more than 100,000 packages"));
        }
    }
    packages.extend(stanza.finish(path, text.lines().count(), needs_status)?);
    Ok(())
}

/// The fields of one package, by lower-case name; continuation lines are left out.
#[derive(Default)]
struct Stanza(BTreeMap<String, String>);

impl Stanza {
    /// `None`: the package's files are not there, or there was no stanza at all.
    fn finish(mut self, path: &str, line: usize, needs_status: bool) -> Result<Option<Package>, Unreadable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut field = |name: &str| self.0.remove(name).unwrap_or_default();
        let name = field("package");
        let status = field("status");
        let version = field("version");
        if name.is_empty() || (needs_status && status.split(' ').count() != 3) {
            return Err(Unreadable::new(path, format!("the entry before line {} has no package name or no status", line + 1)));
        }
        if needs_status && !status.rsplit(' ').next().is_some_and(|state| PRESENT.contains(&state)) {
            return Ok(None);
        }
        if version.is_empty() {
            return Err(Unreadable::new(path, format!("package {name} has no version")));
        }
        let source = field("source");
        Ok(Some(Package {
            kind: PackageKind::Deb,
            name,
            version,
            architecture: field("architecture"),
            source: source.split(" (").next().unwrap_or_default().to_owned(),
            vendor: field("maintainer").split(" <").next().unwrap_or_default().to_owned(),
            summary: field("description"),
        }))
    }
}
