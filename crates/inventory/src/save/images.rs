//! Registries and images, which exist because containers use them.

use super::document;
use crate::reference::host_and_port;
use crate::rows::Image;
use chrono::{DateTime, Utc};
use model::ids::{ImageId, ProviderId};
use queue::{Event, Job, RaisedEvent, enqueue_many};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Adds the images (and their registries) that are not there; brings back those that were archived. Gives the new ones.
pub(super) async fn save<'a>(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    provider: ProviderId,
    images: impl Iterator<Item = &'a Image>,
) -> anyhow::Result<Vec<ImageId>> {
    let images = distinct(images);
    if images.is_empty() {
        return Ok(Vec::new());
    }
    save_registries(conn, now, provider, &images).await?;
    let document = document(&images)?;
    // `last_seen_at` moves once an hour at most: a write for each event of each pod would tell nobody anything.
    let changed = sqlx::query!(
        r#"INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
           SELECT $1, image_registries.id, new.name, tag, digest, $2::timestamptz, $2::timestamptz
           FROM jsonb_to_recordset($3) AS new (registry TEXT, name TEXT, tag TEXT, digest TEXT)
           JOIN image_registries ON image_registries.provider_id = $1 AND image_registries.name = new.registry
           ON CONFLICT (registry_id, name, digest) DO UPDATE
           SET archived_at = NULL, last_seen_at = EXCLUDED.last_seen_at, tag = COALESCE(NULLIF(EXCLUDED.tag, ''), container_images.tag)
           WHERE container_images.archived_at IS NOT NULL
              OR container_images.last_seen_at < EXCLUDED.last_seen_at - INTERVAL '1 hour'
              OR (EXCLUDED.tag <> '' AND container_images.tag <> EXCLUDED.tag)
           RETURNING id AS "id: ImageId", xmax::text = '0' AS "new!""#,
        provider.0,
        now,
        document
    )
    .fetch_all(conn)
    .await?;
    // A row that was only updated was locked first, which leaves its mark in xmax.
    Ok(changed.into_iter().filter(|row| row.new).map(|row| row.id).collect())
}

/// Each registry, name and digest once, with the last tag that is not empty.
fn distinct<'a>(images: impl Iterator<Item = &'a Image>) -> Vec<Image> {
    let mut tags = BTreeMap::<(&str, &str, &str), &str>::new();
    for image in images {
        let tag = tags.entry((&image.registry, &image.name, &image.digest)).or_default();
        if !image.tag.is_empty() {
            *tag = &image.tag;
        }
    }
    tags.into_iter()
        .map(|((registry, name, digest), tag)| Image { registry: registry.into(), name: name.into(), digest: digest.into(), tag: tag.into() })
        .collect()
}

async fn save_registries(conn: &mut PgConnection, now: DateTime<Utc>, provider: ProviderId, images: &[Image]) -> anyhow::Result<()> {
    let mut names: Vec<&str> = images.iter().map(|image| image.registry.as_str()).collect();
    names.dedup();
    let hosts: Vec<String> = names.iter().map(|name| host_and_port(name).0.to_owned()).collect();
    let ports: Vec<Option<i32>> = names.iter().map(|name| host_and_port(name).1.map(i32::from)).collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    sqlx::query!(
        "INSERT INTO image_registries (provider_id, host, port, name, first_seen_at)
         SELECT $1, host, port, name, $2
         FROM UNNEST($3::text[], $4::integer[], $5::text[]) AS new (host, port, name)
         ON CONFLICT (provider_id, name) DO NOTHING",
        provider.0,
        now,
        &hosts,
        &ports as &[Option<i32>],
        &names
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The images that live containers of these pods use.
pub(super) async fn used_by(conn: &mut PgConnection, pods: &[i64]) -> anyhow::Result<Vec<i64>> {
    let images = sqlx::query_scalar!(
        r#"SELECT DISTINCT image_id AS "image_id!" FROM containers WHERE pod_id = ANY($1) AND archived_at IS NULL AND image_id IS NOT NULL"#,
        pods
    )
    .fetch_all(conn)
    .await?;
    Ok(images)
}

/// The images that archived containers of these pods used.
pub(super) async fn last_used_by(conn: &mut PgConnection, pods: &[i64]) -> anyhow::Result<Vec<i64>> {
    let images = sqlx::query_scalar!(
        r#"SELECT DISTINCT image_id AS "image_id!" FROM containers WHERE pod_id = ANY($1) AND archived_at IS NOT NULL AND image_id IS NOT NULL"#,
        pods
    )
    .fetch_all(conn)
    .await?;
    Ok(images)
}

/// Archives those of `candidates` that no live container uses.
pub(super) async fn archive_unused(conn: &mut PgConnection, now: DateTime<Utc>, candidates: &[i64]) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE container_images
         SET archived_at = $2, last_seen_at = $2
         WHERE id = ANY($1)
           AND archived_at IS NULL
           AND NOT EXISTS (SELECT FROM containers WHERE image_id = container_images.id AND containers.archived_at IS NULL)",
        candidates,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Tells Control of new images, in the transaction that adds them.
pub(super) async fn raise_created(conn: &mut PgConnection, provider: ProviderId, images: &[ImageId]) -> anyhow::Result<()> {
    let jobs: Vec<Job> = images
        .iter()
        .map(|image| {
            Job::RaiseEvent(RaisedEvent {
                event: Event::ContainerImageCreated,
                target_kind: "container_image".into(),
                target: image.0,
                provider: Some(provider),
                details: json!({}),
            })
        })
        .collect();
    enqueue_many(conn, &jobs).await
}
