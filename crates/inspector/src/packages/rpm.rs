//! rpm's databases: SQLite (since rpm 4.16), ndb (SUSE) and Berkeley DB (before), all of which hold the same package headers.
//!
//! Source: rpm's `docs/manual/format.md`, `lib/header.c`, `lib/backend/sqlite.c`.

use super::{Found, MAX_DATABASE_BYTES, MAX_PACKAGES, Unreadable, bdb, clean, ndb};
use crate::inside;
use rusqlite::{Connection, OpenFlags};
use scap::report::{Package, PackageKind};
use std::path::{Path, PathBuf};
use std::{fs, io};

const FOLDERS: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
/// Largest header of one package.
pub(super) const MAX_HEADER_BYTES: usize = 16 << 20;

/// A database's file and how its headers are read, the newest format first: of several in one folder rpm takes the first, and older ones are what an upgrade left.
const FORMATS: [(&str, Headers); 3] = [("rpmdb.sqlite", sqlite), ("Packages.db", ndb::headers), ("Packages", bdb::headers)];

/// Installed packages; `None` when no rpm database is there.
///
/// Two folders with different packages are unreadable, since rpm (and with it OpenSCAP) looks into one of them alone.
pub(crate) fn read(root: &Path) -> Result<Option<Found>, Unreadable> {
    let mut seen: Option<(PathBuf, Found)> = None;
    for folder in FOLDERS {
        let Some((path, real, headers)) = database(root, folder)? else { continue };
        if seen.as_ref().is_some_and(|(known, _)| *known == real) {
            continue; // one folder is a link to the other
        }
        let mut packages = headers(&real)
            .and_then(|blobs| blobs.iter().filter_map(|blob| package(blob).transpose()).collect::<Result<Vec<_>, _>>())
            .map_err(|reason| Unreadable::new(&path, reason))?;
        packages.sort_by(|a, b| (&a.name, &a.version, &a.architecture).cmp(&(&b.name, &b.version, &b.architecture)));
        match &mut seen {
            Some((_, found)) if packages.is_empty() || found.packages == packages => {}
            Some((_, found)) if !found.packages.is_empty() => {
                return Err(Unreadable::new(&path, format!("/{} lists other packages, and only one of them can be right", found.paths[0])));
            }
            _ => seen = Some((real, Found { paths: vec![path], packages })),
        }
    }
    Ok(seen.map(|(_, found)| found))
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

/// Makes sure that OpenSCAP looks where the packages were read from: it takes `usr/lib/sysimage/rpm` whenever that is there, with or without a database.
///
/// `paths`: those that [`read`] told. A folder in the way gets another name.
///
/// Source: OpenSCAP 1.4.2, `src/OVAL/probes/unix/linux/rpm-helper.c`.
pub(crate) fn clear_the_way(root: &Path, paths: &[String]) -> io::Result<()> {
    let [older, newer] = FOLDERS;
    if !paths.iter().any(|path| path.starts_with(older)) || inside::locate(root, older)? == inside::locate(root, newer)? {
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

fn sqlite(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    if path.metadata().map_err(|e| e.to_string())?.len() > MAX_DATABASE_BYTES {
        return Err("it is larger than 512 MiB".into());
    }
    // `immutable` leaves the image as it is, but cannot see a write-ahead log; with one, a copy is read.
    let log = path.with_file_name("rpmdb.sqlite-wal");
    let has_log = log.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() > 0 && m.len() <= MAX_DATABASE_BYTES);
    if has_log {
        let copy = tempfile::tempdir().map_err(|e| e.to_string())?;
        let file = copy.path().join("rpmdb.sqlite");
        fs::copy(path, &file).and_then(|_| fs::copy(&log, copy.path().join("rpmdb.sqlite-wal"))).map_err(|e| e.to_string())?;
        let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| e.to_string())?;
        return select(&connection).map_err(|e| e.to_string());
    }
    let escaped: String = path.to_string_lossy().chars().map(|c| if "?#%".contains(c) { format!("%{:02x}", u32::from(c)) } else { c.to_string() }).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).map_err(|e| e.to_string())?;
    select(&connection).map_err(|e| e.to_string())
}

fn select(connection: &Connection) -> anyhow::Result<Vec<Vec<u8>>> {
    // The file is a stranger's: `Packages` must be a plain table, since a view could compute for ever.
    let plain: i64 = connection.query_row(
        "SELECT COUNT(*) FROM sqlite_master WHERE name = 'Packages' AND type = 'table' AND sql NOT LIKE '%VIRTUAL%' AND sql NOT LIKE '%GENERATED%' AND sql NOT LIKE '% AS %'",
        [],
        |row| row.get(0),
    )?;
    anyhow::ensure!(plain == 1, "it has no plain table of packages");
    let mut statement = connection.prepare("SELECT blob FROM Packages LIMIT ?1")?;
    let rows = statement.query_map([MAX_PACKAGES as i64], |row| row.get::<_, Vec<u8>>(0))?;
    let mut total = 0;
    let mut blobs = Vec::new();
    for row in rows {
        let row = row?;
        total += row.len() as u64;
        anyhow::ensure!(row.len() <= MAX_HEADER_BYTES && total <= MAX_DATABASE_BYTES, "its headers are too large");
        blobs.push(row);
    }
    Ok(blobs)
}

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
}

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
        const STRING: u32 = 6;
        const STRING_ARRAY: u32 = 8;
        const I18N_STRING: u32 = 9;
        let (kind, data) = self.entry(tag)?;
        let end = data.iter().position(|byte| *byte == 0)?;
        [STRING, STRING_ARRAY, I18N_STRING].contains(&kind).then(|| String::from_utf8_lossy(&data[..end]).into_owned())
    }

    fn number(&self, tag: u32) -> Option<u32> {
        const INT32: u32 = 4;
        let (kind, data) = self.entry(tag)?;
        (kind == INT32).then(|| number(data, 0)).flatten()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
