//! Pods with their containers, and through these the images.

use super::{document, images};
use crate::findings;
use crate::rows::{Container, Pod};
use chrono::{DateTime, Utc};
use model::ids::{ImageId, ProviderId};
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// Adds or renews pods, containers, registries and images; archives the images that these pods were the last to use; raises `containerimage_created` for
/// each image that is new. Gives the new images. A pod whose project is not known is left out.
pub(crate) async fn pods(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, rows: &[Pod]) -> anyhow::Result<Vec<ImageId>> {
    let known = up_to_date(conn, provider, rows).await?;
    let rows: Vec<&Pod> = rows.iter().filter(|pod| !known.contains(&pod.uid)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    findings::hold(conn).await?;
    let changed = save_pods(conn, now, provider, &rows).await?;
    let ids: Vec<i64> = changed.values().copied().collect();
    let used_before = images::used_by(conn, &ids).await?;
    let containers: Vec<ContainerRow<'_>> = rows
        .iter()
        .filter_map(|pod| changed.get(&pod.uid).map(|id| (pod, *id)))
        .flat_map(|(pod, pod_id)| pod.containers.iter().map(move |container| ContainerRow { pod_id, gone: pod.gone, container }))
        .collect();
    let new = images::save(conn, now, provider, containers.iter().filter_map(|row| row.container.image.as_ref())).await?;
    findings::renew(conn, &new).await?;
    save_containers(conn, now, provider, &containers).await?;
    // A pod that was gone before it was ever seen leaves an image that nobody uses.
    let mut candidates = used_before;
    candidates.extend(new.iter().map(|id| id.0));
    candidates.extend(images::last_used_by(conn, &ids).await?);
    images::archive_unused(conn, now, &candidates).await?;
    candidates.extend(images::used_by(conn, &ids).await?);
    images::retag(conn, &candidates).await?;
    images::raise_created(conn, provider, &new).await?;
    Ok(new)
}

/// The uids of those that the tables have in this version or a newer one: in a full refresh nearly all, and not worth sending.
async fn up_to_date(conn: &mut PgConnection, provider: ProviderId, rows: &[Pod]) -> anyhow::Result<HashSet<String>> {
    let uids: Vec<String> = rows.iter().map(|pod| pod.uid.clone()).collect();
    let stored = sqlx::query!(
        "SELECT uid, resource_version, archived_at IS NOT NULL AS \"gone!\" FROM pods WHERE provider_id = $1 AND uid = ANY($2)",
        provider.0,
        &uids
    )
    .fetch_all(conn)
    .await?;
    let stored: HashMap<String, (i64, bool)> = stored.into_iter().map(|row| (row.uid, (row.resource_version, row.gone))).collect();
    let known = |pod: &&Pod| {
        stored.get(&pod.uid).is_some_and(|(version, gone)| *version > pod.resource_version || (*version == pod.resource_version && *gone == pod.gone))
    };
    Ok(rows.iter().filter(known).map(|pod| pod.uid.clone()).collect())
}

/// The numbers of the pods that were added or changed, by uid.
async fn save_pods(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, rows: &[&Pod]) -> anyhow::Result<HashMap<String, i64>> {
    let changed = sqlx::query!(
        "INSERT INTO pods (provider_id, project_id, node_id, uid, name, phase, ready, reason, message, restart_policy, dns_policy, service_account,
                           address, owner_kind, owner_name, pull_secrets, labels, annotations, conditions, resource_version, created_at,
                           first_seen_at, archived_at)
         SELECT $1, project.id, node.id, uid, new.name, phase, ready, reason, message, restart_policy, dns_policy, service_account,
                address, owner_kind, owner_name, pull_secrets, labels, annotations, conditions, resource_version, created_at,
                $2::timestamptz, CASE WHEN gone THEN $2::timestamptz END
         FROM jsonb_to_recordset($3) AS new (uid TEXT, name TEXT, project TEXT, node TEXT, phase TEXT, ready BOOLEAN, reason TEXT, message TEXT,
                                             restart_policy TEXT, dns_policy TEXT, service_account TEXT, address TEXT, owner_kind TEXT,
                                             owner_name TEXT, pull_secrets TEXT[], labels JSONB, annotations JSONB, conditions JSONB,
                                             resource_version BIGINT, created_at TIMESTAMPTZ, gone BOOLEAN)
         JOIN LATERAL (
           SELECT id FROM projects WHERE provider_id = $1 AND projects.name = new.project ORDER BY archived_at IS NOT NULL, id DESC LIMIT 1
         ) project ON TRUE
         LEFT JOIN LATERAL (
           SELECT id FROM nodes WHERE provider_id = $1 AND nodes.name = new.node ORDER BY archived_at IS NOT NULL, id DESC LIMIT 1
         ) node ON TRUE
         ON CONFLICT (provider_id, uid) DO UPDATE
         SET node_id = COALESCE(EXCLUDED.node_id, pods.node_id), phase = EXCLUDED.phase, ready = EXCLUDED.ready, reason = EXCLUDED.reason,
             message = EXCLUDED.message, restart_policy = EXCLUDED.restart_policy, dns_policy = EXCLUDED.dns_policy,
             service_account = EXCLUDED.service_account, address = EXCLUDED.address, owner_kind = EXCLUDED.owner_kind,
             owner_name = EXCLUDED.owner_name, pull_secrets = EXCLUDED.pull_secrets, labels = EXCLUDED.labels,
             annotations = EXCLUDED.annotations, conditions = EXCLUDED.conditions, resource_version = EXCLUDED.resource_version,
             archived_at = EXCLUDED.archived_at
         WHERE pods.resource_version < EXCLUDED.resource_version
            OR (pods.resource_version = EXCLUDED.resource_version AND (pods.archived_at IS NULL) <> (EXCLUDED.archived_at IS NULL))
         RETURNING id, uid",
        provider.0,
        now,
        document(rows)?
    )
    .fetch_all(conn)
    .await?;
    Ok(changed.into_iter().map(|row| (row.uid, row.id)).collect())
}

#[derive(Serialize)]
struct ContainerRow<'a> {
    pod_id: i64,
    gone: bool,
    #[serde(flatten)]
    container: &'a Container,
}

/// An image that is known stays known while the container keeps its reference: a node forgets to report it while a container waits to be restarted.
async fn save_containers(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, rows: &[ContainerRow<'_>]) -> anyhow::Result<()> {
    sqlx::query!(
        "INSERT INTO containers (provider_id, pod_id, image_id, kind, sidecar, name, image_reference, state, reason, message, exit_code, restart_count, ready,
                                 command, resources, security, started_at, finished_at, archived_at)
         SELECT $1, pod_id, container_images.id, kind, sidecar, new.name, image_reference, state, reason, message, exit_code, restart_count, ready,
                command, resources, security, started_at, finished_at, CASE WHEN gone THEN $2::timestamptz END
         FROM jsonb_to_recordset($3) AS new (pod_id BIGINT, gone BOOLEAN, kind TEXT, sidecar BOOLEAN, name TEXT, image_reference TEXT, image JSONB, state TEXT,
                                             reason TEXT, message TEXT, exit_code INTEGER, restart_count INTEGER, ready BOOLEAN, command TEXT[],
                                             resources JSONB, security JSONB, started_at TIMESTAMPTZ, finished_at TIMESTAMPTZ)
         LEFT JOIN image_registries ON image_registries.provider_id = $1 AND image_registries.name = image ->> 'registry'
         LEFT JOIN container_images ON container_images.registry_id = image_registries.id
                                   AND container_images.name = image ->> 'name'
                                   AND container_images.digest = image ->> 'digest'
         ON CONFLICT (pod_id, kind, name) DO UPDATE
         SET image_id = CASE WHEN containers.image_reference = EXCLUDED.image_reference THEN COALESCE(EXCLUDED.image_id, containers.image_id)
                             ELSE EXCLUDED.image_id END,
             sidecar = EXCLUDED.sidecar, image_reference = EXCLUDED.image_reference, state = EXCLUDED.state, reason = EXCLUDED.reason, message = EXCLUDED.message,
             exit_code = EXCLUDED.exit_code, restart_count = EXCLUDED.restart_count, ready = EXCLUDED.ready, command = EXCLUDED.command,
             resources = EXCLUDED.resources, security = EXCLUDED.security, started_at = EXCLUDED.started_at,
             finished_at = EXCLUDED.finished_at, archived_at = EXCLUDED.archived_at",
        provider.0,
        now,
        document(rows)?
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Archives the pods that a complete list as of `version` did not have, with their containers and the images that nobody else uses.
pub(crate) async fn sweep_pods(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, seen: &[String], version: i64) -> anyhow::Result<()> {
    let gone = sqlx::query_scalar!(
        "UPDATE pods
         SET archived_at = $2
         WHERE provider_id = $1
           AND archived_at IS NULL
           AND resource_version <= $4
           AND uid NOT IN (SELECT UNNEST($3::text[]))
         RETURNING id",
        provider.0,
        now,
        seen,
        version
    )
    .fetch_all(&mut *conn)
    .await?;
    let used = images::used_by(conn, &gone).await?;
    sqlx::query!("UPDATE containers SET archived_at = $2 WHERE pod_id = ANY($1) AND archived_at IS NULL", &gone, now).execute(&mut *conn).await?;
    images::archive_unused(conn, now, &used).await?;
    images::retag(conn, &used).await
}
