//! The rpm database that OpenSCAP is shown.
//!
//! It reads SQLite alone, and packages and their files by indexes of it: a database of another format, or without indexes, looks to it like one without
//! packages, without a word.
//!
//! Source: rpm 4.18, `lib/backend/sqlite.c` (tables), `lib/rpmdb.c` (`dbiTags`).

use super::{Header, SQLITE, STRING_ARRAY, number, sqlite, tag};
use crate::inside;
use rusqlite::{Connection, Transaction, params};
use std::fs;
use std::io;
use std::path::Path;

/// rpm opens each of them, filled or not.
const INDEXES: [&str; 19] = [
    "Name",
    "Basenames",
    "Group",
    "Requirename",
    "Providename",
    "Conflictname",
    "Obsoletename",
    "Triggername",
    "Dirnames",
    "Installtid",
    "Sigmd5",
    "Sha1header",
    "Filetriggername",
    "Transfiletriggername",
    "Recommendname",
    "Suggestname",
    "Supplementname",
    "Enhancename",
    "Sha256header",
];

/// Writes the packages of `blobs` to `folder`/rpmdb.sqlite, unless they are there as OpenSCAP needs them.
pub(super) fn write(root: &Path, folder: &str, blobs: &[Vec<u8>]) -> io::Result<()> {
    if inside::locate(root, folder)?.is_none() {
        fs::create_dir_all(root.join(folder))?;
    }
    let folder = inside::locate(root, folder)?.filter(|folder| folder.is_dir()).ok_or_else(|| io::Error::other(format!("/{folder} is no folder")))?;
    let path = folder.join(SQLITE);
    if path.is_file() && sqlite::is_indexed(&path, blobs.len()) {
        return Ok(());
    }
    let made = tempfile::tempdir()?;
    let made = made.path().join(SQLITE);
    make(&made, blobs).map_err(io::Error::other)?;
    for beside in ["-wal", "-shm", "-journal"] {
        let beside = path.with_file_name(format!("{SQLITE}{beside}"));
        if beside.symlink_metadata().is_ok() {
            fs::remove_file(beside)?;
        }
    }
    inside::replace(&path, &fs::read(made)?)
}

fn make(path: &Path, blobs: &[Vec<u8>]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")?;
    for index in INDEXES {
        let kind = if matches!(index, "Installtid" | "Sigmd5") { "BLOB" } else { "TEXT" };
        transaction.execute_batch(&format!(
            "CREATE TABLE '{index}' (key '{kind}' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'Packages'(hnum));
             CREATE INDEX '{index}_key_idx' ON '{index}'(key ASC);"
        ))?;
    }
    for (number, blob) in (1i64..).zip(blobs) {
        transaction.execute("INSERT INTO Packages (hnum, blob) VALUES (?1, ?2)", params![number, blob])?;
        if let Some(header) = Header::new(blob) {
            add_to_indexes(&transaction, number, &header)?;
        }
    }
    transaction.commit()
}

fn add_to_indexes(transaction: &Transaction<'_>, package: i64, header: &Header<'_>) -> rusqlite::Result<()> {
    let name = header.text(tag::NAME).unwrap_or_default();
    transaction.execute("INSERT INTO Name (key, hnum, idx) VALUES (?1, ?2, 0)", params![name, package])?;
    for (table, tag) in [("Basenames", tag::BASENAMES), ("Dirnames", tag::DIRNAMES), ("Providename", tag::PROVIDENAME)] {
        let mut insert = transaction.prepare_cached(&format!("INSERT INTO {table} (key, hnum, idx) VALUES (?1, ?2, ?3)"))?;
        for (index, text) in (0i64..).zip(texts(header, tag)) {
            insert.execute(params![String::from_utf8_lossy(text), package, index])?;
        }
    }
    Ok(())
}

/// All strings of an entry.
fn texts<'a>(header: &Header<'a>, tag: u32) -> impl Iterator<Item = &'a [u8]> {
    let entry = header.index.chunks_exact(16).find(|entry| number(entry, 0) == Some(tag) && number(entry, 4) == Some(STRING_ARRAY));
    let count = entry.and_then(|entry| number(entry, 12)).map_or(0, |count| count as usize);
    let data = header.entry(tag).map_or(&[][..], |(_, data)| data);
    data.split(|byte| *byte == 0).take(count)
}
