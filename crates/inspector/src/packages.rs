//! The packages installed in an unpacked image, read from its databases by our own code.
//!
//! OpenSCAP cannot be trusted to notice a database that it could not read (its package tests then just say "not installed"), so whether package checks
//! count at all is decided here.

pub(crate) mod apk;
pub(crate) mod bdb;
mod chisel;
pub(crate) mod dpkg;
mod foreign;
pub(crate) mod ndb;
pub(crate) mod rpm;
#[cfg(test)]
mod tests;

use scap::report::{Package, PackageDatabase, PackageKind};
use std::io;
use std::path::Path;

/// Most packages that an image may have.
const MAX_PACKAGES: usize = 100_000;
/// Largest database that is read.
const MAX_DATABASE_BYTES: u64 = 512 << 20;
const MAX_FIELD_CHARS: usize = 512;

/// One kind of database that was found and read.
#[derive(Debug)]
pub(crate) struct Found {
    /// Relative to the image's root.
    pub(crate) paths: Vec<String>,
    pub(crate) packages: Vec<Package>,
}

/// A database that is there but not in form.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: String,
    pub(crate) reason: String,
}

impl Unreadable {
    pub(crate) fn new(path: &str, reason: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }

    fn io(path: &str) -> impl Fn(io::Error) -> Self {
        move |e| Self::new(path, e)
    }
}

/// All installed packages, sorted by name, with the state of the databases they come from.
///
/// `Absent` with no packages: no database at all. `Read` names those that list a package. `Unreadable`: at least one database is damaged, or there are databases
/// but none of them names a package, or only such as are not known here; the packages of the others are still given. Blocking.
pub fn read(root: &Path) -> (PackageDatabase, Vec<Package>) {
    let mut paths = Vec::new();
    let mut empty = None;
    let mut packages = Vec::new();
    let mut broken = None;
    for result in [dpkg::read(root), rpm::read(root), apk::read(root)] {
        match result {
            // Tools leave empty databases behind.
            Ok(Some(found)) if found.packages.is_empty() => empty = empty.or(found.paths.into_iter().next()),
            Ok(Some(found)) => {
                paths.extend(found.paths);
                packages.extend(found.packages);
            }
            Ok(None) => {}
            Err(unreadable) => broken = broken.or(Some(unreadable)),
        }
    }
    packages.sort_by(|a, b| (&a.name, &a.version, &a.architecture).cmp(&(&b.name, &b.version, &b.architecture)));
    if let Some(Unreadable { path, reason }) = broken {
        return (PackageDatabase::Unreadable { path, reason }, packages);
    }
    let database = match (paths.is_empty(), empty) {
        // An image whose only database is empty was emptied, and nothing can be said about it.
        (true, Some(path)) => PackageDatabase::Unreadable { path, reason: "it names no installed package".into() },
        (true, None) => match foreign::database(root) {
            Some((path, manager)) => {
                PackageDatabase::Unreadable { path: path.into(), reason: format!("it is the database of {manager}, which is not known here") }
            }
            None => PackageDatabase::Absent,
        },
        (false, _) => PackageDatabase::Read { paths },
    };
    (database, packages)
}

/// A field without control characters, cut to a sane length.
fn clean(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_FIELD_CHARS).collect()
}

/// Which kind of database is at `path`, one of those that [`read`] tells.
pub(crate) fn kind(path: &str) -> PackageKind {
    match path {
        path if path.starts_with("var/lib/dpkg/") || path.starts_with(chisel::FOLDER) => PackageKind::Deb,
        path if path.contains("/apk/") => PackageKind::Apk,
        _ => PackageKind::Rpm,
    }
}
