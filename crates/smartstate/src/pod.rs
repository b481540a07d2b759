//! The manifests of a scan: pod, secret, namespace, priority class. Pure.

use crate::Settings;
use crate::lease::Scan;
use inventory::Kind;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use model::ids::ScanId;
use scap::protocol::{PORT, env};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Says whose pods they are: only those with our own instance are ever deleted.
pub(crate) const INSTANCE_LABEL: &str = "tidewaiter.io/instance";
/// The scan's number, as label (to find) and annotation (to adopt).
pub(crate) const SCAN_ID: &str = "tidewaiter.io/scan-id";
/// The container that inspects. It never sees a registry login.
pub(crate) const CONTAINER: &str = "inspector";
/// The container that pulls and unpacks, before the other one is there.
pub(crate) const PULL_CONTAINER: &str = "pull";
/// On namespaces that the server made: those of the manifest that ships, whose labels are the same, are their administrators'.
pub(crate) const MADE_BY_SERVER: &str = "tidewaiter.io/made-by-server";
pub(crate) const NETWORK_POLICY: &str = "tidewaiter-scans";
pub(crate) const PRIORITY_CLASS: &str = "tidewaiter-scan";
/// The user of the inspector's image, where the cluster does not choose one.
const USER: i64 = 12345;
/// The key of the registries' authorities in the scan's secret.
pub(crate) const CA_KEY: &str = "registry-ca.pem";
const CA_PATH: &str = "/auth/registry-ca.pem";

/// What a pod is made from besides the settings.
#[derive(Clone)]
pub(crate) struct Parts<'a> {
    pub scan: &'a Scan,
    pub kind: Kind,
    pub instance: &'a str,
    pub token: &'a [u8],
    /// How many logins the scan's secret holds, and whether it holds authorities.
    pub logins: usize,
    pub has_ca: bool,
    pub with_priority: bool,
    /// The variant of the image that its workloads run, e.g. `linux/arm64`; `None`: the scan pod's node decides.
    pub platform: Option<&'a str>,
}

// Logs must never show a token.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("scan", &self.scan.id).field("kind", &self.kind).field("logins", &self.logins).finish_non_exhaustive()
    }
}

/// `tidewaiter-scan-7-1a2b3c4d`; the second pod of a scan ends in `-2`. Always the same for the same scan, so that a resumed one finds its pod.
pub(crate) fn name(scan: ScanId, instance: &str, attempt: i16) -> String {
    match attempt {
        ..=1 => format!("tidewaiter-scan-{scan}-{instance}"),
        _ => format!("tidewaiter-scan-{scan}-{instance}-{attempt}"),
    }
}

fn metadata(name: &str, namespace: &str, scan: ScanId, instance: &str) -> Value {
    json!({
        "name": name,
        "namespace": namespace,
        "labels": {
            "app.kubernetes.io/name": "tidewaiter-scan",
            "app.kubernetes.io/managed-by": "tidewaiter",
            INSTANCE_LABEL: instance,
            SCAN_ID: scan.to_string(),
        },
        "annotations": { SCAN_ID: scan.to_string() },
    })
}

/// The pod of a scan. It satisfies Pod Security *restricted*, holds no service account token and no host path, and never preempts. Registry logins are in
/// its init container alone, which has ended before OpenSCAP parses anything; both need the same of their node, one after the other.
///
/// Source: Kubernetes, Pod Security Standards; the inspector's environment: `scap::protocol::env`.
pub(crate) fn pod(settings: &Settings, parts: &Parts) -> serde_json::Result<Pod> {
    let scan = parts.scan;
    let mut metadata = metadata(&scan.pod_name, &scan.namespace, scan.id, parts.instance);
    metadata["annotations"]["tidewaiter.io/image"] = scan.reference.as_str().into();
    let mut spec = json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": settings.pod_deadline_secs,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "securityContext": security(parts.kind),
        "initContainers": [container(settings, parts, Role::Pull)],
        "containers": [container(settings, parts, Role::Inspect)],
        "volumes": volumes(settings, parts),
    });
    if parts.with_priority {
        spec["priorityClassName"] = PRIORITY_CLASS.into();
    }
    serde_json::from_value(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
}

/// OpenShift gives every namespace a range of users and groups, and `restricted-v2` (the security context constraints that every account may use) admits
/// no pod that asks for another one: there the pod asks for none. The inspector writes to its volumes alone, which belong to the pod's group.
///
/// Source: OpenShift, Managing security context constraints.
fn security(kind: Kind) -> Value {
    let mut context = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    if kind == Kind::Kubernetes {
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            context[id] = USER.into();
        }
    }
    context
}

/// Which container of the pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Pull,
    Inspect,
}

fn container(settings: &Settings, parts: &Parts, role: Role) -> Value {
    let mut mounts = vec![json!({ "name": "work", "mountPath": "/work" }), json!({ "name": "tmp", "mountPath": "/tmp" })];
    if role == Role::Pull && has_secret(parts) {
        mounts.push(json!({ "name": "auth", "mountPath": "/auth", "readOnly": true }));
    }
    let (name, command) = match role {
        Role::Pull => (PULL_CONTAINER, "pull-image"),
        Role::Inspect => (CONTAINER, "inspect"),
    };
    json!({
        "name": name,
        "image": settings.inspector_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [command],
        "env": environment(settings, parts, role),
        "ports": [{ "containerPort": PORT, "protocol": "TCP" }],
        "resources": {
            "requests": { "cpu": settings.cpu_request, "memory": settings.memory_request, "ephemeral-storage": "1Gi" },
            "limits": { "cpu": settings.cpu_limit, "memory": settings.memory_limit, "ephemeral-storage": settings.storage_limit },
        },
        "securityContext": {
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    })
}

fn environment(settings: &Settings, parts: &Parts, role: Role) -> Vec<Value> {
    let mut variables = vec![
        (env::SCAN_ID, parts.scan.id.to_string()),
        (env::TOKEN_SHA256, hex::encode(Sha256::digest(parts.token))),
        (env::IMAGE, parts.scan.reference.clone()),
        (env::DEADLINE_SECS, settings.pod_deadline_secs.to_string()),
        (env::WORK, "/work".into()),
    ];
    if role == Role::Pull {
        variables.extend([(env::AUTH, "/auth".into()), (env::PLAIN_HTTP, settings.plain_http_registries.join(","))]);
        variables.extend(parts.platform.map(|platform| (env::PLATFORM, platform.into())));
        variables.extend(parts.has_ca.then(|| (env::REGISTRY_CA, CA_PATH.into())));
        variables.extend(bytes(&settings.storage_limit).map(|bytes| (env::MAX_UNPACKED_BYTES, room(bytes).to_string())));
    }
    if let Some(bytes) = bytes(&settings.memory_limit) {
        variables.push((env::MEMORY_BYTES, bytes.to_string()));
    }
    variables.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// What of the pod's storage is for the image. The rest is for content and results; beyond the whole, the node would evict the pod without a word that helps.
fn room(storage_bytes: u64) -> u64 {
    const RESULTS_BYTES: u64 = 1 << 30;
    (storage_bytes / 10 * 9).saturating_sub(RESULTS_BYTES).max(storage_bytes / 2)
}

/// The bytes of a Kubernetes quantity, e.g. `12Gi`, `1.5G`, `4096`; `None` for what is none, which the API server will say better.
///
/// Source: k8s.io/apimachinery/pkg/api/resource.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(digits);
    let unit = match suffix {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => f64::from(1 << 10),
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "Ti" => (1u64 << 40) as f64,
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok().filter(|exponent| (0..=15).contains(exponent))?),
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

fn has_secret(parts: &Parts) -> bool {
    parts.logins > 0 || parts.has_ca
}

fn volumes(settings: &Settings, parts: &Parts) -> Vec<Value> {
    let mut volumes =
        vec![json!({ "name": "work", "emptyDir": { "sizeLimit": settings.storage_limit } }), json!({ "name": "tmp", "emptyDir": { "sizeLimit": "1Gi" } })];
    if has_secret(parts) {
        let mut items: Vec<Value> = (0..parts.logins).map(|n| json!({ "key": format!("login-{n}"), "path": format!("{n}/.dockerconfigjson") })).collect();
        if parts.has_ca {
            items.push(json!({ "key": CA_KEY, "path": CA_KEY }));
        }
        volumes.push(json!({ "name": "auth", "secret": { "secretName": parts.scan.pod_name, "defaultMode": 0o440, "items": items } }));
    }
    volumes
}

/// The secret beside the pod, of the same name: logins as `login-N` (each a docker config), and the registries' authorities.
pub(crate) fn secret(scan: &Scan, instance: &str, data: BTreeMap<String, String>) -> serde_json::Result<Secret> {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(&scan.pod_name, &scan.namespace, scan.id, instance),
        "type": "Opaque",
        "immutable": true,
        "stringData": data,
    }))
}

/// The namespace of scan pods: it takes none but restricted ones.
pub(crate) fn namespace(name: &str) -> serde_json::Result<Namespace> {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "tidewaiter",
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/audit": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
            "annotations": { MADE_BY_SERVER: "true" },
        },
    }))
}

/// What may reach scan pods of the namespace, and what they may reach: in, the inspector's port, since no policy can name the API server and the inspector
/// asks for the scan's token; out, names and registries anywhere but at link-local addresses, where clouds keep their nodes' credentials.
/// `config/kubernetes-provider.yaml` has the same one.
///
/// Source: Kubernetes, Network Policies.
pub(crate) fn network_policy(namespace: &str) -> serde_json::Result<NetworkPolicy> {
    let dns: Vec<Value> = [53, 5353].into_iter().flat_map(|port| ["UDP", "TCP"].map(|protocol| json!({ "protocol": protocol, "port": port }))).collect();
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": NETWORK_POLICY, "namespace": namespace, "labels": { "app.kubernetes.io/managed-by": "tidewaiter" } },
        "spec": {
            "podSelector": { "matchLabels": { "app.kubernetes.io/name": "tidewaiter-scan" } },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "ports": [{ "protocol": "TCP", "port": PORT }] }],
            "egress": [
                { "ports": dns },
                {
                    "to": [
                        { "namespaceSelector": {} },
                        { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
                        { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"] } },
                    ],
                    "ports": [{ "protocol": "TCP" }],
                },
            ],
        },
    }))
}

/// Scan pods give way to everything and push nothing aside.
pub(crate) fn priority_class() -> serde_json::Result<PriorityClass> {
    serde_json::from_value(json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": PRIORITY_CLASS, "labels": { "app.kubernetes.io/managed-by": "tidewaiter" } },
        "value": -1000,
        "globalDefault": false,
        "preemptionPolicy": "Never",
        "description": "Scan pods of Tidewaiter: they give way to everything and push nothing aside.",
    }))
}

#[cfg(test)]
pub(crate) mod tests;
