//! The packages of an image, as its pod lists them before the evaluation. Nothing in the list is trusted, and it stops at its limits while it is read.

use anyhow::{Context, ensure};
use model::ids::ScanId;
use scap::report::{OperatingSystem, Package};
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use sqlx::PgConnection;
use std::fmt;
use std::io::{BufReader, Read};

const UNPACKED_BYTES: u64 = 48 << 20;
const PACKAGES_AT_MOST: usize = 200_000;
/// The inspector's window is 2 MiB.
const WINDOW_LOG: u32 = 23;

/// Reads `packed`, zstd of a JSON array.
///
/// # Errors
/// Damaged, or beyond a limit.
pub(crate) fn read(packed: &[u8]) -> anyhow::Result<Vec<Package>> {
    let mut decoder = zstd::stream::read::Decoder::new(packed).context("it is not compressed with zstd")?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(decoder.take(UNPACKED_BYTES)));
    let packages = json.deserialize_seq(Bounded).context("it is no list of packages, or larger than its limits")?;
    json.end().context("it goes on after its end")?;
    ensure!(packages.iter().all(|package| package.name.len() <= NAME_BYTES), "it names a package with more than {NAME_BYTES} bytes");
    Ok(packages)
}

const NAME_BYTES: usize = 4096;

struct Bounded;

impl<'de> Visitor<'de> for Bounded {
    type Value = Vec<Package>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at most {PACKAGES_AT_MOST} packages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut packages = vec![];
        while let Some(package) = list.next_element()? {
            if packages.len() == PACKAGES_AT_MOST {
                return Err(A::Error::invalid_length(PACKAGES_AT_MOST + 1, &self));
            }
            packages.push(package);
        }
        Ok(packages)
    }
}

/// Whether any image of this system that was analysed before has a package, or a source package, with one of `names`.
///
/// # Errors
/// The database.
pub(crate) async fn is_any_installed(conn: &mut PgConnection, os: &OperatingSystem, except: ScanId, names: &[String]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM inspections n
             JOIN packages p USING (scan_id)
             WHERE n.os_id = $1
               AND n.os_version = $2
               AND n.scan_id <> $3
               AND (p.name = ANY($4) OR p.source = ANY($4))
           ) AS "any!""#,
        os.id,
        os.version_id,
        except.0,
        names
    )
    .fetch_one(conn)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn packed(json: &[u8]) -> Vec<u8> {
        zstd::encode_all(json, 1).unwrap()
    }

    #[test]
    fn a_list_of_packages_ends_at_its_limits_while_it_is_read() {
        let packages = report(7).packages;
        assert_eq!(read(&packed(&serde_json::to_vec(&packages).unwrap())).unwrap(), packages);
        for damaged in [&b"{}"[..], b"[", b"[{}]", b"[] []", b"null"] {
            assert!(read(&packed(damaged)).is_err(), "{}", String::from_utf8_lossy(damaged));
        }
        assert!(read(b"no zstd").is_err());
        let one = serde_json::to_vec(&packages[0]).unwrap();
        let many = [b"[".to_vec(), [one.clone(), b",".to_vec()].concat().repeat(PACKAGES_AT_MOST), one, b"]".to_vec()].concat();
        let refused = format!("{:#}", read(&packed(&many)).unwrap_err());
        assert!(refused.contains("at most 200000 packages") || refused.contains("larger than its limits"), "{refused}");
        let blank = packed(&vec![b' '; usize::try_from(UNPACKED_BYTES).unwrap() * 4]);
        assert!(blank.len() < 100_000);
        assert!(read(&blank).is_err());
    }
}
