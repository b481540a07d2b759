//! The parts of Kubernetes' objects that Tidewaiter reads. Shapes of our own, since the full ones cost several times the memory and time of a big list
//! (managedFields, volumes, environment), which nothing here looks at.
//!
//! Source: <https://kubernetes.io/docs/reference/kubernetes-api/>

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// A kind of object that is listed and watched across all namespaces.
pub(crate) trait Object: DeserializeOwned + Clone + Send + 'static {
    /// Path of its list.
    const PATH: &'static str;
    /// Its key in `providers.positions`, and what progress calls it.
    const PLURAL: &'static str;
    fn metadata(&self) -> &Metadata;
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(crate) struct Page<T> {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) metadata: PageMetadata,
    #[serde(default = "Vec::new", deserialize_with = "some_items")]
    pub(crate) items: Vec<T>,
}

/// Most objects of one page; it has one more when there were even more.
pub(crate) const ITEMS_MAX: usize = 20_000;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PageMetadata {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) resource_version: String,
    #[serde(rename = "continue", deserialize_with = "null_as_default")]
    pub(crate) next: String,
    pub(crate) remaining_item_count: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) resource_version: String,
    pub(crate) creation_timestamp: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "texts")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) owner_references: Vec<Owner>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
    pub(crate) controller: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) metadata: Metadata,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) status: NamespaceStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamespaceStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) phase: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) metadata: Metadata,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) spec: NodeSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) unschedulable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) allocatable: BTreeMap<String, Value>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) conditions: Vec<Value>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) addresses: Vec<Address>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) node_info: NodeInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub(crate) kind: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NodeInfo {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) architecture: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) os_image: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) kernel_version: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) container_runtime_version: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) kubelet_version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) metadata: Metadata,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) spec: PodSpec,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) node_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) restart_policy: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) dns_policy: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) service_account_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) image_pull_secrets: Vec<LocalReference>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) init_containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) ephemeral_containers: Vec<ContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LocalReference {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerSpec {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) image: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) command: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) args: Vec<String>,
    pub(crate) resources: Value,
    pub(crate) security_context: Value,
    /// Of an init container alone.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) restart_policy: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) phase: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) message: String,
    #[serde(rename = "podIP", deserialize_with = "null_as_default")]
    pub(crate) pod_ip: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) conditions: Vec<Value>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerStatus {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) name: String,
    #[serde(rename = "imageID", deserialize_with = "null_as_default")]
    pub(crate) image_id: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) ready: bool,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) restart_count: i32,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) state: State,
}

/// One of the three at most.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) waiting: Option<StateDetail>,
    pub(crate) running: Option<StateDetail>,
    pub(crate) terminated: Option<StateDetail>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct StateDetail {
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) reason: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

impl Object for Namespace {
    const PATH: &'static str = "/api/v1/namespaces";
    const PLURAL: &'static str = "projects";
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for Node {
    const PATH: &'static str = "/api/v1/nodes";
    const PLURAL: &'static str = "nodes";
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for Pod {
    const PATH: &'static str = "/api/v1/pods";
    const PLURAL: &'static str = "pods";
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// For Go null says nothing, whatever it stands for; of an empty list it writes null here and there.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A map whose values may be null.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let found: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(found.unwrap_or_default().into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect())
}

/// Keeps [`ITEMS_MAX`] items and one more.
fn some_items<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while items.len() <= ITEMS_MAX {
                match list.next_element()? {
                    Some(item) => items.push(item),
                    None => return Ok(items),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(items)
        }
    }
    deserializer.deserialize_any(Items(PhantomData))
}
