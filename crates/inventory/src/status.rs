//! The columns of `providers` that say how it goes. `updated_at` stays as it is: it tells watchers that the connection changed.

use crate::failure::ConnectError;
use crate::versions::Versions;
use model::Clock;
use model::ids::ProviderId;
use sqlx::PgConnection;

/// All is well. `status_at` is since when, `checked_at` when it was last seen to be so.
pub(crate) async fn ok(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    set(conn, clock, id, "ok", "").await
}

/// It cannot be used; the data stay as they are.
pub(crate) async fn failed(conn: &mut PgConnection, clock: &Clock, id: ProviderId, error: &ConnectError) -> anyhow::Result<()> {
    set(conn, clock, id, error.reason.as_str(), &error.to_string()).await
}

/// Tidewaiter's own trouble with it, in words that show nothing of the inside.
pub(crate) async fn internal(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    let endpoint = sqlx::query_scalar!("SELECT endpoint FROM providers WHERE id = $1", id.0).fetch_optional(&mut *conn).await?;
    failed(conn, clock, id, &ConnectError::internal(&endpoint.unwrap_or_default())).await
}

/// How often `checked_at` moves while nothing else changes.
const CHECKED_EVERY_SECS: i64 = 5;

async fn set(conn: &mut PgConnection, clock: &Clock, id: ProviderId, status: &str, message: &str) -> anyhow::Result<()> {
    let now = clock.now();
    sqlx::query!(
        "UPDATE providers
         SET status_at = CASE WHEN status = $2 THEN COALESCE(status_at, $4) ELSE $4 END,
             status = $2,
             status_message = $3,
             checked_at = $4
         WHERE id = $1
           AND (status <> $2 OR status_message <> $3 OR checked_at IS NULL OR checked_at <= $5)",
        id.0,
        status,
        message,
        now,
        now - chrono::Duration::seconds(CHECKED_EVERY_SECS)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What versions the cluster has.
pub(crate) async fn version(conn: &mut PgConnection, id: ProviderId, versions: &Versions) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE providers SET api_version = $2, openshift_version = $3 WHERE id = $1 AND (api_version <> $2 OR openshift_version <> $3)",
        id.0,
        versions.kubernetes,
        versions.openshift
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Its watches heard something just now.
pub(crate) async fn seen(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<()> {
    sqlx::query!("UPDATE providers SET seen_at = $2 WHERE id = $1", id.0, clock.now()).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Duration};
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn each_check_is_noted_but_the_status_is_since_when_it_changed(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        let clock = Clock::at(DateTime::UNIX_EPOCH);
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('lab', 'kubernetes', '', '', 'epoch', 'epoch') RETURNING id",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        let mut seen = vec![];
        for (wait, works) in [(0, true), (2, true), (3, true), (1, false), (9, false)] {
            clock.advance(Duration::seconds(wait));
            match works {
                true => ok(&mut conn, &clock, ProviderId(id)).await.unwrap(),
                false => failed(&mut conn, &clock, ProviderId(id), &ConnectError::timeout("https://lab", 10)).await.unwrap(),
            }
            let times: (i64, i64) = sqlx::query_as("SELECT EXTRACT(EPOCH FROM status_at)::bigint, EXTRACT(EPOCH FROM checked_at)::bigint FROM providers")
                .fetch_one(&mut *conn)
                .await
                .unwrap();
            seen.push(times);
        }
        assert_eq!(seen, [(0, 0), (0, 0), (0, 5), (6, 6), (6, 15)]);
    }
}
