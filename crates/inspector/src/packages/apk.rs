//! Alpine's list of installed packages.
//!
//! Source: apk-tools, `doc/apk-v2.5.scd` and `src/database.c`.

use super::{Found, MAX_PACKAGES, Unreadable, clean};
use crate::inside;
use scap::report::{Package, PackageKind};
use std::path::Path;

/// Since apk 3 the list may be below `usr`.
const PATHS: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const MAX_BYTES: u64 = 64 << 20;

/// Installed packages, of the first list that names one; `None` when apk's list is not there.
pub(crate) fn read(root: &Path) -> Result<Option<Found>, Unreadable> {
    let mut empty = None;
    for path in PATHS {
        let Some(bytes) = inside::read(root, path, MAX_BYTES).map_err(Unreadable::io(path))? else { continue };
        if bytes.starts_with(b"ADB") {
            return Err(Unreadable::new(path, "it is of apk's binary form, which is not known here"));
        }
        let found = Found { paths: vec![path.to_owned()], packages: parse(&bytes, path)? };
        if !found.packages.is_empty() {
            return Ok(Some(found));
        }
        empty = empty.or(Some(found));
    }
    Ok(empty)
}

fn parse(bytes: &[u8], path: &str) -> Result<Vec<Package>, Unreadable> {
    let mut packages = Vec::new();
    let mut package = empty();
    let text = String::from_utf8_lossy(bytes);
    for (number, line) in text.lines().chain([""]).enumerate() {
        if line.is_empty() {
            match (package.name.is_empty(), package.version.is_empty()) {
                (true, true) => {}
                (false, false) => packages.push(finished(std::mem::replace(&mut package, empty()))),
                _ => return Err(Unreadable::new(path, format!("the entry before line {} lacks a name or a version", number + 1))),
            }
            if packages.len() > MAX_PACKAGES {
                return Err(Unreadable::new(path, "it names more than 100,000 packages"));
            }
            continue;
        }
        let (field, value) = line
            .split_once(':')
            .filter(|(field, _)| field.len() == 1 && field.is_ascii())
            .ok_or_else(|| Unreadable::new(path, format!("line {} is not of the form \"X:value\"", number + 1)))?;
        match field {
            "P" => package.name = clean(value),
            "V" => package.version = clean(value),
            "A" => package.architecture = clean(value),
            "o" => package.source = clean(value),
            "m" => package.vendor = clean(value.split(" <").next().unwrap_or_default()),
            "T" => package.summary = clean(value),
            _ => {}
        }
    }
    Ok(packages)
}

/// A package that names its origin is of the origin's version: apk builds all packages of an origin at once.
fn finished(mut package: Package) -> Package {
    if !package.source.is_empty() {
        package.source_version.clone_from(&package.version);
    }
    package
}

fn empty() -> Package {
    Package {
        kind: PackageKind::Apk,
        name: String::new(),
        version: String::new(),
        architecture: String::new(),
        source: String::new(),
        source_version: String::new(),
        vendor: String::new(),
        summary: String::new(),
    }
}
