//! May a scan start now? At most so many at a time per provider; what was asked for alone goes before what was asked for in bulk.

use crate::lease::State;
use crate::reason::Reason;
use crate::request::say_waiting;
use crate::{SmartState, deadline};
use anyhow::Context;
use model::ids::{ProviderId, ScanId, TaskId};
use sqlx::{Connection, PgConnection};

/// Deciding needs a lock per provider; this is the first half of its key.
const LOCK: i32 = 0x7477_0001;
/// How many waiting tasks hear in one go why they wait; the others in the next.
const TOLD_AT_ONCE: i64 = 100;

/// Moves as many waiting scans of `provider` as may start now to `creating_pod`, and lets the others say why they wait. Their leases are free: see `lease::take`.
///
/// `most`: how many more this process will drive.
///
/// # Errors
/// The database.
pub(crate) async fn admit(conn: &mut PgConnection, ctx: &SmartState, provider: ProviderId, most: i64) -> anyhow::Result<Vec<ScanId>> {
    let mut tx = conn.begin().await?;
    let lock = i32::try_from(provider.0 % i64::from(i32::MAX)).context("a provider's number")?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1, $2)", LOCK, lock).execute(&mut *tx).await?;
    let running = running(&mut tx, provider).await?;
    let room = (ctx.settings.concurrent_per_provider - running).clamp(0, most.max(0));
    let admitted = start(&mut tx, ctx, provider, room).await?;
    let running = running + i64::try_from(admitted.len()).unwrap_or(0);
    if running >= ctx.settings.concurrent_per_provider {
        tell_waiting(&mut tx, ctx, provider, running).await?;
    }
    tx.commit().await?;
    Ok(admitted)
}

/// Providers with waiting scans.
///
/// # Errors
/// The database.
pub(crate) async fn providers_waiting(conn: &mut PgConnection) -> anyhow::Result<Vec<ProviderId>> {
    let providers = sqlx::query_scalar!(
        r#"SELECT id AS "id: ProviderId"
           FROM providers
           WHERE removing_at IS NULL
             AND paused_at IS NULL
             AND EXISTS (SELECT FROM scans WHERE provider_id = providers.id AND state = 'waiting')
           ORDER BY id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(providers)
}

async fn running(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<i64> {
    let running = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM scans WHERE provider_id = $1 AND state NOT IN ('waiting', 'finished')"#, provider.0)
        .fetch_one(conn)
        .await?;
    Ok(running)
}

async fn start(conn: &mut PgConnection, ctx: &SmartState, provider: ProviderId, room: i64) -> anyhow::Result<Vec<ScanId>> {
    let now = ctx.clock.now();
    let started = sqlx::query_scalar!(
        r#"WITH next AS (
             SELECT scans.id
             FROM scans
             LEFT JOIN tasks ON tasks.id = task_id
             WHERE scans.provider_id = $1
               AND scans.state = 'waiting'
               AND tasks.cancel_requested_at IS NULL
             ORDER BY bulk, scans.id
             LIMIT $2
             FOR UPDATE OF scans SKIP LOCKED
           )
           UPDATE scans
           SET state = 'creating_pod', started_at = $3, state_deadline_at = $4,
               timings = JSONB_BUILD_OBJECT('waiting', (EXTRACT(EPOCH FROM $3 - requested_at) * 1000)::bigint)
           FROM next
           WHERE scans.id = next.id
           RETURNING scans.id AS "id: ScanId""#,
        provider.0,
        room,
        now,
        deadline::of(State::CreatingPod, now)
    )
    .fetch_all(conn)
    .await
    .context("admitting scans")?;
    Ok(started)
}

async fn tell_waiting(conn: &mut PgConnection, ctx: &SmartState, provider: ProviderId, running: i64) -> anyhow::Result<()> {
    let name = sqlx::query_scalar!("SELECT name FROM providers WHERE id = $1", provider.0).fetch_one(&mut *conn).await?;
    let reason = Reason::LimitReached { running, limit: ctx.settings.concurrent_per_provider, provider: name };
    let tasks = waiting_tasks(conn, Some(provider), &reason).await?;
    say_waiting(conn, &ctx.clock, &tasks, &reason).await
}

/// Lets tasks of waiting scans, and of those that a server with the roles left on their way, say that there is none any more; every server's loop does
/// this, since none with the roles is there to.
///
/// # Errors
/// The database.
pub(crate) async fn tell_missing_role(conn: &mut PgConnection, ctx: &SmartState, reason: &Reason) -> anyhow::Result<()> {
    let mut tasks = waiting_tasks(conn, None, reason).await?;
    let left = sqlx::query_scalar!(
        r#"SELECT tasks.id AS "id: TaskId"
           FROM scans
           JOIN tasks ON tasks.id = task_id
           WHERE scans.state NOT IN ('waiting', 'finished')
             AND (lease_until IS NULL OR lease_until < $1)
             AND tasks.state <> 'finished'
             AND tasks.message <> $2
           ORDER BY scans.id
           LIMIT $3"#,
        ctx.clock.now(),
        reason.message(),
        TOLD_AT_ONCE
    )
    .fetch_all(&mut *conn)
    .await?;
    tasks.extend(left);
    say_waiting(conn, &ctx.clock, &tasks, reason).await
}

/// Some tasks of waiting scans that do not say `reason` yet.
async fn waiting_tasks(conn: &mut PgConnection, provider: Option<ProviderId>, reason: &Reason) -> anyhow::Result<Vec<TaskId>> {
    let tasks = sqlx::query_scalar!(
        r#"SELECT tasks.id AS "id: TaskId"
           FROM scans
           JOIN tasks ON tasks.id = task_id
           WHERE scans.state = 'waiting'
             AND ($1::bigint IS NULL OR scans.provider_id = $1)
             AND tasks.state <> 'finished'
             AND tasks.message <> $2
           ORDER BY bulk, scans.id
           LIMIT $3"#,
        provider.map(|id| id.0),
        reason.message(),
        TOLD_AT_ONCE
    )
    .fetch_all(conn)
    .await?;
    Ok(tasks)
}

#[cfg(test)]
pub(crate) mod tests;
