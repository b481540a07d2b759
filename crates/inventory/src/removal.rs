//! Removing a provider: asked for by a person, done by a job once nothing of it is open any more.

use crate::save;
use anyhow::ensure;
use chrono::{DateTime, Utc};
use model::Clock;
use model::ids::{ProviderId, TaskId};
use queue::{Job, enqueue, task};
use sqlx::{PgConnection, PgPool};

/// Asks for a provider's removal; gives whether there is one. From now on nothing new is started on it, and its open tasks are asked to end.
///
/// Asking again is harmless and changes nothing.
///
/// # Errors
/// The database.
pub async fn request(conn: &mut PgConnection, clock: &Clock, id: ProviderId) -> anyhow::Result<bool> {
    let asked = sqlx::query!("UPDATE providers SET removing_at = $2 WHERE id = $1 AND removing_at IS NULL", id.0, clock.now()).execute(&mut *conn).await?;
    if asked.rows_affected() == 0 {
        return Ok(asked_at(conn, id).await?.is_some());
    }
    let open =
        sqlx::query_scalar!(r#"SELECT id AS "id: TaskId" FROM tasks WHERE provider_id = $1 AND state <> 'finished'"#, id.0).fetch_all(&mut *conn).await?;
    task::request_cancel(conn, clock, &open).await?;
    enqueue(conn, &Job::RemoveProvider { provider: id }).await?;
    Ok(true)
}

/// Asks again for the jobs of all removals that were asked for: a server does so when it starts, since a job may have given up.
///
/// # Errors
/// The database.
pub async fn resume(conn: &mut PgConnection) -> anyhow::Result<()> {
    let under_way = sqlx::query_scalar!(r#"SELECT id AS "id: ProviderId" FROM providers WHERE removing_at IS NOT NULL"#).fetch_all(&mut *conn).await?;
    for provider in under_way {
        enqueue(conn, &Job::RemoveProvider { provider }).await?;
    }
    Ok(())
}

/// Since when a provider is being removed; `None` when it is not, or is gone.
///
/// # Errors
/// The database.
pub async fn asked_at(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<Option<DateTime<Utc>>> {
    let asked_at = sqlx::query_scalar!("SELECT removing_at FROM providers WHERE id = $1", id.0).fetch_optional(conn).await?;
    Ok(asked_at.flatten())
}

/// Whether nothing may be started on it any more: it is gone, or about to be.
pub(crate) async fn is_under_way(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<bool> {
    let stays = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM providers WHERE id = $1 AND removing_at IS NULL) AS "stays!""#, id.0).fetch_one(conn).await?;
    Ok(!stays)
}

/// Deletes a provider whose removal was asked for, with its inventory, in one transaction. What a provider that shares results found stays, since it may
/// count for others.
///
/// # Errors
/// The database; open scans of the provider, which must end first, count as that. Scans of one that does not share its results must be deleted before.
pub async fn finish(pool: &PgPool, id: ProviderId) -> anyhow::Result<()> {
    let mut tx = save::begin(pool, id).await?;
    // Locked, so that whether it shares results stays what it is.
    let asked = sqlx::query_scalar!("SELECT shares_results FROM providers WHERE id = $1 AND removing_at IS NOT NULL FOR UPDATE", id.0);
    let Some(shares_results) = asked.fetch_optional(&mut *tx).await? else {
        return Ok(());
    };
    let scanned = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM scans WHERE provider_id = $1) AS "scanned!""#, id.0).fetch_one(&mut *tx).await?;
    ensure!(shares_results || !scanned, "scans of provider {id}, whose results count for itself alone, are still there");
    // From the leaves to the root: left to the cascade, every image would first be taken out of each of its containers.
    sqlx::query!("DELETE FROM containers WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM pods WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM container_images WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM image_registries WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM nodes WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM projects WHERE provider_id = $1", id.0).execute(&mut *tx).await?;
    sqlx::query!("DELETE FROM providers WHERE id = $1", id.0).execute(&mut *tx).await?;
    tx.commit().await?;
    tracing::info!(provider = %id, "the provider is removed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{self, NewProvider};
    use crate::{Connection, Inventory, Kind, Settings, refresh};
    use model::Sealer;
    use model::ids::ServerId;
    use queue::task::TaskStatus;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_refresh_that_was_asked_for_before_ends_and_none_is_asked_for_after(pool: PgPool) {
        queue::setup(&pool).await.unwrap();
        let (clock, sealer) = (Clock::default(), Sealer::new(&[1; 32]));
        let mut conn = pool.acquire().await.unwrap();
        let connection = Connection::from_token("https://127.0.0.1:1", "token", "").unwrap();
        let new = NewProvider { name: "lab".into(), kind: Kind::Kubernetes, connection };
        let (id, refreshing) = provider::create(&mut conn, &clock, &sealer, "admin", &new).await.unwrap();
        assert!(request(&mut conn, &clock, id).await.unwrap());
        let first = asked_at(&mut conn, id).await.unwrap();
        assert!(request(&mut conn, &clock, id).await.unwrap());
        assert_eq!(asked_at(&mut conn, id).await.unwrap(), first, "asking again does not put the deadline off");
        assert!(provider::request_refresh(&mut conn, &clock, "admin", id).await.unwrap_err().to_string().contains("is being removed"));

        let ctx = Inventory { pool: pool.clone(), clock, sealer, settings: Settings::default(), server: ServerId(1) };
        refresh(&ctx, id, Some(refreshing)).await.unwrap();
        let ended = task::find(&mut conn, refreshing).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.reason_code.as_str()), (Some(TaskStatus::Cancelled), "provider_gone"));
    }
}
