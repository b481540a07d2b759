//! rpm's databases: SQLite (since rpm 4.16), ndb (SUSE) and Berkeley DB (before), all of which hold the same package headers.
//!
//! Source: rpm's `docs/manual/format.md`, `lib/header.c`, `lib/backend/sqlite.c`.

mod macros;
mod manifest;
mod sqlite;
mod view;

use super::{Found, Unreadable, bdb, clean, ndb};
use crate::inside;
use scap::report::{Package, PackageKind};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where rpm has kept its database, by time and distribution; the last one is rpm-ostree's.
const FOLDERS: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
/// What an rpm-ostree image was before packages were layered on it: only when there is nothing else.
const BASE: &str = "usr/lib/sysimage/rpm-ostree-base-db";
/// OpenSCAP looks here whenever it is there.
const OPENSCAPS_FOLDER: &str = "usr/lib/sysimage/rpm";
const SQLITE: &str = "rpmdb.sqlite";
/// Largest header of one package.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 20;

/// A database's file and how its headers are read, the newest format first: of several in one folder rpm takes the first, and older ones are what an upgrade left.
const FORMATS: [(&str, Headers); 3] = [(SQLITE, sqlite::headers), ("Packages.db", ndb::headers), ("Packages", bdb::headers)];

/// Installed packages; `None` when no rpm database is there.
///
/// The image's own rpm settings tell the folder. Without them, folders with different packages are unreadable, since only one of them can be right.
pub(crate) fn read(root: &Path) -> Result<Option<Found>, Unreadable> {
    if let Some(folder) = macros::database_folder(root)
        && let Some(found) = read_folder(root, &folder)?.filter(|(_, found)| !found.packages.is_empty())
    {
        return Ok(Some(found.1));
    }
    let mut seen: Option<(PathBuf, Found)> = None;
    for folder in FOLDERS {
        let Some((real, next)) = read_folder(root, folder)? else { continue };
        match &mut seen {
            // One folder is a link to the other, or a copy of it.
            Some((known, found)) if *known == real || next.packages.is_empty() || found.packages == next.packages => {}
            Some((_, found)) if !found.packages.is_empty() => {
                return Err(Unreadable::new(&next.paths[0], format!("/{} lists other packages, and only one of them can be right", found.paths[0])));
            }
            _ => seen = Some((real, next)),
        }
    }
    if seen.as_ref().is_none_or(|(_, found)| found.packages.is_empty()) {
        let last = match read_folder(root, BASE)? {
            Some((_, found)) => Some(found),
            None => container_manifest(root)?,
        };
        if let Some(found) = last {
            return Ok(Some(found));
        }
    }
    Ok(seen.map(|(_, found)| found))
}

/// The database in `folder`, and where it really is.
fn read_folder(root: &Path, folder: &str) -> Result<Option<(PathBuf, Found)>, Unreadable> {
    let Some((path, real, headers)) = database(root, folder)? else { return Ok(None) };
    let blobs = headers(&real).map_err(|reason| Unreadable::new(&path, reason))?;
    let packages = packages(&blobs).map_err(|reason| Unreadable::new(&path, reason))?;
    Ok(Some((real, Found { paths: vec![path], packages })))
}

fn container_manifest(root: &Path) -> Result<Option<Found>, Unreadable> {
    let Some((path, blobs)) = manifest::headers(root)? else { return Ok(None) };
    let packages = packages(&blobs).map_err(|reason| Unreadable::new(&path, reason))?;
    Ok(Some(Found { paths: vec![path], packages }))
}

fn packages(blobs: &[Vec<u8>]) -> Result<Vec<Package>, String> {
    let mut packages = blobs.iter().filter_map(|blob| package(blob).transpose()).collect::<Result<Vec<_>, _>>()?;
    packages.sort_by(|a, b| (&a.name, &a.version, &a.architecture).cmp(&(&b.name, &b.version, &b.architecture)));
    Ok(packages)
}

/// The path of the database in `folder`, where it really is, and how to read it.
fn database(root: &Path, folder: &str) -> Result<Option<(String, PathBuf, Headers)>, Unreadable> {
    for (file, headers) in FORMATS {
        let path = format!("{folder}/{file}");
        if let Some(real) = inside::file(root, &path).map_err(Unreadable::io(&path))? {
            return Ok(Some((path, real, headers)));
        }
    }
    Ok(None)
}

/// The folder that OpenSCAP is to look into for what was read from `paths`, from the image's root on.
pub(crate) fn folder_for_openscap(paths: &[String]) -> String {
    let path = paths.iter().find(|path| super::kind(path) == PackageKind::Rpm && !manifest::is_manifest(path));
    path.and_then(|path| path.rsplit_once('/')).map_or_else(|| format!("/{}", FOLDERS[0]), |(folder, _)| format!("/{folder}"))
}

/// Makes sure that OpenSCAP sees the packages that were read: in a database of the one format that it reads, with the indexes that it looks into, where it
/// looks. The second time changes nothing.
///
/// `paths`: those that [`read`] told. OpenSCAP takes `usr/lib/sysimage/rpm` whenever that is there, with or without a database; in the way, it gets another name.
///
/// Source: OpenSCAP 1.4.2, `src/OVAL/probes/unix/linux/rpm-helper.c`.
pub(crate) fn show(root: &Path, paths: &[String]) -> io::Result<()> {
    let Some(path) = paths.iter().find(|path| super::kind(path) == PackageKind::Rpm) else { return Ok(()) };
    let folder = folder_for_openscap(paths);
    let folder = folder.trim_start_matches('/');
    clear_the_way(root, folder)?;
    let unreadable = |unreadable: Unreadable| io::Error::other(format!("/{}: {}", unreadable.path, unreadable.reason));
    let blobs = match database(root, folder).map_err(unreadable)? {
        Some((_, real, headers)) => headers(&real).map_err(io::Error::other)?,
        None => manifest::headers(root).map_err(unreadable)?.map(|(_, blobs)| blobs).unwrap_or_default(),
    };
    if blobs.is_empty() {
        return Err(io::Error::other(format!("the packages of /{path} cannot be found again")));
    }
    view::write(root, folder, &blobs)
}

fn clear_the_way(root: &Path, folder: &str) -> io::Result<()> {
    if inside::locate(root, folder)?.is_some_and(|real| inside::locate(root, OPENSCAPS_FOLDER).ok().flatten() == Some(real)) {
        return Ok(());
    }
    let Some(parent) = inside::locate(root, "usr/lib/sysimage")? else { return Ok(()) };
    let (folder, aside) = (parent.join("rpm"), parent.join("rpm.aside"));
    match (folder.symlink_metadata().is_ok(), aside.symlink_metadata().is_ok()) {
        (false, _) => Ok(()),
        (true, false) => fs::rename(folder, aside),
        (true, true) => Err(io::Error::other("/usr/lib/sysimage/rpm and rpm.aside are in the way of the rpm database")),
    }
}

/// Reads the header of each package from the database file at a path; the error is a reason for people.
type Headers = fn(&Path) -> Result<Vec<Vec<u8>>, String>;

/// Tags of a header.
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const SUMMARY: u32 = 1004;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const SOURCERPM: u32 = 1044;
    pub(super) const PROVIDENAME: u32 = 1047;
    pub(super) const BASENAMES: u32 = 1117;
    pub(super) const DIRNAMES: u32 = 1118;
}

/// Types of a header's data.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

/// The package that a header describes; `None` for the public keys that rpm stores as packages.
fn package(blob: &[u8]) -> Result<Option<Package>, String> {
    let header = Header::new(blob).ok_or("a package's header is damaged")?;
    let text = |tag| clean(&header.text(tag).unwrap_or_default());
    let (name, version, release) = (text(tag::NAME), text(tag::VERSION), text(tag::RELEASE));
    if name.is_empty() || version.is_empty() || release.is_empty() {
        return Err("a package has no name, version or release".into());
    }
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    let epoch = header.number(tag::EPOCH).filter(|epoch| *epoch != 0).map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let (source, source_version) = source(&text(tag::SOURCERPM));
    Ok(Some(Package {
        kind: PackageKind::Rpm,
        name,
        version: format!("{epoch}{version}-{release}"),
        architecture: text(tag::ARCH),
        source,
        source_version,
        vendor: text(tag::VENDOR),
        summary: text(tag::SUMMARY),
    }))
}

/// `bash` and `5.1.8-6.el9` of `bash-5.1.8-6.el9.src.rpm`. The file's name tells no epoch.
fn source(file: &str) -> (String, String) {
    let stem = file.trim_end_matches(".rpm").trim_end_matches(".src").trim_end_matches(".nosrc");
    let mut parts = stem.rsplitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(release), Some(version), Some(name)) => (name.to_owned(), format!("{version}-{release}")),
        _ => Default::default(),
    }
}

/// A header: two counts, an index of 16-byte entries, and the data that they point into; all numbers are big-endian.
struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    fn new(blob: &'a [u8]) -> Option<Self> {
        let entries = usize::try_from(number(blob, 0)?).ok()?;
        let data_bytes = usize::try_from(number(blob, 4)?).ok()?;
        let index_end = 8 + entries.checked_mul(16)?;
        let index = blob.get(8..index_end)?;
        let data = blob.get(index_end..index_end.checked_add(data_bytes)?)?;
        Some(Self { index, data })
    }

    /// Where an entry's data begins, and its type.
    fn entry(&self, tag: u32) -> Option<(u32, &'a [u8])> {
        let entry = self.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag))?;
        let offset = usize::try_from(number(entry, 8)?).ok()?;
        Some((number(entry, 4)?, self.data.get(offset..)?))
    }

    /// A string, or the first of several.
    fn text(&self, tag: u32) -> Option<String> {
        let (kind, data) = self.entry(tag)?;
        let end = data.iter().position(|byte| *byte == 0)?;
        [STRING, STRING_ARRAY, I18N_STRING].contains(&kind).then(|| String::from_utf8_lossy(&data[..end]).into_owned())
    }

    fn number(&self, tag: u32) -> Option<u32> {
        let (kind, data) = self.entry(tag)?;
        (kind == INT32).then(|| number(data, 0)).flatten()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
