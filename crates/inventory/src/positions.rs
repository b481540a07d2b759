//! Up to which version of the API server's history each kind of object is in the tables.

use model::ids::ProviderId;
use serde_json::{Map, Value};
use sqlx::PgConnection;

/// The version for each kind; a kind that was never read in full has none.
pub(crate) async fn find(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<Map<String, Value>> {
    let positions = sqlx::query_scalar!("SELECT positions FROM providers WHERE id = $1", provider.0).fetch_optional(conn).await?;
    Ok(positions.and_then(|positions| positions.as_object().cloned()).unwrap_or_default())
}

/// Notes positions, in the transaction that saves what they stand for.
pub(crate) async fn save(conn: &mut PgConnection, provider: ProviderId, positions: Map<String, Value>) -> anyhow::Result<()> {
    if !positions.is_empty() {
        sqlx::query!("UPDATE providers SET positions = positions || $2 WHERE id = $1", provider.0, Value::Object(positions)).execute(conn).await?;
    }
    Ok(())
}

/// Forgets them: the next watch reads everything first.
pub(crate) async fn clear(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<()> {
    sqlx::query!("UPDATE providers SET positions = '{}' WHERE id = $1", provider.0).execute(conn).await?;
    Ok(())
}
