//! Pausing a provider: nothing is asked of it until a person resumes it. For one that harms, or one that is being worked on.

use chrono::{DateTime, Utc};
use model::Clock;
use model::ids::{ProviderId, TaskId};
use queue::task;
use sqlx::PgConnection;

/// Pauses a provider and asks its open tasks to end; gives whether there is one. Its watch stops within seconds. Its inventory stays as it is.
///
/// Asking again changes nothing.
///
/// # Errors
/// The database.
pub async fn pause(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<bool> {
    let paused = sqlx::query!("UPDATE providers SET paused_at = $2 WHERE id = $1 AND paused_at IS NULL", id.0, clock.now()).execute(&mut *conn).await?;
    if paused.rows_affected() == 0 {
        return Ok(paused_at(conn, id).await?.is_some());
    }
    let open =
        sqlx::query_scalar!(r#"SELECT id AS "id: TaskId" FROM tasks WHERE provider_id = $1 AND state <> 'finished'"#, id.0).fetch_all(&mut *conn).await?;
    task::request_cancel(conn, clock, &open).await?;
    Ok(true)
}

/// Ends the pause; gives whether there is such a provider. Watching goes on where it stopped, or reads everything anew.
///
/// # Errors
/// The database.
pub async fn resume(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<bool> {
    let known = sqlx::query!("UPDATE providers SET paused_at = NULL WHERE id = $1", id.0).execute(conn).await?;
    Ok(known.rows_affected() > 0)
}

/// Since when a provider is paused; `None` when it is not, or is gone.
///
/// # Errors
/// The database.
pub async fn paused_at(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<Option<DateTime<Utc>>> {
    let paused_at = sqlx::query_scalar!("SELECT paused_at FROM providers WHERE id = $1", id.0).fetch_optional(conn).await?;
    Ok(paused_at.flatten())
}
