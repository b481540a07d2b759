//! Source packages: what OpenSCAP is shown of them.

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

/// The name under which OpenSCAP finds the source package `name`. No package can have it: dpkg's names have no underscore.
pub fn source_entry(name: &str) -> String {
    format!("source_{name}")
}

/// The source packages of the deb packages, each once, sorted by name.
pub fn source_entries(packages: &[Package]) -> Vec<SourceEntry> {
    let mut found = BTreeMap::new();
    for package in packages.iter().filter(|package| package.kind == PackageKind::Deb) {
        let own = package.source.is_empty();
        let (source, version) = if own { (&package.name, &package.version) } else { (&package.source, &package.source_version) };
        found.entry(source.clone()).or_insert_with(|| version.clone());
    }
    found.into_iter().map(|(source, version)| SourceEntry { name: source_entry(&source), version, source }).collect()
}
