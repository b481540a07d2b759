//! The servers on this database.

use crate::role::Role;
use chrono::{DateTime, Utc};
use model::Clock;
use model::ids::ServerId;
use sqlx::PgConnection;

/// A server that was not seen for this long is forgotten, with its roles.
const FORGET_AFTER_DAYS: i64 = 7;

/// A row of `servers`.
#[derive(Debug, Clone)]
pub struct Server {
    pub id: ServerId,
    pub name: String,
    pub version: String,
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub seen_at: DateTime<Utc>,
}

/// Enters this server by its name: a new one has all roles, one that comes back has those it had. Forgets servers that were not seen for a week.
///
/// # Errors
/// The database.
pub async fn register(conn: &mut PgConnection, clock: &Clock, name: &str, version: &str) -> anyhow::Result<ServerId> {
    let now = clock.now();
    sqlx::query!("DELETE FROM servers WHERE seen_at < $1 AND name <> $2", now - chrono::Duration::days(FORGET_AFTER_DAYS), name).execute(&mut *conn).await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO servers (name, version, started_at, seen_at)
         VALUES ($1, $2, $3, $3)
         ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, started_at = EXCLUDED.started_at, seen_at = EXCLUDED.seen_at
         RETURNING id",
        name,
        version,
        now
    )
    .fetch_one(&mut *conn)
    .await?;
    let roles: Vec<String> = Role::ALL.iter().map(|role| role.as_str().to_owned()).collect();
    sqlx::query!(
        "INSERT INTO server_roles (server_id, role, enabled)
         SELECT $1, role, TRUE
         FROM UNNEST($2::text[]) AS role
         ON CONFLICT DO NOTHING",
        id,
        &roles
    )
    .execute(conn)
    .await?;
    Ok(ServerId(id))
}

/// Shows that the server lives.
///
/// # Errors
/// The database.
pub async fn beat(conn: &mut PgConnection, clock: &Clock, id: ServerId) -> anyhow::Result<()> {
    sqlx::query!("UPDATE servers SET seen_at = $2 WHERE id = $1", id.0, clock.now()).execute(conn).await?;
    Ok(())
}

/// The server of that name.
///
/// # Errors
/// The database.
pub async fn find_by_name(conn: &mut PgConnection, name: &str) -> anyhow::Result<Option<Server>> {
    Ok(list(conn).await?.into_iter().find(|server| server.name == name))
}

/// All servers, by name.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut PgConnection) -> anyhow::Result<Vec<Server>> {
    let servers = sqlx::query_as!(
        Server,
        r#"SELECT id AS "id: ServerId", name, version, started_at, seen_at
           FROM servers
           ORDER BY name"#
    )
    .fetch_all(conn)
    .await?;
    Ok(servers)
}
