//! Changes to tasks. A finished one never changes again: what comes late is dropped.

use super::{TaskState, TaskStatus};
use chrono::{DateTime, Utc};
use model::Clock;
use model::ids::TaskId;
use sqlx::PgConnection;

/// What is new about a task; `None` leaves a column as it is. A status finishes it.
#[derive(Debug, Clone, Default)]
pub struct Update {
    pub state: Option<TaskState>,
    pub status: Option<TaskStatus>,
    pub message: Option<String>,
    pub reason_code: Option<String>,
    pub advice: Option<String>,
    /// 0 to 100.
    pub progress: Option<i16>,
    /// The name of the server that works on it.
    pub server: Option<String>,
}

/// Changes one task; a new message is a line of its timeline. With a status it is finished, and its parent counts it; when it becomes active, so does its parent.
///
/// Gives whether it was changed: `false` when it was finished already, or is not there.
///
/// # Errors
/// The database.
pub async fn set(conn: &mut PgConnection, clock: &Clock, id: TaskId, update: Update) -> anyhow::Result<bool> {
    let now = clock.now();
    let state = if update.status.is_some() { Some(TaskState::Finished) } else { update.state.filter(|state| *state != TaskState::Finished) };
    let changed = sqlx::query!(
        r#"WITH old AS (SELECT id, message FROM tasks WHERE id = $1 AND state <> 'finished' FOR UPDATE)
           UPDATE tasks
           SET state = COALESCE($2, state),
               status = $3::text,
               message = COALESCE($4, tasks.message),
               reason_code = COALESCE($5, reason_code),
               advice = COALESCE($6, advice),
               progress = CASE WHEN $3::text IS NOT NULL THEN 100 ELSE COALESCE(LEAST(GREATEST($7::smallint, 0::smallint), 100::smallint), progress) END,
               server = COALESCE($8, server),
               started_at = CASE WHEN COALESCE($2, state) IN ('active', 'finished') THEN COALESCE(started_at, $9) ELSE started_at END,
               finished_at = CASE WHEN $3::text IS NOT NULL THEN $9::timestamptz END,
               updated_at = $9
           FROM old
           WHERE tasks.id = old.id
           RETURNING tasks.parent_id, tasks.message AS new_message, old.message AS old_message"#,
        id.0,
        state.map(TaskState::as_str),
        update.status.map(TaskStatus::as_str),
        update.message,
        update.reason_code,
        update.advice,
        update.progress,
        update.server,
        now,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(changed) = changed else { return Ok(false) };
    if changed.new_message != changed.old_message {
        add_events(conn, now, &[id.0], &changed.new_message).await?;
    }
    match (update.status, state, changed.parent_id) {
        (Some(status), _, Some(parent)) => count_ended(conn, now, &[parent], status).await?,
        (None, Some(TaskState::Active), Some(parent)) => begin_parent(conn, now, parent).await?,
        _ => {}
    }
    Ok(true)
}

/// Ends one task. `reason_code` and `advice` are empty when all is well.
///
/// # Errors
/// The database.
pub async fn finish(
    conn: &mut PgConnection,
    clock: &Clock,
    id: TaskId,
    status: TaskStatus,
    message: &str,
    reason_code: &str,
    advice: &str,
) -> anyhow::Result<bool> {
    Ok(finish_many(conn, clock, &[id], status, message, reason_code, advice).await? == 1)
}

/// Ends many tasks in the same way, in sets; gives how many were not finished before.
///
/// # Errors
/// The database.
pub async fn finish_many(
    conn: &mut PgConnection,
    clock: &Clock,
    ids: &[TaskId],
    status: TaskStatus,
    message: &str,
    reason_code: &str,
    advice: &str,
) -> anyhow::Result<u64> {
    let now = clock.now();
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let ended = sqlx::query!(
        "UPDATE tasks
         SET state = 'finished', status = $2, message = $3, reason_code = $4, advice = $5, progress = 100,
             started_at = COALESCE(started_at, $6), finished_at = $6, updated_at = $6
         WHERE id = ANY($1)
           AND state <> 'finished'
         RETURNING id, parent_id",
        &ids,
        status.as_str(),
        message,
        reason_code,
        advice,
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    let ended_ids: Vec<i64> = ended.iter().map(|row| row.id).collect();
    let parents: Vec<i64> = ended.iter().filter_map(|row| row.parent_id).collect();
    add_events(conn, now, &ended_ids, message).await?;
    count_ended(conn, now, &parents, status).await?;
    Ok(ended.len() as u64)
}

/// Asks the open ones of `ids` and their children to end; who works on them does so. Gives how many were asked now.
///
/// # Errors
/// The database.
pub async fn request_cancel(conn: &mut PgConnection, clock: &Clock, ids: &[TaskId]) -> anyhow::Result<u64> {
    let now = clock.now();
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let asked = sqlx::query_scalar!(
        "UPDATE tasks
         SET cancel_requested_at = $2, updated_at = $2
         WHERE (id = ANY($1) OR parent_id = ANY($1))
           AND state <> 'finished'
           AND cancel_requested_at IS NULL
         RETURNING id",
        &ids,
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    add_events(conn, now, &asked, "Cancellation requested").await?;
    Ok(asked.len() as u64)
}

/// Adds a line to a task's timeline and changes nothing else; a finished task takes no more.
///
/// # Errors
/// The database.
pub async fn event(conn: &mut PgConnection, clock: &Clock, id: TaskId, message: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "INSERT INTO task_events (task_id, at, message)
         SELECT id, $2, $3
         FROM tasks
         WHERE id = $1
           AND state <> 'finished'",
        id.0,
        clock.now(),
        message
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_events(conn: &mut PgConnection, at: DateTime<Utc>, ids: &[i64], message: &str) -> anyhow::Result<()> {
    if !ids.is_empty() {
        sqlx::query!("INSERT INTO task_events (task_id, at, message) SELECT id, $2, $3 FROM UNNEST($1::bigint[]) AS id", ids, at, message)
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// A parent is active with the first child that is; what it waited for has come then.
async fn begin_parent(conn: &mut PgConnection, now: DateTime<Utc>, id: i64) -> anyhow::Result<()> {
    let begun = sqlx::query_scalar!(
        "UPDATE tasks
         SET state = 'active', started_at = COALESCE(started_at, $2), message = children_finished || ' of ' || children_total || ' finished',
             reason_code = '', advice = '', updated_at = $2
         WHERE id = $1
           AND state IN ('queued', 'waiting')
         RETURNING message",
        id,
        now
    )
    .fetch_optional(&mut *conn)
    .await?;
    match begun {
        Some(message) => add_events(conn, now, &[id], &message).await,
        None => Ok(()),
    }
}

/// Lets parents count children that ended with `status` (one entry of `parents` per child); those whose last child it was finish with the worst status.
async fn count_ended(conn: &mut PgConnection, now: DateTime<Utc>, parents: &[i64], status: TaskStatus) -> anyhow::Result<()> {
    if parents.is_empty() {
        return Ok(());
    }
    let finished = sqlx::query!(
        r#"WITH ended AS (SELECT id, COUNT(*)::int AS count FROM UNNEST($1::bigint[]) AS id GROUP BY id)
           UPDATE tasks
           SET children_finished = children_finished + ended.count,
               children_failed = children_failed + CASE WHEN $2 = 'error' THEN ended.count ELSE 0 END,
               children_warned = children_warned + CASE WHEN $2 = 'warn' THEN ended.count ELSE 0 END,
               children_cancelled = children_cancelled + CASE WHEN $2 = 'cancelled' THEN ended.count ELSE 0 END,
               progress = LEAST(100, (children_finished + ended.count) * 100 / GREATEST(children_total, 1)),
               state = 'active',
               started_at = COALESCE(started_at, $3),
               message = (children_finished + ended.count) || ' of ' || children_total || ' finished',
               reason_code = '',
               advice = '',
               updated_at = $3
           FROM ended
           WHERE tasks.id = ended.id
             AND state <> 'finished'
           RETURNING tasks.id, children_total, children_finished, children_failed, children_warned, children_cancelled"#,
        parents,
        status.as_str(),
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    for parent in finished.into_iter().filter(|parent| parent.children_finished >= parent.children_total) {
        let sum = Sum { total: parent.children_total, failed: parent.children_failed, warned: parent.children_warned, cancelled: parent.children_cancelled };
        end_parent(conn, now, parent.id, &sum).await?;
    }
    Ok(())
}

struct Sum {
    total: i32,
    failed: i32,
    warned: i32,
    cancelled: i32,
}

impl Sum {
    fn status(&self) -> TaskStatus {
        match self {
            Self { failed: 1.., .. } => TaskStatus::Error,
            Self { cancelled: 1.., .. } => TaskStatus::Cancelled,
            Self { warned: 1.., .. } => TaskStatus::Warn,
            _ => TaskStatus::Ok,
        }
    }

    /// `12 finished: 9 well, 2 with warnings, 1 failed`.
    fn message(&self) -> String {
        let well = self.total - self.failed - self.warned - self.cancelled;
        let parts: Vec<String> = [(well, "well"), (self.warned, "with warnings"), (self.failed, "failed"), (self.cancelled, "cancelled")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, how)| format!("{count} {how}"))
            .collect();
        format!("{} finished: {}", self.total, parts.join(", "))
    }
}

async fn end_parent(conn: &mut PgConnection, now: DateTime<Utc>, id: i64, sum: &Sum) -> anyhow::Result<()> {
    let message = sum.message();
    sqlx::query!(
        "UPDATE tasks
         SET state = 'finished', status = $2, message = $3, progress = 100, finished_at = $4, updated_at = $4
         WHERE id = $1",
        id,
        sum.status().as_str(),
        message,
        now
    )
    .execute(&mut *conn)
    .await?;
    add_events(conn, now, &[id], &message).await
}
