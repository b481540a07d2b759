//! What of Kubernetes' objects is kept, in the shape in which it is stored. The names are the columns'.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

/// A row of `projects`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Project {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) phase: String,
    pub(crate) labels: Value,
    pub(crate) resource_version: i64,
    pub(crate) created_at: DateTime<Utc>,
    /// It was deleted; this is its last state.
    pub(crate) gone: bool,
}

/// A row of `nodes`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Node {
    pub(crate) uid: String,
    pub(crate) name: String,
    /// `None`: no condition says so.
    pub(crate) ready: Option<bool>,
    pub(crate) schedulable: bool,
    pub(crate) architecture: String,
    pub(crate) os_image: String,
    pub(crate) kernel: String,
    pub(crate) runtime: String,
    pub(crate) kubelet: String,
    pub(crate) address: String,
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) pods_max: i64,
    pub(crate) labels: Value,
    pub(crate) conditions: Value,
    pub(crate) resource_version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) gone: bool,
}

/// A row of `pods`, with its containers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) project: String,
    pub(crate) node: String,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) restart_policy: String,
    pub(crate) dns_policy: String,
    pub(crate) service_account: String,
    pub(crate) address: String,
    pub(crate) owner_kind: String,
    pub(crate) owner_name: String,
    pub(crate) pull_secrets: Vec<String>,
    pub(crate) labels: Value,
    pub(crate) annotations: Value,
    pub(crate) conditions: Value,
    pub(crate) resource_version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) gone: bool,
    #[serde(skip)]
    pub(crate) containers: Vec<Container>,
}

/// A row of `containers`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Container {
    pub(crate) kind: &'static str,
    /// An init container that keeps running beside the others.
    pub(crate) sidecar: bool,
    pub(crate) name: String,
    pub(crate) image_reference: String,
    pub(crate) image: Option<Image>,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) restart_count: i32,
    pub(crate) ready: bool,
    pub(crate) command: Vec<String>,
    pub(crate) resources: Value,
    pub(crate) security: Value,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

/// A row of `container_images`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Image {
    pub(crate) registry: String,
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) tag: String,
    /// `registry/name` that the node has it from, when that is another; else empty.
    pub(crate) pulled_from: String,
}
