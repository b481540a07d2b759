//! What the state of a pod means for its scan. Pure, but for the reading of events and logs.

use crate::pod::{CONTAINER, PULL_CONTAINER};
use crate::reason::Reason;
use crate::words;
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod, PodStatus};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use serde_json::{Value, json};

const LOG_BYTES: u64 = 16 << 10;
const EVENTS: u32 = 50;
/// Of one text of an event, in characters.
const TEXT: usize = 2000;

/// How a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Not yet; the text says what it waits for, and `no_room` that the scheduler finds no node.
    Coming {
        waits_for: String,
        no_room: bool,
    },
    Running,
    /// It will not become better.
    Over(Reason),
    /// Gone, or about to be: somebody deleted it, or its node went away.
    Lost(String),
}

/// Reads a pod's status; `None`: it is not there.
///
/// Source: Kubernetes, Pod Lifecycle; container reasons: `pkg/kubelet/images/types.go`, `pkg/kubelet/kuberuntime/kuberuntime_container.go`.
pub(crate) fn look(pod: Option<&Pod>, uid: &str) -> Sight {
    let Some(pod) = pod else { return Sight::Lost("it is gone".into()) };
    if !uid.is_empty() && pod.metadata.uid.as_deref() != Some(uid) {
        return Sight::Lost("another pod of the same name is there".into());
    }
    let status = pod.status.as_ref();
    let container = status.and_then(working);
    let end = container.and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let deadline_secs = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
    let text = |of: Option<&Option<String>>| of.and_then(Clone::clone).unwrap_or_default();
    let (reason, message) = (text(status.map(|s| &s.reason)), text(status.map(|s| &s.message)));
    // What the pod's own reason says explains how its container ended, and not the other way round.
    match reason.as_str() {
        "Evicted" => return Sight::Over(Reason::Evicted(message)),
        "DeadlineExceeded" => return Sight::Over(late(container, deadline_secs)),
        "NodeLost" => return Sight::Lost(format!("its node is lost; {message}")),
        "Preempting" => return Sight::Lost(format!("it had to give way to another pod; {message}")),
        "Shutdown" | "NodeShutdown" | "Terminated" => return Sight::Lost(format!("its node shut down; {message}")),
        _ => {}
    }
    let out_of_memory = end.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"));
    if pod.metadata.deletion_timestamp.is_some() && !out_of_memory {
        return Sight::Lost("somebody deleted it".into());
    }
    if let Some(end) = end {
        return if kept_deadline(end, deadline_secs) { Sight::Over(late(container, deadline_secs)) } else { ended(end) };
    }
    match text(status.map(|s| &s.phase)).as_str() {
        "Failed" => return Sight::Over(Reason::PodFailed(joined(&reason, &message))),
        "Succeeded" => return Sight::Over(Reason::PodFailed("it ended by itself".into())),
        _ => {}
    }
    match container {
        Some(container) if container.state.as_ref().is_some_and(|state| state.running.is_some()) => Sight::Running,
        Some(container) => waiting(container),
        None => unscheduled(pod),
    }
}

/// The container that is at work, or was the last one: the one that inspects is not there before the other has ended well.
fn working(status: &PodStatus) -> Option<&ContainerStatus> {
    let find = |list: &'_ Option<Vec<ContainerStatus>>, name: &str| list.as_ref().and_then(|list| list.iter().position(|one| one.name == name));
    let pull = find(&status.init_container_statuses, PULL_CONTAINER).and_then(|at| status.init_container_statuses.as_ref()?.get(at));
    let inspect = find(&status.container_statuses, CONTAINER).and_then(|at| status.container_statuses.as_ref()?.get(at));
    let has_pulled = |pull: &ContainerStatus| pull.state.as_ref().and_then(|state| state.terminated.as_ref()).is_some_and(|end| end.exit_code == 0);
    match pull {
        Some(pull) if !has_pulled(pull) => Some(pull),
        _ => inspect,
    }
}

fn late(container: Option<&ContainerStatus>, secs: i64) -> Reason {
    if container.is_some_and(|container| container.name == PULL_CONTAINER) { Reason::PullDeadline { secs } } else { Reason::PodDeadline { secs } }
}

/// The inspector keeps the pod's deadline by itself too, and ends in peace: with 0, or with 1 where it has not pulled to the end.
fn kept_deadline(end: &ContainerStateTerminated, deadline_secs: i64) -> bool {
    let in_peace = matches!(end.exit_code, 0 | 1) && matches!(end.reason.as_deref(), None | Some("Completed" | "Error"));
    in_peace && deadline_secs > 0 && ran_for(end).is_some_and(|secs| secs + 5 >= deadline_secs)
}

fn ended(end: &ContainerStateTerminated) -> Sight {
    let detail = end.message.as_deref().unwrap_or_default().trim();
    Sight::Over(match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), code) => Reason::OutOfMemory(format!("the container was killed (exit code {code})")),
        // Not how it ended: the node does not know, since it was away itself.
        (Some("ContainerStatusUnknown"), _) => return Sight::Lost("its node lost track of it".into()),
        // Killed without a word of why: by the kernel, for want of memory on the node.
        (_, 137) => Reason::OutOfMemory("the container was killed (exit code 137)".into()),
        (Some(reason), 128) => Reason::PodConfig(joined(reason, detail)),
        (_, code) => Reason::PodFailed(joined(&format!("exit code {code}"), last_line(detail))),
    })
}

fn ran_for(end: &ContainerStateTerminated) -> Option<i64> {
    Some(end.finished_at.as_ref()?.0.as_second() - end.started_at.as_ref()?.0.as_second())
}

fn waiting(container: &ContainerStatus) -> Sight {
    let state = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let text = |of: Option<&String>| of.cloned().unwrap_or_default();
    let (reason, message) = (text(state.and_then(|s| s.reason.as_ref())), text(state.and_then(|s| s.message.as_ref())));
    match reason.as_str() {
        // The first failure may pass; with BackOff the node has tried again and failed again.
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => Sight::Over(Reason::InspectorImage(joined(&reason, &message))),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Sight::Over(Reason::PodConfig(joined(&reason, &message))),
        "" => coming("the node"),
        "ContainerCreating" | "PodInitializing" => coming("its container is being made"),
        _ => coming(&joined(&reason, &message)),
    }
}

fn unscheduled(pod: &Pod) -> Sight {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let blocked = conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    match blocked {
        Some(condition) => Sight::Coming { waits_for: condition.message.clone().unwrap_or_default(), no_room: true },
        None => coming("the node"),
    }
}

fn coming(what: &str) -> Sight {
    Sight::Coming { waits_for: what.into(), no_room: false }
}

fn joined(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", message) => message.into(),
        (reason, "") => reason.into(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

/// The pod's last log lines, of the container that pulls before the other one's, and its events, for the task's page; empty where they cannot be had.
pub(crate) async fn evidence(client: &Client, namespace: &str, name: &str, uid: &str) -> (String, Value) {
    let (pull, inspect) = (log(client, namespace, name, PULL_CONTAINER).await, log(client, namespace, name, CONTAINER).await);
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(EVENTS);
    let events = Api::<Event>::namespaced(client.clone(), namespace).list(&params).await.map(|list| list.items).unwrap_or_default();
    let mut events: Value = events.iter().take(EVENTS as usize).map(told).collect();
    strip_nul(&mut events);
    (format!("{pull}{inspect}").replace('\0', ""), events)
}

/// The last lines of one container; its server may send more than was asked for.
async fn log(client: &Client, namespace: &str, name: &str, container: &str) -> String {
    let params = LogParams { tail_lines: Some(50), limit_bytes: Some(LOG_BYTES as i64), container: Some(container.into()), ..LogParams::default() };
    let Ok(stream) = Api::<Pod>::namespaced(client.clone(), namespace).log_stream(name, &params).await else { return String::new() };
    let mut log = vec![];
    // What came before the stream broke off is better than nothing.
    let _ = stream.take(LOG_BYTES).read_to_end(&mut log).await;
    String::from_utf8_lossy(&log).into_owned()
}

/// An event as it is noted. Events of the newer API have no last time, but the last one of their series, or the one of the event itself.
///
/// Source: k8s.io/api/core/v1 `Event`; k8s.io/api/events/v1.
fn told(event: &Event) -> Value {
    let series = event.series.as_ref();
    let at = event.last_timestamp.as_ref().map(|time| time.0);
    let at = at.or_else(|| Some(series?.last_observed_time.as_ref()?.0)).or_else(|| Some(event.event_time.as_ref()?.0));
    let at = at.or_else(|| Some(event.first_timestamp.as_ref()?.0));
    let text = |text: &Option<String>| text.as_ref().map(|text| words::clean(text, TEXT));
    json!({
        "at": at.map(|time| time.to_string()),
        "type": text(&event.type_), "reason": text(&event.reason), "message": text(&event.message),
        "count": event.count.or_else(|| series?.count),
    })
}

/// Postgres holds no NUL, neither in texts nor in JSON.
fn strip_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(strip_nul),
        Value::Object(fields) => fields.values_mut().for_each(strip_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
