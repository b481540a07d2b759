//! Events, as Control sees them.

use chrono::{DateTime, Utc};
use model::Clock;
use queue::{JobError, RaisedEvent};
use sqlx::PgConnection;

/// The job behind `RaiseEvent`: writes the event down. The same event delivered twice (same kind, target and `raised_at`) is one row.
///
/// `raised_at`: when it was put into the queue.
///
/// # Errors
/// Retry: the database does not answer.
pub async fn handle(conn: &mut PgConnection, clock: &Clock, event: &RaisedEvent, raised_at: DateTime<Utc>) -> Result<(), JobError> {
    // Postgres keeps microseconds; a finer time would never equal what is stored.
    let raised_at = chrono::SubsecRound::trunc_subsecs(raised_at, 6);
    sqlx::query!(
        "INSERT INTO policy_events (event, target_kind, target_id, provider_id, details, raised_at, handled_at)
         SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE NOT EXISTS (
           SELECT FROM policy_events
           WHERE event = $1
             AND target_kind = $2
             AND target_id = $3
             AND raised_at = $6
         )",
        event.event.as_str(),
        event.target_kind,
        event.target,
        event.provider.map(|id| id.0),
        event.details,
        raised_at,
        clock.now()
    )
    .execute(conn)
    .await
    .map_err(JobError::retry)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::ProviderId;
    use queue::Event;
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn an_event_that_is_delivered_twice_is_written_once(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        let event = RaisedEvent {
            event: Event::ContainerImageCreated,
            target_kind: "container_image".into(),
            target: 7,
            provider: Some(ProviderId(1)),
            details: serde_json::json!({}),
        };
        let raised_at = Utc::now();
        for _ in 0..2 {
            handle(&mut conn, &Clock::default(), &event, raised_at).await.unwrap();
        }
        let written: Vec<String> = sqlx::query_scalar("SELECT event FROM policy_events WHERE target_id = 7").fetch_all(&pool).await.unwrap();
        assert_eq!(written, ["containerimage_created"]);
    }
}
