//! Ends scans that a person cancelled and that nobody drives; whoever drives one hears of it by itself (see `lease::Guard`).

use crate::SmartState;
use anyhow::Context;
use model::ids::{ImageId, ProviderId, TaskId};
use queue::job::{Event, Job, RaisedEvent, enqueue_many};
use queue::task::{self, TaskStatus};
use sqlx::{Connection, PgConnection};

const AT_ONCE: i64 = 500;

struct Ended {
    task: TaskId,
    image: Option<ImageId>,
    provider: ProviderId,
}

/// Those that have not started.
///
/// # Errors
/// The database.
pub(crate) async fn waiting(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
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
             LIMIT $1
             FOR UPDATE OF scans SKIP LOCKED
           )
           UPDATE scans
           SET state = 'finished', outcome = 'cancelled', reason_code = 'cancelled', message = 'Cancelled', finished_at = $2
           FROM cancelled
           WHERE scans.id = cancelled.id
           RETURNING scans.task_id AS "task!: TaskId", image_id AS "image: ImageId", provider_id AS "provider: ProviderId""#,
        AT_ONCE,
        ctx.clock.now()
    )
    .fetch_all(&mut *tx)
    .await
    .context("cancelling waiting scans")?;
    finish(&mut tx, ctx, &ended, "Cancelled before it started").await?;
    Ok(tx.commit().await?)
}

/// Those that a server left on their way, when no server has the roles to go on. The raised fence keeps that server from writing should it come back; the
/// pod is the reaper's, once a server has the roles.
///
/// # Errors
/// The database.
pub(crate) async fn undriven(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
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
             LIMIT $1
             FOR UPDATE OF scans SKIP LOCKED
           )
           UPDATE scans
           SET state = 'finished', outcome = 'cancelled', reason_code = 'cancelled', message = 'Cancelled', finished_at = $2,
               fence = fence + 1, token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL
           FROM cancelled
           WHERE scans.id = cancelled.id
           RETURNING scans.task_id AS "task!: TaskId", image_id AS "image: ImageId", provider_id AS "provider: ProviderId""#,
        AT_ONCE,
        ctx.clock.now()
    )
    .fetch_all(&mut *tx)
    .await
    .context("cancelling scans that nobody drives")?;
    finish(&mut tx, ctx, &ended, "Cancelled").await?;
    Ok(tx.commit().await?)
}

/// Ends their tasks and raises their events, in the caller's transaction.
async fn finish(conn: &mut PgConnection, ctx: &SmartState, ended: &[Ended], message: &str) -> anyhow::Result<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let tasks: Vec<TaskId> = ended.iter().map(|scan| scan.task).collect();
    task::finish_many(conn, &ctx.clock, &tasks, TaskStatus::Cancelled, message, "cancelled", "").await?;
    let jobs: Vec<Job> = ended
        .iter()
        .filter_map(|scan| {
            Some(Job::RaiseEvent(RaisedEvent {
                event: Event::ContainerImageScanAbort,
                target_kind: "container_image".into(),
                target: scan.image?.0,
                provider: Some(scan.provider),
                details: serde_json::json!({ "reason_code": "cancelled" }),
            }))
        })
        .collect();
    enqueue_many(conn, &jobs).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tell_missing_role;
    use crate::lease::LEASE_SECS;
    use crate::lease::tests::taken;
    use crate::reason::Reason;
    use chrono::Duration;
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_scan_that_its_server_left_says_why_it_stands_still_and_can_be_cancelled(pool: PgPool) {
        let (ctx, scan) = taken(&pool).await;
        let mut conn = pool.acquire().await.unwrap();
        let id = scan.task.unwrap();
        let reason = Reason::NoServerRole("the role SmartProxy".into());
        tell_missing_role(&mut conn, &ctx, &reason).await.unwrap();
        assert_ne!(task::find(&mut conn, id).await.unwrap().unwrap().message, reason.message(), "it is driven");
        ctx.clock.advance(Duration::seconds(LEASE_SECS + 1));
        tell_missing_role(&mut conn, &ctx, &reason).await.unwrap();
        assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().message, reason.message());
        undriven(&mut conn, &ctx).await.unwrap();
        assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().status, None, "nobody cancelled it");
        task::request_cancel(&mut conn, &ctx.clock, &[id]).await.unwrap();
        undriven(&mut conn, &ctx).await.unwrap();
        assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().status, Some(TaskStatus::Cancelled));
        let (state, outcome, fence): (String, String, i64) = sqlx::query_as("SELECT state, outcome, fence FROM scans").fetch_one(&pool).await.unwrap();
        assert_eq!((state.as_str(), outcome.as_str(), fence), ("finished", "cancelled", scan.fence + 1));
    }
}
