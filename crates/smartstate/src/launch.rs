//! Making a scan's pod and what it needs, or finding it again; and removing both.

use crate::SmartState;
use crate::lease::Scan;
use crate::platform;
use crate::pod::{self, Parts, SCAN_ID};
use crate::pull_secrets;
use crate::reason::Reason;
use crate::request::say_waiting;
use crate::surroundings::{ensure_namespace, ensure_priority_class};
use crate::trouble::{Halt, ask, ask_saying};
use inventory::Kind;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a node gets to end a scan's container.
const FORCED_AFTER: Duration = Duration::from_secs(15);
const OWNED_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// A pod that was made or found.
pub(crate) struct Launched {
    pub uid: String,
    /// What a person should know, e.g. pull secrets that could not be read.
    pub warnings: Vec<String>,
}

/// Makes the pod of `scan` (whose namespace, pod name and token are saved already), or adopts it when a server that was killed had made it.
pub(crate) async fn launch(
    ctx: &SmartState,
    (client, kind): (&Client, Kind),
    scan: &Scan,
    instance: &str,
    token: &[u8],
    until: Instant,
) -> Result<Launched, Halt> {
    check_settings(ctx)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &scan.namespace);
    if let Some(found) = ask(until, || pods.get_opt(&scan.pod_name)).await? {
        return adopt(&found, scan);
    }
    loop {
        ensure_namespace(client, &ctx.policies, scan.provider, &scan.namespace, until).await?;
        match make(ctx, (client, kind), scan, instance, token, until).await {
            // Somebody deletes the namespace just now: it is made again when it is gone.
            Err(Halt::Because(Reason::Namespace { .. })) if Instant::now() + PAUSE < until => sleep(PAUSE).await,
            made => return made,
        }
    }
}

async fn make(ctx: &SmartState, (client, kind): (&Client, Kind), scan: &Scan, instance: &str, token: &[u8], until: Instant) -> Result<Launched, Halt> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &scan.namespace);
    let mut warnings = vec![];
    let with_priority = ensure_priority_class(client, until, &mut warnings).await?;
    let places = pull_secrets::places(&mut *ctx.pool.acquire().await?, scan).await?;
    let platform = platform::of_workloads(&mut *ctx.pool.acquire().await?, scan).await?;
    let (logins, unread) = ask(until, || pull_secrets::read(client, &places, &scan.reference)).await?;
    warnings.extend(unread);
    let authorities = read_authorities(ctx).await?;
    let parts = Parts { scan, kind, instance, token, logins: logins.len(), has_ca: authorities.is_some(), with_priority, platform: platform.as_deref() };
    let has_secret = ensure_secret(client, &parts, logins, authorities, until).await?;
    let manifest = pod::pod(&ctx.settings, &parts).map_err(|error| Reason::NotConfigured(format!("The settings make no valid pod: {error}")))?;
    let params = PostParams::default();
    let say = |reason| say(ctx, scan, reason);
    let made = ask_saying(until, say, || async {
        match pods.create(&params, &manifest).await {
            // An answer that got lost, or a server that was thought dead: the same pod either way.
            Err(kube::Error::Api(status)) if status.code == 409 => pods.get(&scan.pod_name).await,
            other => other,
        }
    })
    .await?;
    let launched = adopt(&made, scan)?;
    if has_secret {
        own_secret(client, scan, &launched.uid).await;
    }
    Ok(Launched { warnings, ..launched })
}

/// Says on the scan's task why the cluster does not take the pod yet.
async fn say(ctx: &SmartState, scan: &Scan, reason: Reason) -> anyhow::Result<()> {
    let Some(task) = scan.task else { return Ok(()) };
    say_waiting(&mut *ctx.pool.acquire().await?, &ctx.clock, &[task], &reason).await
}

fn check_settings(ctx: &SmartState) -> Result<(), Halt> {
    match ctx.settings.inspector_image.as_str() {
        "" => Err(Reason::NotConfigured("No inspector image is configured (smartstate.inspector_image)".into()).into()),
        image if !image.contains("@sha256:") => {
            Err(Reason::NotConfigured(format!("The inspector image {image} is not named by its digest (…@sha256:…)")).into())
        }
        _ => Ok(()),
    }
}

fn adopt(pod: &Pod, scan: &Scan) -> Result<Launched, Halt> {
    let annotated = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(SCAN_ID));
    match (&pod.metadata.uid, annotated) {
        (Some(uid), Some(id)) if *id == scan.id.to_string() && (scan.pod_uid.is_empty() || scan.pod_uid == *uid) => {
            Ok(Launched { uid: uid.clone(), warnings: vec![] })
        }
        _ => Err(Reason::PodRejected(format!("a pod {} that is not of this scan is in its place", scan.pod_name)).into()),
    }
}

async fn read_authorities(ctx: &SmartState) -> Result<Option<String>, Halt> {
    match ctx.settings.registry_ca_file.as_str() {
        "" => Ok(None),
        path => {
            let wrong = |problem: String| Reason::NotConfigured(format!("smartstate.registry_ca_file {path} cannot be used: {problem}"));
            let file = tokio::fs::read(path).await.map_err(|error| wrong(error.to_string()))?;
            Ok(Some(tls::pem_of(&file).map_err(wrong)?))
        }
    }
}

/// Whether the pod needs a secret; it is there then. One that a killed server left may hold other logins and is replaced.
async fn ensure_secret(client: &Client, parts: &Parts<'_>, logins: Vec<String>, authorities: Option<String>, until: Instant) -> Result<bool, Halt> {
    let mut data: BTreeMap<String, String> = logins.into_iter().enumerate().map(|(n, login)| (format!("login-{n}"), login)).collect();
    data.extend(authorities.map(|pem| (pod::CA_KEY.to_owned(), pem)));
    if data.is_empty() {
        return Ok(false);
    }
    let manifest = pod::secret(parts.scan, parts.instance, data).map_err(|error| Reason::Internal(error.to_string()))?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &parts.scan.namespace);
    let params = PostParams::default();
    ask(until, || async {
        match secrets.create(&params, &manifest).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                if !delete_secret(&secrets, parts.scan).await? {
                    return Ok(false);
                }
                secrets.create(&params, &manifest).await.map(|_| true)
            }
            other => other.map(|_| true),
        }
    })
    .await?
    .then_some(true)
    .ok_or_else(|| Reason::PodRejected(format!("a secret {} that is not of this scan is in its place", parts.scan.pod_name)).into())
}

/// Deletes the scan's secret if there is one; `false`: one of that name is there, but is not the scan's and stays.
async fn delete_secret(secrets: &Api<Secret>, scan: &Scan) -> Result<bool, kube::Error> {
    let Some(found) = secrets.get_metadata_opt(&scan.pod_name).await? else { return Ok(true) };
    let annotated = found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(SCAN_ID));
    let (Some(uid), Some(id)) = (&found.metadata.uid, annotated) else { return Ok(false) };
    if *id != scan.id.to_string() {
        return Ok(false);
    }
    match secrets.delete(&scan.pod_name, &delete_params(uid, 0)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(true),
        deleted => deleted.map(|_| true),
    }
}

/// The secret goes with its pod. If this fails, it goes with the scan, or with the reaper.
async fn own_secret(client: &Client, scan: &Scan, uid: &str) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &scan.namespace);
    let owner = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "name": scan.pod_name, "uid": uid });
    let patch = serde_json::json!({ "metadata": { "ownerReferences": [owner] } });
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match timeout(OWNED_WITHIN, secrets.patch(&scan.pod_name, &params, &patch)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(scan = scan.id.0, "giving the secret its owner: {error}"),
        Err(_) => tracing::debug!(scan = scan.id.0, "giving the secret its owner: no answer in time"),
    }
}

/// Removes the scan's pod and secret, and waits until they are gone. Only what carries this scan's number is touched.
pub(crate) async fn remove(client: &Client, scan: &Scan, until: Instant) -> Result<(), Halt> {
    if scan.pod_name.is_empty() {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &scan.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &scan.namespace);
    // Most scans have none; and what cannot be removed now is the reaper's.
    drop(ask(until, || delete_secret(&secrets, scan)).await);
    let (mut grace_secs, begin) = (None, Instant::now());
    loop {
        let Some(found) = ask(until, || pods.get_opt(&scan.pod_name)).await? else { return Ok(()) };
        let Ok(ours) = adopt(&found, scan) else { return Ok(()) };
        // A pod whose containers have ended may linger for a minute, until its node looks again; nothing runs in it, so it can go at once.
        // A node that does not end them soon is overloaded or lost; it ends what has no pod any more by itself.
        let wanted = u32::from(!has_ended(&found) && begin.elapsed() < FORCED_AFTER);
        if grace_secs != Some(wanted) {
            let params = delete_params(&ours.uid, wanted);
            ask(until, || async {
                match pods.delete(&scan.pod_name, &params).await {
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                    other => other.map(drop),
                }
            })
            .await?;
            grace_secs = Some(wanted);
        }
        if Instant::now() >= until {
            return Err(Reason::ClusterUnreachable("the pod is still ending".into()).into());
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn has_ended(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let is_over = |code_of: &dyn Fn(i32) -> bool, all: &Option<Vec<ContainerStatus>>| {
        all.as_ref().is_some_and(|all| {
            let end = |one: &ContainerStatus| one.state.as_ref()?.terminated.as_ref().map(|end| end.exit_code);
            !all.is_empty() && all.iter().all(|one| end(one).is_some_and(code_of))
        })
    };
    // After the first one has failed, the other one never starts.
    is_over(&|_| true, &status.container_statuses) || is_over(&|code| code != 0, &status.init_container_statuses)
}

/// Deletes that very object and no namesake.
pub(crate) fn delete_params(uid: &str, grace_secs: u32) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.into()), resource_version: None };
    DeleteParams { grace_period_seconds: Some(grace_secs), preconditions: Some(preconditions), ..DeleteParams::default() }
}
