//! What the state of a pod means for its scan. Pure, but for the reading of events and logs.

use crate::pod::CONTAINER;
use crate::reason::Reason;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use serde_json::{Value, json};

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
    let container = status.and_then(|s| s.container_statuses.as_ref()).and_then(|list| list.iter().find(|c| c.name == CONTAINER));
    let end = container.and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let deadline_secs = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
    let text = |of: Option<&Option<String>>| of.and_then(Clone::clone).unwrap_or_default();
    let (reason, message) = (text(status.map(|s| &s.reason)), text(status.map(|s| &s.message)));
    // What the pod's own reason says explains how its container ended, and not the other way round.
    match reason.as_str() {
        "Evicted" => return Sight::Over(Reason::Evicted(message)),
        "DeadlineExceeded" => return Sight::Over(Reason::PodDeadline { secs: deadline_secs }),
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
        return ended(end, deadline_secs);
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

fn ended(end: &ContainerStateTerminated, deadline_secs: i64) -> Sight {
    let detail = end.message.as_deref().unwrap_or_default().trim();
    Sight::Over(match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), code) => Reason::OutOfMemory(format!("the container was killed (exit code {code})")),
        // Not how it ended: the node does not know, since it was away itself.
        (Some("ContainerStatusUnknown"), _) => return Sight::Lost("its node lost track of it".into()),
        // Killed without a word of why: by the kernel, for want of memory on the node.
        (_, 137) => Reason::OutOfMemory("the container was killed (exit code 137)".into()),
        (Some(reason), 128) => Reason::PodConfig(joined(reason, detail)),
        // The inspector keeps the pod's deadline by itself too, and ends in peace.
        (_, 0) if deadline_secs > 0 && ran_for(end).is_some_and(|secs| secs + 5 >= deadline_secs) => Reason::PodDeadline { secs: deadline_secs },
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

/// The pod's last log lines and its events, for the task's page; empty where they cannot be had.
pub(crate) async fn evidence(client: &Client, namespace: &str, name: &str, uid: &str) -> (String, Value) {
    let params = LogParams { tail_lines: Some(50), limit_bytes: Some(16 << 10), container: Some(CONTAINER.into()), ..LogParams::default() };
    let log = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), namespace).logs(name, &params).await.unwrap_or_default();
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(50);
    let events = Api::<Event>::namespaced(client.clone(), namespace).list(&params).await.map(|list| list.items).unwrap_or_default();
    let events = events.iter().map(|event| {
        json!({
            "at": event.last_timestamp.as_ref().map(|time| &time.0).map(ToString::to_string),
            "type": event.type_, "reason": event.reason, "message": event.message, "count": event.count,
        })
    });
    let mut events: Value = events.collect();
    strip_nul(&mut events);
    (log.replace('\0', ""), events)
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
