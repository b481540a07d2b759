//! Which variant of an image its workloads run.

use crate::lease::Scan;
use sqlx::PgConnection;

/// `os/arch` in Go's words, of the node on which the image's containers run; of pods that run before others, of the newest one. `None`: no node is known.
///
/// A list names other content for each platform. What counts is what the workload got, whatever node the scan pod lands on: reading needs no matching processor.
///
/// # Errors
/// The database.
pub(crate) async fn of_workloads(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<Option<String>> {
    let platform = sqlx::query_scalar!(
        r#"SELECT COALESCE(nodes.labels ->> 'kubernetes.io/os', 'linux') || '/' || nodes.architecture AS "platform!"
           FROM container_images
           JOIN containers ON containers.image_id = container_images.id
           JOIN pods ON pods.id = containers.pod_id
           JOIN nodes ON nodes.id = pods.node_id
           WHERE container_images.digest = $1
             AND container_images.provider_id = $2
             AND containers.archived_at IS NULL
             AND nodes.architecture ~ '^[a-z0-9]{1,20}$'
             AND COALESCE(nodes.labels ->> 'kubernetes.io/os', 'linux') ~ '^[a-z0-9]{1,20}$'
           ORDER BY pods.phase = 'Running' DESC, pods.created_at DESC, pods.id DESC
           LIMIT 1"#,
        scan.digest,
        scan.provider.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(platform)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::taken;
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn the_variant_is_that_of_the_newest_pod_that_runs(pool: PgPool) {
        let (_, scan) = taken(&pool).await;
        let mut conn = pool.acquire().await.unwrap();
        assert_eq!(of_workloads(&mut conn, &scan).await.unwrap(), None);
        sqlx::raw_sql(
            "INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) SELECT id, 'u', 'shop', NOW(), NOW() FROM providers;
             INSERT INTO nodes (provider_id, uid, name, ready, schedulable, architecture, created_at, first_seen_at)
             SELECT id, arch, arch, TRUE, TRUE, arch, NOW(), NOW() FROM providers, UNNEST(ARRAY['amd64', 'arm64', 's390x', '']) AS arch;
             INSERT INTO pods (provider_id, project_id, node_id, uid, name, phase, created_at, first_seen_at)
             SELECT nodes.provider_id, projects.id, nodes.id, nodes.name, nodes.name,
                    CASE nodes.name WHEN 's390x' THEN 'Failed' ELSE 'Running' END,
                    NOW() + CASE nodes.name WHEN 'amd64' THEN INTERVAL '0' ELSE INTERVAL '1 hour' END, NOW()
             FROM nodes, projects;
             INSERT INTO containers (provider_id, pod_id, image_id, kind, name, image_reference)
             SELECT provider_id, id, (SELECT MIN(id) FROM container_images), 'container', 'c', '' FROM pods;",
        )
        .execute(&pool)
        .await
        .unwrap();
        assert_eq!(of_workloads(&mut conn, &scan).await.unwrap().as_deref(), Some("linux/arm64"));
        sqlx::query("UPDATE pods SET phase = 'Failed'").execute(&pool).await.unwrap();
        sqlx::query("UPDATE nodes SET labels = '{\"kubernetes.io/os\": \"windows\"}' WHERE name = 'arm64'").execute(&pool).await.unwrap();
        sqlx::query("UPDATE pods SET created_at = created_at + INTERVAL '1 day' WHERE name = 'arm64'").execute(&pool).await.unwrap();
        assert_eq!(of_workloads(&mut conn, &scan).await.unwrap().as_deref(), Some("windows/arm64"));
    }
}
