//! Kubernetes' objects → rows: the last place that sees Kubernetes' shapes.

use crate::reference::{Reference, is_digest, names_registry};
use crate::rows;
use crate::shape::{ContainerSpec, ContainerStatus, Metadata, Namespace, Node, Pod, PodStatus, State, StateDetail};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// The label of everything that Tidewaiter itself makes on a cluster.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OURSELVES: &str = "tidewaiter";
/// Whole copies of the manifest, secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const OPENSHIFT_DISPLAY_NAME: &str = "openshift.io/display-name";
/// Longest status message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 4_000;

pub(crate) fn project(object: &Namespace, gone: bool) -> rows::Project {
    let metadata = &object.metadata;
    rows::Project {
        uid: metadata.uid.clone(),
        name: metadata.name.clone(),
        display_name: metadata.annotations.get(OPENSHIFT_DISPLAY_NAME).cloned().unwrap_or_default(),
        phase: object.status.phase.clone(),
        labels: json!(metadata.labels),
        resource_version: version(&metadata.resource_version),
        created_at: created(metadata),
        gone,
    }
}

pub(crate) fn node(object: &Node, gone: bool) -> rows::Node {
    let (metadata, status) = (&object.metadata, &object.status);
    let allocatable = |name: &str| status.allocatable.get(name).map(quantity_text).and_then(|text| quantity(&text)).unwrap_or(0.0);
    let address = |kind: &str| status.addresses.iter().find(|address| address.kind == kind).map(|address| address.address.clone());
    rows::Node {
        uid: metadata.uid.clone(),
        name: metadata.name.clone(),
        ready: condition(&status.conditions, "Ready"),
        schedulable: !object.spec.unschedulable,
        architecture: status.node_info.architecture.clone(),
        os_image: status.node_info.os_image.clone(),
        kernel: status.node_info.kernel_version.clone(),
        runtime: status.node_info.container_runtime_version.clone(),
        kubelet: status.node_info.kubelet_version.clone(),
        address: address("InternalIP").or_else(|| address("ExternalIP")).unwrap_or_default(),
        cpu_millis: (allocatable("cpu") * 1000.0).round() as i64,
        memory_bytes: allocatable("memory") as i64,
        pods_max: allocatable("pods") as i64,
        labels: json!(metadata.labels),
        conditions: json!(status.conditions),
        resource_version: version(&metadata.resource_version),
        created_at: created(metadata),
        gone,
    }
}

/// `None` for Tidewaiter's own scan pods. Elsewhere than in their namespace the label counts for nothing, or anybody could hide a pod with it.
pub(crate) fn pod(object: &Pod, gone: bool, scan_namespace: &str) -> Option<rows::Pod> {
    let (metadata, spec, status) = (&object.metadata, &object.spec, &object.status);
    if metadata.namespace == scan_namespace && metadata.labels.get(MANAGED_BY).is_some_and(|by| by == OURSELVES) {
        return None;
    }
    let owner = metadata.owner_references.iter().find(|owner| owner.controller == Some(true)).or(metadata.owner_references.first());
    let kinds = [
        ("init", &spec.init_containers, &status.init_container_statuses),
        ("container", &spec.containers, &status.container_statuses),
        ("ephemeral", &spec.ephemeral_containers, &status.ephemeral_container_statuses),
    ];
    let mut named = HashSet::new();
    let containers = kinds
        .into_iter()
        .flat_map(|(kind, specs, statuses)| specs.iter().map(move |spec| (kind, spec, statuses.iter().find(|status| status.name == spec.name))))
        // No API server takes two of one name.
        .filter(|(kind, spec, _)| named.insert((*kind, visible(&spec.name))))
        .map(|(kind, spec, told)| container(kind, spec, told, status));
    Some(rows::Pod {
        uid: metadata.uid.clone(),
        name: metadata.name.clone(),
        project: metadata.namespace.clone(),
        node: spec.node_name.clone(),
        phase: status.phase.clone(),
        ready: condition(&status.conditions, "Ready") == Some(true),
        reason: status.reason.clone(),
        message: limited(&status.message),
        restart_policy: spec.restart_policy.clone(),
        dns_policy: spec.dns_policy.clone(),
        service_account: spec.service_account_name.clone(),
        address: status.pod_ip.clone(),
        owner_kind: owner.map(|owner| owner.kind.clone()).unwrap_or_default(),
        owner_name: owner.map(|owner| owner.name.clone()).unwrap_or_default(),
        pull_secrets: spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).filter(|name| !name.is_empty()).collect(),
        labels: json!(metadata.labels),
        annotations: annotations(&metadata.annotations),
        conditions: json!(status.conditions),
        resource_version: version(&metadata.resource_version),
        created_at: created(metadata),
        gone,
        containers: containers.collect(),
    })
}

fn container(kind: &'static str, spec: &ContainerSpec, status: Option<&ContainerStatus>, pod: &PodStatus) -> rows::Container {
    let (state, detail) = state(status.map(|status| &status.state), pod);
    rows::Container {
        kind,
        sidecar: kind == "init" && spec.restart_policy == "Always",
        name: spec.name.clone(),
        image_reference: spec.image.clone(),
        image: image(&spec.image, status.map_or("", |status| &status.image_id)),
        state,
        reason: detail.reason,
        message: limited(&detail.message),
        exit_code: detail.exit_code,
        restart_count: status.map_or(0, |status| status.restart_count),
        ready: status.is_some_and(|status| status.ready),
        command: spec.command.iter().chain(&spec.args).cloned().collect(),
        resources: object_or_empty(&spec.resources),
        security: object_or_empty(&spec.security_context),
        started_at: detail.started_at.map(plausible),
        finished_at: detail.finished_at.map(plausible),
    }
}

/// A container's state as the API tells it, and no other.
///
/// In a pod that has ended nothing waits or runs any more, whatever was told last; of a container that never had a status only the pod's reason is known
/// (refused by its node, evicted). One without a state waits, which is the API's own default; before the node has told anything, that is what Pending means.
///
/// Source: Kubernetes' API reference, ContainerState and PodPhase.
fn state(told: Option<&State>, pod: &PodStatus) -> (&'static str, StateDetail) {
    let over = matches!(pod.phase.as_str(), "Failed" | "Succeeded");
    match told {
        Some(State { terminated: Some(detail), .. }) => ("terminated", detail.clone()),
        _ if over => ("unknown", StateDetail { reason: pod.reason.clone(), message: pod.message.clone(), ..StateDetail::default() }),
        Some(State { running: Some(detail), .. }) => ("running", detail.clone()),
        Some(State { waiting, .. }) => ("waiting", waiting.clone().unwrap_or_default()),
        None if pod.phase == "Pending" => ("waiting", StateDetail::default()),
        None => ("unknown", StateDetail::default()),
    }
}

/// Which image a container runs, as far as it is certain.
///
/// The digest is the pod's when it pins one, which holds even before and without the node having the image, else the one the node reports. A bare
/// `sha256:…` from the node is the id of the unpacked image, which no registry knows; then, and before the node has reported anything, the image is not known.
///
/// The name is the one in the pod: the node's may be any of several that share the content. But a registry need not have the node's digest under the pod's
/// name then, so the node's is kept as the one to pull by. A pod that names no registry has it chosen by the node (CRI-O: `registries.conf`).
///
/// Source: kubelet `ContainerStatus.imageID`: docker `docker-pullable://name@digest` or `docker://sha256:id`, containerd and CRI-O `name@digest` or `sha256:id`.
fn image(reference: &str, image_id: &str) -> Option<rows::Image> {
    let reported = image_id.rsplit_once("://").map_or(image_id, |(_, rest)| rest);
    let reported_digest = reported.split_once('@').map(|(_, digest)| digest).filter(|digest| is_digest(digest));
    let has = Reference::parse(reported);
    let named = Reference::parse(reference).or_else(|| has.clone())?;
    if let Some(digest) = named.digest.clone().filter(|digest| is_digest(digest)) {
        return Some(rows::Image { registry: named.registry, name: named.name, digest, tag: named.tag, pulled_from: String::new() });
    }
    let digest = reported_digest?.to_owned();
    let own = |named: Reference, pulled_from: String| rows::Image { registry: named.registry, name: named.name, digest, tag: named.tag, pulled_from };
    Some(match has {
        Some(has) if chosen_by_node(reference, &named, &has) => own(Reference { tag: named.tag, ..has }, String::new()),
        Some(has) if (&has.registry, &has.name) != (&named.registry, &named.name) => own(named, format!("{}/{}", has.registry, has.name)),
        _ => own(named, String::new()),
    })
}

/// Whether the node has filled in what the pod's reference leaves open.
fn chosen_by_node(reference: &str, named: &Reference, has: &Reference) -> bool {
    let short = named.name.strip_prefix("library/").unwrap_or(&named.name);
    !names_registry(reference) && (has.name == short || has.name.ends_with(&format!("/{short}")))
}

/// Tidewaiter compares versions of one kind at one API server; all known servers count upwards. Something else than a number compares as the oldest.
///
/// Source: KEP-5504 (comparable resource version).
pub(crate) fn version(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

fn created(metadata: &Metadata) -> DateTime<Utc> {
    metadata.creation_timestamp.map_or(DateTime::UNIX_EPOCH, plausible)
}

/// Postgres keeps fewer years than can be written.
fn plausible(time: DateTime<Utc>) -> DateTime<Utc> {
    let most = DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::UNIX_EPOCH);
    time.clamp(DateTime::UNIX_EPOCH, most)
}

/// As it is stored: without NUL characters.
fn visible(text: &str) -> String {
    text.replace('\0', "")
}

/// Whether a condition holds; `None`: nothing is said about it.
fn condition(conditions: &[Value], kind: &str) -> Option<bool> {
    conditions.iter().find(|condition| condition["type"] == kind).map(|condition| condition["status"] == "True")
}

fn annotations(all: &BTreeMap<String, String>) -> Value {
    json!(all.iter().filter(|(key, _)| *key != LAST_APPLIED).collect::<BTreeMap<_, _>>())
}

fn object_or_empty(value: &Value) -> Value {
    if value.is_object() { value.clone() } else { json!({}) }
}

fn limited(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

fn quantity_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Kubernetes' notation of numbers: `1500m`, `2Gi`, `1e3`.
///
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
fn quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let unit = UNITS.into_iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * factor).filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests;
