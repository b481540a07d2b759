//! Rows → tables, in sets. Whatever comes twice or late changes nothing: a row only moves to a newer version of its object.

mod images;
mod pods;

pub(crate) use pods::{pods, sweep_pods};

use crate::rows;
use chrono::{DateTime, Utc};
use model::ids::ProviderId;
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

/// Of Postgres' two-number advisory locks, the class of those that save one provider's inventory.
const SAVE_LOCK: i32 = 0x5457_0001;

/// A transaction in which nobody else saves that provider's inventory: a refresh and a watch then take turns, and each sees what the other left.
pub(crate) async fn begin(pool: &PgPool, provider: ProviderId) -> anyhow::Result<Transaction<'static, Postgres>> {
    let mut tx = pool.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1, $2)", SAVE_LOCK, lock_key(provider)).fetch_one(&mut *tx).await?;
    Ok(tx)
}

/// The half of an advisory lock that names the provider.
pub(crate) fn lock_key(provider: ProviderId) -> i32 {
    (provider.0 & i64::from(i32::MAX)) as i32
}

/// The rows as one JSON document for `jsonb_to_recordset`. Postgres' text has no NUL characters, which Kubernetes' strings may have.
fn document<T: Serialize>(rows: &[T]) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(rows)?;
    strip_nul(&mut document);
    Ok(document)
}

fn strip_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(fields) => fields.values_mut().for_each(strip_nul),
        _ => {}
    }
}

/// Adds or renews projects.
pub(crate) async fn projects(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, rows: &[rows::Project]) -> anyhow::Result<()> {
    sqlx::query!(
        "INSERT INTO projects (provider_id, uid, name, display_name, phase, labels, resource_version, created_at, first_seen_at, archived_at)
         SELECT $1, uid, name, display_name, phase, labels, resource_version, created_at, $2::timestamptz, CASE WHEN gone THEN $2::timestamptz END
         FROM jsonb_to_recordset($3) AS new (uid TEXT, name TEXT, display_name TEXT, phase TEXT, labels JSONB, resource_version BIGINT,
                                             created_at TIMESTAMPTZ, gone BOOLEAN)
         ON CONFLICT (provider_id, uid) DO UPDATE
         SET name = EXCLUDED.name, display_name = EXCLUDED.display_name, phase = EXCLUDED.phase, labels = EXCLUDED.labels,
             resource_version = EXCLUDED.resource_version, archived_at = EXCLUDED.archived_at
         WHERE projects.resource_version < EXCLUDED.resource_version
            OR (projects.resource_version = EXCLUDED.resource_version AND (projects.archived_at IS NULL) <> (EXCLUDED.archived_at IS NULL))",
        provider.0,
        now,
        document(rows)?
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds or renews nodes.
pub(crate) async fn nodes(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, rows: &[rows::Node]) -> anyhow::Result<()> {
    sqlx::query!(
        "INSERT INTO nodes (provider_id, uid, name, ready, schedulable, architecture, os_image, kernel, runtime, kubelet, address, cpu_millis,
                            memory_bytes, pods_max, labels, conditions, resource_version, created_at, first_seen_at, archived_at)
         SELECT $1, uid, name, ready, schedulable, architecture, os_image, kernel, runtime, kubelet, address, cpu_millis,
                memory_bytes, pods_max, labels, conditions, resource_version, created_at, $2::timestamptz, CASE WHEN gone THEN $2::timestamptz END
         FROM jsonb_to_recordset($3) AS new (uid TEXT, name TEXT, ready BOOLEAN, schedulable BOOLEAN, architecture TEXT, os_image TEXT, kernel TEXT,
                                             runtime TEXT, kubelet TEXT, address TEXT, cpu_millis BIGINT, memory_bytes BIGINT, pods_max BIGINT,
                                             labels JSONB, conditions JSONB, resource_version BIGINT, created_at TIMESTAMPTZ, gone BOOLEAN)
         ON CONFLICT (provider_id, uid) DO UPDATE
         SET name = EXCLUDED.name, ready = EXCLUDED.ready, schedulable = EXCLUDED.schedulable, architecture = EXCLUDED.architecture,
             os_image = EXCLUDED.os_image, kernel = EXCLUDED.kernel, runtime = EXCLUDED.runtime, kubelet = EXCLUDED.kubelet,
             address = EXCLUDED.address, cpu_millis = EXCLUDED.cpu_millis, memory_bytes = EXCLUDED.memory_bytes, pods_max = EXCLUDED.pods_max,
             labels = EXCLUDED.labels, conditions = EXCLUDED.conditions, resource_version = EXCLUDED.resource_version,
             archived_at = EXCLUDED.archived_at
         WHERE nodes.resource_version < EXCLUDED.resource_version
            OR (nodes.resource_version = EXCLUDED.resource_version AND (nodes.archived_at IS NULL) <> (EXCLUDED.archived_at IS NULL))",
        provider.0,
        now,
        document(rows)?
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of `names` are no known live projects of the provider.
pub(crate) async fn unknown_projects(conn: &mut PgConnection, provider: ProviderId, names: &[String]) -> anyhow::Result<Vec<String>> {
    let unknown = sqlx::query_scalar!(
        r#"SELECT DISTINCT name AS "name!"
           FROM UNNEST($2::text[]) AS wanted (name)
           WHERE NOT EXISTS (SELECT FROM projects WHERE provider_id = $1 AND projects.name = wanted.name AND archived_at IS NULL)"#,
        provider.0,
        names
    )
    .fetch_all(conn)
    .await?;
    Ok(unknown)
}

/// Which of `names` are no known live nodes of the provider.
pub(crate) async fn unknown_nodes(conn: &mut PgConnection, provider: ProviderId, names: &[String]) -> anyhow::Result<Vec<String>> {
    let unknown = sqlx::query_scalar!(
        r#"SELECT DISTINCT name AS "name!"
           FROM UNNEST($2::text[]) AS wanted (name)
           WHERE name <> '' AND NOT EXISTS (SELECT FROM nodes WHERE provider_id = $1 AND nodes.name = wanted.name AND archived_at IS NULL)"#,
        provider.0,
        names
    )
    .fetch_all(conn)
    .await?;
    Ok(unknown)
}

/// Archives the projects and nodes that a complete list as of `version` did not have.
pub(crate) async fn sweep_projects(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE projects
         SET archived_at = $2
         WHERE provider_id = $1
           AND archived_at IS NULL
           AND resource_version <= $4
           AND uid NOT IN (SELECT UNNEST($3::text[]))",
        provider.0,
        now,
        seen,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// As [`sweep_projects`], for nodes.
pub(crate) async fn sweep_nodes(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE nodes
         SET archived_at = $2
         WHERE provider_id = $1
           AND archived_at IS NULL
           AND resource_version <= $4
           AND uid NOT IN (SELECT UNNEST($3::text[]))",
        provider.0,
        now,
        seen,
        version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes every object that is read from now on newer than what is in the tables.
pub(crate) async fn rewind(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<()> {
    sqlx::query!("UPDATE projects SET resource_version = 0 WHERE provider_id = $1", provider.0).execute(&mut *conn).await?;
    sqlx::query!("UPDATE nodes SET resource_version = 0 WHERE provider_id = $1", provider.0).execute(&mut *conn).await?;
    sqlx::query!("UPDATE pods SET resource_version = 0 WHERE provider_id = $1", provider.0).execute(&mut *conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
