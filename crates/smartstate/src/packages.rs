//! The packages of an image, as its pod lists them before the evaluation. Nothing in the list is trusted.

use crate::bounded::{Limits, Unread, from_zstd};
use model::ids::ScanId;
use scap::report::{OperatingSystem, Package};
use sqlx::PgConnection;

/// For the list, in memory: some twenty thousand packages.
pub(crate) const HELD_MIB: usize = 16;
const LIMITS: Limits = Limits { document_bytes: 64 << 20, text_bytes: 8 << 10, depth: 4, items: 200_000, held_bytes: HELD_MIB << 20 };

/// Reads `packed`, zstd of a JSON array.
///
/// # Errors
/// Damaged, or beyond a limit.
pub(crate) fn read(packed: &[u8]) -> Result<Vec<Package>, Unread> {
    from_zstd(packed, LIMITS)
}

/// Whether any image of this system that was analysed before has a package, or a source package, with one of `names`. What providers found whose results
/// do not count for the provider of `scan` does not count here either; nor does what `scan` itself found.
///
/// # Errors
/// The database.
pub(crate) async fn is_any_installed(conn: &mut PgConnection, os: &OperatingSystem, scan: ScanId, names: &[String]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM inspections n
             JOIN packages p USING (scan_id)
             JOIN scans own ON own.id = $3
             LEFT JOIN providers o ON o.id = n.provider_id
             WHERE n.os_id = $1
               AND n.os_version = $2
               AND n.scan_id <> $3
               AND (n.provider_id = own.provider_id OR own.shares_results AND COALESCE(o.shares_results, TRUE))
               AND (p.name = ANY($4) OR p.source = ANY($4))
           ) AS "any!""#,
        os.id,
        os.version_id,
        scan.0,
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
        let one = serde_json::to_string(&packages[0]).unwrap();
        let many = format!("[{}{one}]", format!("{one},").repeat(LIMITS.items));
        assert!(matches!(read(&packed(many.as_bytes())), Err(Unread::TooMuch(_))));
    }
}
