//! Removes pods and secrets that no open scan needs: what a crash, or a server that had lost its lease, left behind.

use crate::SmartState;
use crate::launch::delete_params;
use crate::pod::{INSTANCE_LABEL, SCAN_ID};
use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, Client};
use model::ids::ProviderId;
use std::time::Duration;

/// Younger ones are left alone: their scan may be about to note them.
const LEFT_ALONE_SECS: i64 = 20;
const PLACE_WITHIN: Duration = Duration::from_secs(25);
/// One that does not answer keeps no other waiting.
const PLACES_AT_ONCE: usize = 8;

/// Looks at every namespace that had a scan pod, whatever the setting says now.
///
/// # Errors
/// The database. A provider that does not answer is logged and looked at next time.
pub(crate) async fn reap(ctx: &SmartState) -> anyhow::Result<()> {
    let places = sqlx::query!(
        r#"SELECT provider_id AS "provider!: ProviderId", namespace
           FROM scans
           JOIN providers ON providers.id = provider_id
           WHERE pod_name <> ''
             AND paused_at IS NULL
           GROUP BY provider_id, namespace
           ORDER BY provider_id, namespace"#
    )
    .fetch_all(&ctx.pool)
    .await?;
    futures::stream::iter(places).for_each_concurrent(PLACES_AT_ONCE, |place| reap_one(ctx, place.provider, place.namespace)).await;
    Ok(())
}

/// Looks at one provider's namespaces for the last time, before its login goes.
///
/// # Errors
/// The database.
pub(crate) async fn reap_provider(ctx: &SmartState, provider: ProviderId) -> anyhow::Result<()> {
    let namespaces = sqlx::query_scalar!("SELECT DISTINCT namespace FROM scans WHERE provider_id = $1 AND pod_name <> ''", provider.0);
    for namespace in namespaces.fetch_all(&ctx.pool).await? {
        reap_one(ctx, provider, namespace).await;
    }
    Ok(())
}

/// What the cluster does not answer in time is logged.
async fn reap_one(ctx: &SmartState, provider: ProviderId, namespace: String) {
    match tokio::time::timeout(PLACE_WITHIN, reap_place(ctx, provider, &namespace)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::info!(provider = provider.0, "removed {count} pods and secrets that no scan needs"),
        Ok(Err(error)) => tracing::debug!(provider = provider.0, "looking for left-over pods: {error:#}"),
        Err(_) => tracing::debug!(provider = provider.0, "looking for left-over pods: no answer in time"),
    }
}

async fn reap_place(ctx: &SmartState, provider: ProviderId, namespace: &str) -> anyhow::Result<usize> {
    let mut conn = ctx.pool.acquire().await?;
    let instance = instance(&mut conn).await?;
    let connection = inventory::provider::connection(&mut conn, &ctx.sealer, provider).await?;
    drop(conn);
    let client = inventory::client(&connection).await?;
    let params = ListParams::default().labels(&format!("{INSTANCE_LABEL}={instance}"));
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = pods.list_metadata(&params).await?.items.into_iter().map(|pod| (true, pod.metadata));
    let found: Vec<(bool, ObjectMeta)> = found.chain(secrets.list_metadata(&params).await?.items.into_iter().map(|secret| (false, secret.metadata))).collect();
    let mut removed = 0;
    for (is_pod, object) in found {
        if is_needed(ctx, provider, &object).await? {
            continue;
        }
        removed += usize::from(remove(&client, namespace, is_pod, &object).await?);
    }
    Ok(removed)
}

/// Whether an open scan of this provider has that name, or the object is so young that it may get one.
async fn is_needed(ctx: &SmartState, provider: ProviderId, object: &ObjectMeta) -> anyhow::Result<bool> {
    let made_at = object.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    if ctx.clock.now().timestamp() - made_at < LEFT_ALONE_SECS {
        return Ok(true);
    }
    let scan = object.annotations.as_ref().and_then(|annotations| annotations.get(SCAN_ID)).and_then(|id| id.parse::<i64>().ok());
    let needed = sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM scans
             WHERE id = $1
               AND provider_id = $2
               AND pod_name = $3
               AND state <> 'finished'
           ) AS "needed!""#,
        scan.unwrap_or(0),
        provider.0,
        object.name.as_deref().unwrap_or_default()
    )
    .fetch_one(&ctx.pool)
    .await?;
    Ok(needed)
}

async fn remove(client: &Client, namespace: &str, is_pod: bool, object: &ObjectMeta) -> anyhow::Result<bool> {
    let (name, uid) = (object.name.as_deref().context("an object without a name")?, object.uid.as_deref().context("an object without a uid")?);
    let deleted = if is_pod {
        Api::<Pod>::namespaced(client.clone(), namespace).delete(name, &delete_params(uid, 1)).await.map(drop)
    } else {
        Api::<Secret>::namespaced(client.clone(), namespace).delete(name, &delete_params(uid, 1)).await.map(drop)
    };
    match deleted {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("deleting {name}")),
    }
}

/// What tells this Tidewaiter's pods from those of another one on the same cluster.
///
/// # Errors
/// The database.
pub(crate) async fn instance(conn: &mut sqlx::PgConnection) -> anyhow::Result<String> {
    sqlx::query_scalar!("SELECT instance FROM installation").fetch_one(conn).await.context("reading this installation's name")
}
