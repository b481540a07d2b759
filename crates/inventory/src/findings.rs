//! Which inspection counts for an image, and the copy of it that lists sort and filter by.
//!
//! The view `image_inspections` says which inspection counts. It changes with an image, an inspection, or a provider that begins or ends to share
//! its results, so whoever writes one of these calls [`renew`] in the same transaction, under the lock of this file: those who add images share it,
//! who saves findings or changes a provider has it alone. An image that is added meanwhile so gets its findings all the same.

use model::ids::{ImageId, ProviderId};
use sqlx::PgConnection;

/// Of Postgres' two-number advisory locks, the class of this one.
const FINDINGS_LOCK: i32 = 0x5457_0005;

/// What [`renew`] changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Images for which another inspection counts now, or none, or the first.
    pub images: usize,
    /// Those of them for which none counts any more.
    pub lost: usize,
}

/// Keeps what counts as it is until the caller's transaction ends. Take it before any row, so that two transactions cannot wait for each other.
///
/// # Errors
/// The database.
pub(crate) async fn hold(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock_shared($1, 0)", FINDINGS_LOCK).execute(conn).await?;
    Ok(())
}

/// Lets nobody else add images or change what counts until the caller's transaction ends. Scans may be locked before it; no other row.
///
/// # Errors
/// The database.
pub async fn lock(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1, 0)", FINDINGS_LOCK).execute(conn).await?;
    Ok(())
}

/// The images of a digest, at all providers.
///
/// # Errors
/// The database.
pub async fn images_of_digest(conn: &mut PgConnection, digest: &str) -> anyhow::Result<Vec<ImageId>> {
    let images = sqlx::query_scalar!(r#"SELECT id AS "id: ImageId" FROM container_images WHERE digest = $1"#, digest).fetch_all(conn).await?;
    Ok(images)
}

/// The images for which what a provider found can count, and its own.
///
/// # Errors
/// The database.
pub async fn images_around(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<Vec<ImageId>> {
    let images = sqlx::query_scalar!(
        r#"SELECT id AS "id!: ImageId" FROM container_images WHERE provider_id = $1
           UNION
           SELECT i.id FROM inspections n JOIN container_images i ON i.digest = n.digest WHERE n.provider_id = $1"#,
        provider.0
    )
    .fetch_all(conn)
    .await?;
    Ok(images)
}

/// Notes for each of `images` which inspection counts now. The caller holds the lock.
///
/// # Errors
/// The database.
pub async fn renew(conn: &mut PgConnection, images: &[ImageId]) -> anyhow::Result<Renewed> {
    let ids: Vec<i64> = images.iter().map(|id| id.0).collect();
    let lost = sqlx::query_scalar!(
        r#"UPDATE container_images i
           SET inspection_id = counts.id, found_rank = counts.rank, found_at = counts.at, found_os_id = counts.os_id,
               found_complete = counts.fully_checked
           FROM (SELECT f.image_id, n.id, COALESCE(n.failed_rank, -1) AS rank, COALESCE(n.inspected_at, 'epoch') AS at, n.os_id, n.fully_checked
                 FROM image_inspections f
                 LEFT JOIN inspections n ON n.id = f.inspection_id
                 WHERE f.image_id = ANY($1)) counts
           WHERE i.id = counts.image_id
             AND (i.inspection_id, i.found_rank, i.found_at, i.found_os_id, i.found_complete)
                 IS DISTINCT FROM (counts.id, counts.rank, counts.at, counts.os_id, counts.fully_checked)
           RETURNING i.inspection_id IS NULL AS "lost!""#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(Renewed { images: lost.len(), lost: lost.iter().filter(|lost| **lost).count() })
}

/// Lets no inspection count for the images of a provider that is being removed, so that its inspections can go.
///
/// # Errors
/// The database.
pub async fn clear(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE container_images
         SET inspection_id = NULL, found_rank = -1, found_at = 'epoch', found_os_id = NULL, found_complete = NULL
         WHERE provider_id = $1
           AND inspection_id IS NOT NULL",
        provider.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
