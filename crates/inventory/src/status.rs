//! The columns of `providers` that say how it goes. `updated_at` stays as it is: it tells watchers that the connection changed.

use crate::failure::ConnectError;
use model::Clock;
use model::ids::ProviderId;
use sqlx::PgConnection;

/// All is well. `status_at` is since when.
pub(crate) async fn ok(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    set(conn, clock, id, "ok", "").await
}

/// It cannot be used; the data stay as they are.
pub(crate) async fn failed(conn: &mut PgConnection, clock: &Clock, id: ProviderId, error: &ConnectError) -> anyhow::Result<()> {
    set(conn, clock, id, error.reason.as_str(), &error.to_string()).await
}

async fn set(conn: &mut PgConnection, clock: &Clock, id: ProviderId, status: &str, message: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE providers
         SET status_at = CASE WHEN status = $2 THEN COALESCE(status_at, $4) ELSE $4 END,
             status = $2,
             status_message = $3
         WHERE id = $1
           AND (status <> $2 OR status_message <> $3)",
        id.0,
        status,
        message,
        clock.now()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What version the API server has.
pub(crate) async fn version(conn: &mut PgConnection, id: ProviderId, version: &str) -> anyhow::Result<()> {
    sqlx::query!("UPDATE providers SET api_version = $2 WHERE id = $1 AND api_version <> $2", id.0, version).execute(conn).await?;
    Ok(())
}

/// Its watches heard something just now.
pub(crate) async fn seen(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    sqlx::query!("UPDATE providers SET seen_at = $2 WHERE id = $1", id.0, clock.now()).execute(conn).await?;
    Ok(())
}
