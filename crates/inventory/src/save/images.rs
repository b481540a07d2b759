//! Registries and images, which exist because containers use them.

use super::document;
use crate::reference::{Reference, host_and_port};
use crate::rows::Image;
use chrono::{DateTime, Utc};
use model::ids::{ImageId, ProviderId};
use queue::{Event, Job, RaisedEvent, enqueue_many};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// Adds the images (and their registries) that are not there; brings back those that were archived. Gives the new ones.
///
/// A tag stays while containers use it: see [`retag`]. Where one node has an image by the name in the pod, that name is good to pull by, whatever others say.
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
        r#"INSERT INTO container_images (provider_id, registry_id, name, tag, digest, pulled_from, first_seen_at, last_seen_at)
           SELECT $1, image_registries.id, new.name, tag, digest, pulled_from, $2::timestamptz, $2::timestamptz
           FROM jsonb_to_recordset($3) AS new (registry TEXT, name TEXT, tag TEXT, digest TEXT, pulled_from TEXT)
           JOIN image_registries ON image_registries.provider_id = $1 AND image_registries.name = new.registry
           ON CONFLICT (registry_id, name, digest) DO UPDATE
           SET archived_at = NULL, last_seen_at = EXCLUDED.last_seen_at,
               tag = CASE WHEN container_images.tag = '' OR (container_images.archived_at IS NOT NULL AND EXCLUDED.tag <> '') THEN EXCLUDED.tag
                          ELSE container_images.tag END,
               pulled_from = CASE WHEN EXCLUDED.pulled_from = '' OR container_images.archived_at IS NOT NULL THEN EXCLUDED.pulled_from
                                  ELSE container_images.pulled_from END
           WHERE container_images.archived_at IS NOT NULL
              OR container_images.last_seen_at < EXCLUDED.last_seen_at - INTERVAL '1 hour'
              OR (EXCLUDED.tag <> '' AND container_images.tag = '')
              OR (EXCLUDED.pulled_from = '' AND container_images.pulled_from <> '')
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

/// Each registry, name and digest once, with the last tag that is not empty, and pulled by its own name if one node does.
fn distinct<'a>(images: impl Iterator<Item = &'a Image>) -> Vec<Image> {
    let mut found = BTreeMap::<(&str, &str, &str), Image>::new();
    for image in images {
        let kept = found.entry((&image.registry, &image.name, &image.digest)).or_insert_with(|| image.clone());
        if !image.tag.is_empty() {
            kept.tag.clone_from(&image.tag);
        }
        if image.pulled_from.is_empty() {
            kept.pulled_from.clear();
        }
    }
    found.into_values().collect()
}

/// Gives those of `images` whose tag no live container names (any more) one that a live container names. With two tags in use the first one stays, so that
/// two workloads do not change it to and fro.
pub(super) async fn retag(conn: &mut PgConnection, images: &[i64]) -> anyhow::Result<()> {
    let used = sqlx::query!(
        "SELECT DISTINCT container_images.id, tag, image_reference
         FROM container_images
         JOIN containers ON containers.image_id = container_images.id
         WHERE container_images.id = ANY($1)
           AND containers.archived_at IS NULL",
        images
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut tags = BTreeMap::<(i64, String), BTreeSet<String>>::new();
    for row in used {
        let named = Reference::parse(&row.image_reference).map(|reference| reference.tag).filter(|tag| !tag.is_empty());
        tags.entry((row.id, row.tag)).or_default().extend(named);
    }
    let changed = tags.into_iter().filter(|((_, tag), named)| !named.contains(tag)).filter_map(|((id, _), named)| Some((id, named.into_iter().next_back()?)));
    let (ids, tags): (Vec<i64>, Vec<String>) = changed.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE container_images
         SET tag = new.tag
         FROM UNNEST($1::bigint[], $2::text[]) AS new (id, tag)
         WHERE container_images.id = new.id",
        &ids,
        &tags
    )
    .execute(conn)
    .await?;
    Ok(())
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
