//! dpkg's status file, and distroless images' `status.d`.
//!
//! Source: deb-control(5), dpkg's `lib/dpkg/parse.c`; status.d: bazelbuild/rules_docker.

use super::{Found, MAX_PACKAGES, Unreadable, chisel, clean};
use crate::inside;
use scap::debian_version;
use scap::report::{Package, PackageKind};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const STATUS: &str = "var/lib/dpkg/status";
pub(crate) const STATUS_D: &str = "var/lib/dpkg/status.d";
const MAX_STATUS_BYTES: u64 = 64 << 20;
/// States in which a package's files, or a part of them, are on the disk, and with them their faults.
const PRESENT: [&str; 6] = ["installed", "unpacked", "half-configured", "half-installed", "triggers-awaited", "triggers-pending"];
/// Ends of the names of what dpkg keeps of a package beside its description.
const INFO_FILES: [&str; 11] = ["md5sums", "list", "conffiles", "preinst", "postinst", "prerm", "postrm", "shlibs", "symbols", "triggers", "templates"];
const HALF_INSTALLED: &str = "half-installed";

/// A package as dpkg knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) package: Package,
    /// One of [`PRESENT`].
    pub(crate) state: String,
}

/// The paths of dpkg's files, and what they list.
type Listed = (Vec<String>, Vec<Installed>);

/// Packages whose files are there; `None` when dpkg's files are not.
pub(crate) fn read(root: &Path) -> Result<Option<Found>, Unreadable> {
    let found = installed(root)?;
    Ok(found.map(|(paths, installed)| {
        // What broke off before it had a version says nothing that a check could use.
        let packages = installed.into_iter().map(|installed| installed.package).filter(|package| !package.version.is_empty()).collect();
        Found { paths, packages }
    }))
}

/// As [`read`], with all that a status file needs: by name and then from the lowest version on, each name, version and architecture once.
///
/// In the state `half-installed` alone a package may have no version.
pub(crate) fn installed(root: &Path) -> Result<Option<Listed>, Unreadable> {
    let (mut paths, mut found) = (Vec::new(), Vec::new());
    if let Some(bytes) = inside::read(root, STATUS, MAX_STATUS_BYTES).map_err(Unreadable::io(STATUS))? {
        paths.push(STATUS.to_owned());
        add(&mut found, &bytes, STATUS, true)?;
    }
    for (path, bytes) in status_d(root)? {
        add(&mut found, &bytes, &path, false)?;
        if paths.last().is_none_or(|last| last != STATUS_D) {
            paths.push(STATUS_D.to_owned());
        }
    }
    for (path, bytes) in chisel::stanzas(root)? {
        add(&mut found, &bytes, &path, false)?;
        paths.push(path);
    }
    found.sort_by(order);
    found.dedup_by(|b, a| order(a, b).is_eq());
    Ok((!paths.is_empty()).then_some((paths, found)))
}

fn order(Installed { package: a, .. }: &Installed, Installed { package: b, .. }: &Installed) -> Ordering {
    let by_version = || debian_version::compare(&a.version, &b.version).then_with(|| a.version.cmp(&b.version));
    a.name.cmp(&b.name).then_with(by_version).then_with(|| told_architecture(a).cmp(told_architecture(b)))
}

/// A package that names no architecture is taken for one that is the same on all.
pub(crate) fn told_architecture(package: &Package) -> &str {
    if package.architecture.is_empty() { "all" } else { &package.architecture }
}

/// The files of `status.d` that describe packages, with their paths, sorted; empty when there is no such folder.
fn status_d(root: &Path) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
    let Some(folder) = inside::locate(root, STATUS_D).map_err(Unreadable::io(STATUS_D))? else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    let mut total = 0;
    for entry in folder.read_dir().map_err(Unreadable::io(STATUS_D))?.take(2 * MAX_PACKAGES) {
        let name = entry.map_err(Unreadable::io(STATUS_D))?.file_name().to_string_lossy().into_owned();
        // Beside descriptions some tools put the other files that dpkg keeps of a package.
        let other = name.rsplit_once('.').is_some_and(|(_, end)| INFO_FILES.contains(&end));
        if other || name.starts_with('.') || inside::locate(root, &format!("{STATUS_D}/{name}")).is_ok_and(|path| path.is_some_and(|path| path.is_dir())) {
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

/// dpkg keeps what whoever built a package invented: `Git_Commit`, `X-Team.Name`.
fn is_field(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(|c| c.is_ascii_graphic())
}

fn add(packages: &mut Vec<Installed>, bytes: &[u8], path: &str, needs_status: bool) -> Result<(), Unreadable> {
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
                .map(|(name, value)| (name.trim_end(), value))
                .filter(|(name, _)| is_field(name))
                .ok_or_else(|| Unreadable::new(path, format!("line {} is not of the form \"Field: value\"", number + 1)))?;
            let name = name.to_ascii_lowercase();
            // Of each field the first counts, as it does for OpenSCAP's reader.
            stanza.0.entry(name).or_insert_with(|| clean(value));
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
    fn finish(mut self, path: &str, line: usize, needs_status: bool) -> Result<Option<Installed>, Unreadable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut field = |name: &str| self.0.remove(name).unwrap_or_default();
        let (name, status, version) = (field("package"), field("status"), field("version"));
        let words: Vec<&str> = status.split_whitespace().collect();
        if name.is_empty() || (needs_status && words.len() != 3) {
            return Err(Unreadable::new(path, format!("the entry before line {} has no package name or no status", line + 1)));
        }
        let state = if needs_status { words[2] } else { "installed" };
        if !PRESENT.contains(&state) {
            return Ok(None);
        }
        if version.is_empty() && state != HALF_INSTALLED {
            return Err(Unreadable::new(path, format!("package {name} has no version")));
        }
        let (source, source_version) = source(&field("source"), &version);
        let package = Package {
            kind: PackageKind::Deb,
            name,
            version,
            architecture: field("architecture"),
            source,
            source_version,
            vendor: field("maintainer").split(" <").next().unwrap_or_default().to_owned(),
            summary: field("description"),
        };
        Ok(Some(Installed { package, state: state.to_owned() }))
    }
}

/// The source package and its version: `name` has the version of the binary package, `name (version)` its own; without the field both are the package's.
fn source(field: &str, version: &str) -> (String, String) {
    match field.split_once('(') {
        Some((name, rest)) => (name.trim().to_owned(), rest.trim_end().trim_end_matches(')').trim().to_owned()),
        None if field.is_empty() => Default::default(),
        None => (field.to_owned(), version.to_owned()),
    }
}
