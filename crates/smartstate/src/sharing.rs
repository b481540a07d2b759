//! Whether what a provider's scans found counts for the same digest elsewhere.

use crate::SmartState;
use crate::closing::{Ended, tell};
use crate::reason::Reason;
use crate::request::request;
use anyhow::Context;
use inventory::{findings, provider};
use model::Clock;
use model::ids::{ImageId, ProviderId};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;

/// Of Postgres' two-number advisory locks, the class of the one that keeps `providers.shares_results` as it is: requests share it.
const SHARING_LOCK: i32 = 0x5457_0006;
/// With a scan go all its rows, so few at a time.
const DELETED_AT_ONCE: i64 = 20;

/// What the change of a provider brought about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// Images for which another inspection counts now, or none, or the first.
    pub images: usize,
    /// Those of them for which none counts any more.
    pub lost: usize,
    /// Analyses that were asked for again at another provider, since the open one counts for this provider alone now.
    pub asked_again: usize,
}

/// Keeps what providers share as it is until the caller's transaction ends. Before any row: see [`share_results`].
pub(crate) async fn hold(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock_shared($1, 0)", SHARING_LOCK).execute(conn).await?;
    Ok(())
}

/// Says whether a provider's results count for the same digest at others, and theirs for it; `None` when there is no such provider. All images that this
/// concerns follow at once, in the caller's transaction, in which it must come before other changes of providers and images.
///
/// When it ends to share, open scans become its own, and what other providers waited for is asked for again there unless they have an inspection that
/// counts. When it begins to share, its open scans end of which another provider has one already.
///
/// # Errors
/// The database.
pub async fn share_results(conn: &mut PgConnection, clock: &Clock, id: ProviderId, shares: bool) -> anyhow::Result<Option<Shared>> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1, 0)", SHARING_LOCK).execute(&mut *conn).await?;
    match provider::shares_results(conn, id).await? {
        None => return Ok(None),
        Some(before) if before == shares => return Ok(Some(Shared::default())),
        Some(_) => {}
    }
    // Scans first, then the findings, then the provider: whoever saves a scan locks it before the findings, and whoever adds images has these before it
    // writes to the provider.
    if shares {
        end_second(conn, clock, id).await?;
    }
    move_open(conn, id, shares).await?;
    let asked_again = if shares { 0 } else { ask_at_others(conn, clock, id).await? };
    findings::lock(conn).await?;
    provider::set_shares_results(conn, id, shares).await?;
    let around = findings::images_around(conn, id).await?;
    let renewed = findings::renew(conn, &around).await?;
    Ok(Some(Shared { images: renewed.images, lost: renewed.lost, asked_again }))
}

async fn move_open(conn: &mut PgConnection, id: ProviderId, shares: bool) -> anyhow::Result<()> {
    sqlx::query!("UPDATE scans SET shares_results = $2 WHERE provider_id = $1 AND state <> 'finished'", id.0, shares).execute(conn).await?;
    Ok(())
}

/// Ends the provider's open scans of digests that those who share results have an open scan of. Its pod is the reaper's.
async fn end_second(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    let reason = Reason::AnalysedElsewhere;
    let ended = sqlx::query_as!(
        Ended,
        r#"UPDATE scans
           SET state = 'finished', finished_at = $2, fence = fence + 1, token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL,
               outcome = COALESCE(outcome, 'cancelled'),
               reason_code = CASE WHEN outcome IS NULL THEN $3 ELSE reason_code END,
               message = CASE WHEN outcome IS NULL THEN $4 ELSE message END,
               advice = CASE WHEN outcome IS NULL THEN $5 ELSE advice END
           WHERE provider_id = $1
             AND state <> 'finished'
             AND EXISTS (SELECT FROM scans other WHERE other.digest = scans.digest AND other.state <> 'finished' AND other.shares_results)
           RETURNING task_id AS "task: _", image_id AS "image: _", provider_id AS "provider: _", outcome AS "outcome!", message, reason_code, advice"#,
        id.0,
        clock.now(),
        reason.code(),
        reason.message(),
        reason.advice()
    )
    .fetch_all(&mut *conn)
    .await
    .context("ending scans that another provider has, too")?;
    tell(conn, clock, &ended).await
}

/// Asks for what others waited for: digests under analysis at `id` alone, of which those who share results have images and no inspection.
async fn ask_at_others(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<usize> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (s.digest) s.userid, i.id AS "image: ImageId"
           FROM scans s
           JOIN container_images i ON i.digest = s.digest AND i.archived_at IS NULL
           JOIN providers p ON p.id = i.provider_id AND p.id <> $1 AND p.shares_results AND p.removing_at IS NULL AND p.paused_at IS NULL
           WHERE s.provider_id = $1
             AND s.state <> 'finished'
             AND s.outcome IS NULL
             AND NOT EXISTS (
               SELECT FROM inspections n
               LEFT JOIN providers o ON o.id = n.provider_id
               WHERE n.digest = s.digest
                 AND n.provider_id IS DISTINCT FROM $1
                 AND COALESCE(o.shares_results, TRUE))
           ORDER BY s.digest, i.id"#,
        id.0
    )
    .fetch_all(&mut *conn)
    .await?;
    let (mut images, mut asked) = (BTreeMap::<String, Vec<ImageId>>::new(), 0);
    for row in rows {
        images.entry(row.userid).or_default().push(row.image);
    }
    for (userid, images) in images {
        let accepted = request(conn, clock, &userid, &images).await?;
        asked += accepted.images.iter().filter(|image| !image.existing).count();
    }
    Ok(asked)
}

/// Readies the findings of a provider for its removal: what counts for others keeps the name of where it was found; what was its own goes with it.
///
/// # Errors
/// The database.
pub(crate) async fn leave_findings(ctx: &SmartState, id: ProviderId) -> anyhow::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    if provider::shares_results(&mut conn, id).await? != Some(false) {
        sqlx::query!("UPDATE inspections SET provider_name = p.name FROM providers p WHERE p.id = $1 AND provider_id = p.id", id.0).execute(&mut *conn).await?;
        return Ok(());
    }
    findings::clear(&mut conn, id).await?;
    while forget_some(&mut conn, id).await? {}
    Ok(())
}

/// Deletes some scans of a provider with all that they found; gives whether there were any.
async fn forget_some(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<bool> {
    let mut tx = conn.begin().await?;
    hold(&mut tx).await?;
    if provider::shares_results(&mut tx, id).await? != Some(false) {
        return Ok(false);
    }
    let deleted = sqlx::query!("DELETE FROM scans WHERE id IN (SELECT id FROM scans WHERE provider_id = $1 ORDER BY id LIMIT $2)", id.0, DELETED_AT_ONCE)
        .execute(&mut *tx)
        .await
        .context("deleting the scans of a provider that is being removed")?;
    tx.commit().await?;
    Ok(deleted.rows_affected() > 0)
}

#[cfg(test)]
mod tests;
