//! Source packages: which ones an image has, and what OpenSCAP is shown of them.

use crate::debian_version;
use crate::report::{Package, PackageKind};
use std::collections::BTreeMap;

/// A source package of an image, as OpenSCAP is to be shown it: a stanza of `var/lib/dpkg/status` with `name` and `version`, installed, of architecture `all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// What the stanza's `Package` says; see [`source_entry`].
    pub name: String,
    /// Of several versions at once the lowest, which decides whether the image is earlier than a fix.
    pub version: String,
    /// The source package's own name.
    pub source: String,
}

/// How the names of source entries begin.
const PREFIX: &str = "source_";

/// The name under which OpenSCAP finds the source package `name`. No package can have it: dpkg's names have no underscore.
pub fn source_entry(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Whether a package's name is kept for source entries: such a package of the image itself must not be shown to OpenSCAP.
pub fn is_source_entry(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The source packages of the deb packages, each once, sorted by name.
pub fn source_entries(packages: &[Package]) -> Vec<SourceEntry> {
    let entry = |(source, found): (&str, Source<'_>)| SourceEntry { name: source_entry(source), version: found.version, source: source.to_owned() };
    sources(packages).into_iter().map(entry).collect()
}

/// A source package and what is installed of it.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// The lowest one.
    pub(super) version: String,
    pub(super) packages: Vec<&'a Package>,
}

/// By name, the sources of all deb packages that have a version.
pub(super) fn sources(packages: &[Package]) -> BTreeMap<&str, Source<'_>> {
    let mut found: BTreeMap<&str, Source<'_>> = BTreeMap::new();
    for package in packages.iter().filter(|package| package.kind == PackageKind::Deb && !is_source_entry(&package.name)) {
        let (name, version) = named_source(package);
        for (name, version) in [Some((name, version.to_owned())), unsigned(name, version)].into_iter().flatten() {
            if name.is_empty() || version.is_empty() || !is_one_word(name) || !is_one_word(&version) {
                continue;
            }
            let source = found.entry(name).or_insert_with(|| Source { version: version.clone(), packages: Vec::new() });
            if debian_version::compare(&version, &source.version).is_lt() {
                source.version = version;
            }
            source.packages.push(package);
        }
    }
    found
}

/// What dpkg says; a package without the field is its own source.
fn named_source(package: &Package) -> (&str, &str) {
    let name = if package.source.is_empty() { &package.name } else { &package.source };
    let version = if package.source_version.is_empty() { &package.version } else { &package.source_version };
    (name, version)
}

/// It becomes a line of a status file.
fn is_one_word(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The source whose programs a source of signatures holds, as Debian's security tracker counts it: what is built from `linux-signed-amd64` 6.1.76+1 is `linux`
/// 6.1.76-1, what is built from `grub-efi-amd64-signed` 1+2.06+13 is `grub2` 2.06-13. Ubuntu's `linux-signed` has the kernel's own version.
///
/// Source: the `template` folders of Debian's packages linux, grub2, shim, fwupd-efi, systemd; Ubuntu's `linux-signed`.
fn unsigned<'a>(name: &'a str, version: &str) -> Option<(&'a str, String)> {
    /// By how a name begins: the source, and whether a number of the signing package stands before its version.
    const SIGNED: [(&str, &str, bool); 7] = [
        ("linux-signed-", "linux", false),
        ("grub-efi-", "grub2", true),
        ("shim-helpers-", "shim", true),
        ("fwupd-efi-", "fwupd-efi", true),
        ("fwupd-", "fwupd", true),
        ("systemd-boot-efi-", "systemd", false),
        ("s390-tools-", "s390-tools", true),
    ];
    const ARCHITECTURES: [&str; 8] = ["amd64", "arm64", "i386", "ia32", "armhf", "riscv64", "ppc64el", "s390x"];
    let is_architecture = |rest: &str| ARCHITECTURES.contains(&rest.trim_end_matches("-signed"));
    if let Some(rest) = name.strip_prefix("linux-signed") {
        return match rest.strip_prefix('-') {
            None => rest.is_empty().then(|| ("linux", version.to_owned())),
            Some(rest) if is_architecture(rest) => Some(("linux", with_revision(version)?)),
            // Ubuntu's linux-signed-hwe-6.8 and its like, signed from linux-hwe-6.8.
            Some(_) => None,
        };
    }
    let (_, source, is_numbered) =
        SIGNED.into_iter().find(|(start, ..)| name.strip_prefix(start).is_some_and(|rest| rest.ends_with("-signed") && is_architecture(rest)))?;
    let own = if is_numbered { version.split_once('+')?.1 } else { version };
    Some((source, with_revision(own)?))
}

/// `6.1.76-1` of `6.1.76+1`: where the revision of a native package's version begins there is a plus instead of a dash.
fn with_revision(version: &str) -> Option<String> {
    let at = version.match_indices('+').map(|(at, _)| at).find(|at| version[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    Some(format!("{}-{}", &version[..at], &version[at + 1..]))
}
