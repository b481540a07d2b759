//! How old what an inventory page shows may be: a stamp beside its title, and a line for each provider that is silent.

use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// So many silent providers are named; the others are counted.
const NAMED: usize = 3;

/// As of when the inventory is.
#[derive(Debug, Clone, Default)]
pub struct Freshness {
    /// When that provider was heard that was heard longest ago, of those that are connected. `None`: there is none.
    pub seen_at: Option<DateTime<Utc>>,
    /// Providers that are not connected, by name, at most [`NAMED`].
    pub silent: Vec<Silent>,
    /// How many more of them there are.
    pub more: usize,
}

/// A provider that does not answer; what is shown of it is as of `seen_at`.
#[derive(Debug, Clone)]
pub struct Silent {
    pub id: i64,
    pub name: String,
    pub message: String,
    pub seen_at: Option<DateTime<Utc>>,
    pub paused: bool,
}

/// Over all providers, or the one with the id `only`. Providers that nobody has talked to yet count as neither.
///
/// # Errors
/// The database.
pub async fn read(conn: &mut PgConnection, only: Option<i64>) -> Result<Freshness> {
    let seen_at = sqlx::query_scalar!(
        "SELECT MIN(seen_at) FROM providers WHERE status = 'ok' AND removing_at IS NULL AND paused_at IS NULL AND ($1::BIGINT IS NULL OR id = $1)",
        only
    )
    .fetch_one(&mut *conn)
    .await?;
    let mut silent = sqlx::query_as!(
        Silent,
        r#"SELECT id, name, status_message AS message, seen_at, paused_at IS NOT NULL AS "paused!"
         FROM providers
         WHERE (status NOT IN ('ok', 'unknown') OR paused_at IS NOT NULL)
           AND removing_at IS NULL
           AND ($1::BIGINT IS NULL OR id = $1)
         ORDER BY name, id"#,
        only
    )
    .fetch_all(conn)
    .await?;
    let more = silent.len().saturating_sub(NAMED);
    silent.truncate(NAMED);
    Ok(Freshness { seen_at, silent, more })
}
