//! Package headers from `rpmdb.sqlite`.
//!
//! Source: rpm, `lib/backend/sqlite.c`.

use super::MAX_HEADER_BYTES;
use crate::packages::{MAX_DATABASE_BYTES, MAX_PACKAGES};
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::Path;

/// Whether there is a write-ahead log beside the database, with what is not in it yet.
pub(super) fn has_log(path: &Path) -> bool {
    path.with_file_name("rpmdb.sqlite-wal").symlink_metadata().is_ok_and(|log| log.is_file() && log.len() > 0)
}

/// Whether rpm finds each package of the database by its name, as OpenSCAP looks for it, and the database by itself is whole.
pub(super) fn is_indexed(path: &Path, packages: usize) -> bool {
    let counted = |connection: &Connection| -> rusqlite::Result<(i64, i64)> {
        let tables = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('Packages', 'Name', 'Basenames', 'Dirnames')";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
        let named = connection.query_row("SELECT COUNT(DISTINCT hnum) FROM Name WHERE hnum IN (SELECT hnum FROM Packages)", [], |row| row.get(0))?;
        Ok((tables, named))
    };
    let found = open(path).ok().and_then(|connection| counted(&connection).ok());
    !has_log(path) && found.is_some_and(|(tables, named)| tables == 4 && usize::try_from(named).is_ok_and(|named| named == packages))
}

/// Opened so that the image stays as it is.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let escaped: String = path.to_string_lossy().chars().map(|c| if "?#%".contains(c) { format!("%{:02x}", u32::from(c)) } else { c.to_string() }).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// The header of each package; the error is a reason for people.
pub(super) fn headers(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    if path.metadata().map_err(|e| e.to_string())?.len() > MAX_DATABASE_BYTES {
        return Err("it is larger than 512 MiB".into());
    }
    // `immutable` leaves the image as it is, but cannot see a write-ahead log; with one, a copy is read.
    let log = path.with_file_name("rpmdb.sqlite-wal");
    if has_log(path) {
        if log.metadata().map_err(|e| e.to_string())?.len() > MAX_DATABASE_BYTES {
            return Err("its write-ahead log is larger than 512 MiB".into());
        }
        let copy = tempfile::tempdir().map_err(|e| e.to_string())?;
        let file = copy.path().join("rpmdb.sqlite");
        fs::copy(path, &file).and_then(|_| fs::copy(&log, copy.path().join("rpmdb.sqlite-wal"))).map_err(|e| e.to_string())?;
        let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| e.to_string())?;
        return select(&connection).map_err(|e| e.to_string());
    }
    let connection = open(path).map_err(|e| e.to_string())?;
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
    let rows = statement.query_map([MAX_PACKAGES as i64 + 1], |row| row.get::<_, Vec<u8>>(0))?;
    let mut total = 0;
    let mut blobs = Vec::new();
    for row in rows {
        let row = row?;
        total += row.len() as u64;
        anyhow::ensure!(row.len() <= MAX_HEADER_BYTES && total <= MAX_DATABASE_BYTES, "its headers are too large");
        blobs.push(row);
        anyhow::ensure!(blobs.len() <= MAX_PACKAGES, "it names more than 100,000 packages");
    }
    Ok(blobs)
}
