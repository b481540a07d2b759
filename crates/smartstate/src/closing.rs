//! The end of scans that nobody drives: cancelled before they started, of a provider that is being removed, or gone.

use crate::reason::Reason;
use crate::{SmartState, reaper, sharing};
use anyhow::Context;
use chrono::{DateTime, Duration, Utc};
use model::Clock;
use model::ids::{ImageId, ProviderId, TaskId};
use queue::job::{Event, Job, RaisedEvent, enqueue_many};
use queue::task::{self, TaskStatus};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;

const ENDED_AT_ONCE: i64 = 500;
/// How long the scans of a provider that is being removed may take to end by themselves, from when its removal was asked for.
const END_WITHIN_SECS: i64 = 90;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// What Control hears when a scan ends like that.
pub(crate) fn event(status: TaskStatus) -> Event {
    match status {
        TaskStatus::Ok | TaskStatus::Warn => Event::ContainerImageScanComplete,
        TaskStatus::Error | TaskStatus::Cancelled => Event::ContainerImageScanAbort,
    }
}

/// A scan that was ended here.
pub(crate) struct Ended {
    pub task: Option<TaskId>,
    pub image: Option<ImageId>,
    pub provider: Option<ProviderId>,
    pub outcome: String,
    pub message: String,
    pub reason_code: String,
    pub advice: String,
}

/// Ends waiting scans whose tasks a person cancelled. Those of a provider that is being removed are ended by [`end_scans`], which says why.
pub(crate) async fn cancel_waiting(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let ended = sqlx::query_as!(
        Ended,
        r#"WITH cancelled AS (
             SELECT scans.id
             FROM tasks
             JOIN scans ON scans.task_id = tasks.id
             WHERE tasks.state <> 'finished'
               AND cancel_requested_at IS NOT NULL
               AND scans.state = 'waiting'
               AND NOT EXISTS (SELECT FROM providers WHERE providers.id = scans.provider_id AND removing_at IS NOT NULL)
             LIMIT $1
             FOR UPDATE OF scans SKIP LOCKED
           )
           UPDATE scans
           SET state = 'finished', outcome = 'cancelled', reason_code = 'cancelled', message = 'Cancelled before it started', finished_at = $2
           FROM cancelled
           WHERE scans.id = cancelled.id
           RETURNING task_id AS "task: TaskId", image_id AS "image: ImageId", provider_id AS "provider: ProviderId",
                     outcome AS "outcome!", message, reason_code, advice"#,
        ENDED_AT_ONCE,
        ctx.clock.now()
    )
    .fetch_all(&mut *tx)
    .await
    .context("cancelling waiting scans")?;
    tell(&mut tx, &ctx.clock, &ended).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends scans whose tasks a person cancelled and that a server left on their way, when no server has the roles to go on. The raised fence keeps that server
/// from writing should it come back; the pod is the reaper's, once a server has the roles.
///
/// # Errors
/// The database.
pub(crate) async fn cancel_undriven(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let ended = sqlx::query_as!(
        Ended,
        r#"WITH cancelled AS (
             SELECT scans.id
             FROM tasks
             JOIN scans ON scans.task_id = tasks.id
             WHERE tasks.state <> 'finished'
               AND cancel_requested_at IS NOT NULL
               AND scans.state NOT IN ('waiting', 'cleaning', 'finished')
               AND (lease_until IS NULL OR lease_until < $2)
               AND NOT EXISTS (SELECT FROM providers WHERE providers.id = scans.provider_id AND removing_at IS NOT NULL)
             LIMIT $1
             FOR UPDATE OF scans SKIP LOCKED
           )
           UPDATE scans
           SET state = 'finished', outcome = 'cancelled', reason_code = 'cancelled', message = 'Cancelled', finished_at = $2,
               fence = fence + 1, token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL
           FROM cancelled
           WHERE scans.id = cancelled.id
           RETURNING task_id AS "task: TaskId", image_id AS "image: ImageId", provider_id AS "provider: ProviderId",
                     outcome AS "outcome!", message, reason_code, advice"#,
        ENDED_AT_ONCE,
        ctx.clock.now()
    )
    .fetch_all(&mut *tx)
    .await
    .context("cancelling scans that nobody drives")?;
    tell(&mut tx, &ctx.clock, &ended).await?;
    tx.commit().await?;
    Ok(())
}

/// Sees to it that a provider has no open scan, and hardly a pod of one, when this returns, and that its findings are ready for its removal. Ask for that
/// first, so that no new ones start.
///
/// Waiting scans end at once. Those that are driven are ended by their server, which removes their pods; whatever is open 90 seconds after `asked_at`
/// (the cluster does not answer, no server has the roles) is ended all the same.
///
/// # Errors
/// The database.
pub async fn end_scans(ctx: &SmartState, provider: ProviderId, asked_at: DateTime<Utc>) -> anyhow::Result<()> {
    loop {
        let overdue = ctx.clock.now() - asked_at >= Duration::seconds(END_WITHIN_SECS);
        let mut conn = ctx.pool.acquire().await?;
        while end_some(&mut conn, ctx, provider, overdue).await? > 0 {}
        if !has_open(&mut conn, provider).await? {
            break;
        }
        drop(conn);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // The last chance: with the provider goes its login.
    reaper::reap_provider(ctx, provider).await?;
    ask_elsewhere(ctx, provider).await?;
    sharing::leave_findings(ctx, provider).await
}

/// A digest is analysed once among the providers that share results: what the removal ended is asked for again at another of them that runs it.
async fn ask_elsewhere(ctx: &SmartState, provider: ProviderId) -> anyhow::Result<()> {
    let mut tx = ctx.pool.begin().await?;
    sharing::hold(&mut tx).await?;
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (scans.digest) scans.userid, container_images.id AS "image: ImageId"
           FROM scans
           JOIN container_images ON container_images.digest = scans.digest AND container_images.archived_at IS NULL
           JOIN providers ON providers.id = container_images.provider_id AND providers.removing_at IS NULL
                         AND providers.paused_at IS NULL AND providers.shares_results
           JOIN providers AS gone ON gone.id = scans.provider_id AND gone.shares_results
           WHERE scans.provider_id = $1
             AND scans.outcome = 'cancelled'
             AND scans.reason_code = $2
             AND NOT EXISTS (
               SELECT FROM image_scans
               WHERE image_scans.image_id = container_images.id
                 AND image_scans.scan_id > scans.id)
           ORDER BY scans.digest, container_images.id"#,
        provider.0,
        Reason::ProviderGone.code()
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut images: BTreeMap<String, Vec<ImageId>> = BTreeMap::new();
    for row in rows {
        images.entry(row.userid).or_default().push(row.image);
    }
    for (userid, images) in images {
        crate::request::request(&mut tx, &ctx.clock, &userid, &images).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn has_open(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<bool> {
    let open = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM scans WHERE provider_id = $1 AND state <> 'finished') AS "open!""#, provider.0);
    Ok(open.fetch_one(conn).await?)
}

/// Ends some of the waiting scans of `provider`, or of all open ones; gives how many. The fence keeps those who drive them from writing.
async fn end_some(conn: &mut PgConnection, ctx: &SmartState, provider: ProviderId, all: bool) -> anyhow::Result<usize> {
    let reason = Reason::ProviderGone;
    let mut tx = conn.begin().await?;
    // One that is being cleaned up keeps the end that it has come to.
    let ended = sqlx::query_as!(
        Ended,
        r#"WITH closing AS (
             SELECT id, outcome
             FROM scans
             WHERE provider_id = $1
               AND (state = 'waiting' OR $2 AND state <> 'finished')
             ORDER BY id
             LIMIT $3
             FOR UPDATE SKIP LOCKED
           )
           UPDATE scans
           SET state = 'finished', finished_at = $4, fence = fence + 1, token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL,
               outcome = COALESCE(closing.outcome, 'cancelled'),
               reason_code = CASE WHEN closing.outcome IS NULL THEN $5 ELSE reason_code END,
               message = CASE WHEN closing.outcome IS NULL THEN $6 ELSE message END,
               advice = CASE WHEN closing.outcome IS NULL THEN $7 ELSE advice END
           FROM closing
           WHERE scans.id = closing.id
           RETURNING task_id AS "task: TaskId", image_id AS "image: ImageId", provider_id AS "provider: ProviderId",
                     scans.outcome AS "outcome!", message, reason_code, advice"#,
        provider.0,
        all,
        ENDED_AT_ONCE,
        ctx.clock.now(),
        reason.code(),
        reason.message(),
        reason.advice()
    )
    .fetch_all(&mut *tx)
    .await
    .context("ending the scans of a provider that is being removed")?;
    tell(&mut tx, &ctx.clock, &ended).await?;
    tx.commit().await?;
    Ok(ended.len())
}

/// Ends the tasks of `ended` and raises the events. Most have ended in the same way, and are told together.
pub(crate) async fn tell(conn: &mut PgConnection, clock: &Clock, ended: &[Ended]) -> anyhow::Result<()> {
    let alike = |a: &Ended, b: &Ended| a.outcome == b.outcome && a.message == b.message && a.reason_code == b.reason_code && a.advice == b.advice;
    for group in ended.chunk_by(alike) {
        let status = TaskStatus::parse(&group[0].outcome).unwrap_or(TaskStatus::Error);
        let tasks: Vec<TaskId> = group.iter().filter_map(|scan| scan.task).collect();
        task::finish_many(conn, clock, &tasks, status, &group[0].message, &group[0].reason_code, &group[0].advice).await?;
    }
    let raised = |scan: &Ended| {
        Some(Job::RaiseEvent(RaisedEvent {
            event: event(TaskStatus::parse(&scan.outcome).unwrap_or(TaskStatus::Error)),
            target_kind: "container_image".into(),
            target: scan.image?.0,
            provider: scan.provider,
            details: serde_json::json!({ "outcome": scan.outcome, "reason_code": scan.reason_code }),
        }))
    };
    let events: Vec<Job> = ended.iter().filter_map(raised).collect();
    enqueue_many(conn, &events).await
}

/// Ends open tasks of analyses that have no open scan (any more): nobody else would.
///
/// # Errors
/// The database.
pub(crate) async fn end_tasks_without_scan(ctx: &SmartState) -> anyhow::Result<()> {
    let mut tx = ctx.pool.begin().await?;
    let tasks = sqlx::query_scalar!(
        r#"SELECT id AS "id: TaskId"
           FROM tasks
           WHERE kind = 'image_scan'
             AND state <> 'finished'
             AND NOT EXISTS (SELECT FROM scans WHERE task_id = tasks.id AND state <> 'finished')
           LIMIT $1"#,
        ENDED_AT_ONCE
    )
    .fetch_all(&mut *tx)
    .await?;
    if tasks.is_empty() {
        return Ok(());
    }
    let reason = Reason::ScanGone;
    let ended = task::finish_many(&mut tx, &ctx.clock, &tasks, TaskStatus::Error, &reason.message(), reason.code(), reason.advice()).await?;
    tx.commit().await?;
    tracing::warn!("ended {ended} tasks whose scan is gone");
    Ok(())
}

#[cfg(test)]
mod tests;
