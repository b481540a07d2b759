//! Waiting for the pod to run, by watching it.

use super::Run;
use crate::lease::State;
use crate::reason::Reason;
use crate::request::say_waiting;
use crate::trouble::{self, Halt};
use crate::vigil::{Sight, look};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::watcher::{self, watch_object};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// A watch that tells nothing for so long may be dead: the pod is looked at without it.
const SILENT_FOR: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

impl Run<'_> {
    /// Until the pod runs. It is looked at once more when the time is over: events may have got lost, or the server was away.
    pub(super) async fn start_pod(&mut self) -> Result<(), Halt> {
        let until = self.until();
        let pods: Api<Pod> = Api::namespaced(self.client()?.clone(), &self.scan.namespace);
        let mut sights = pin!(watch_object(pods.clone(), &self.scan.pod_name));
        let mut waits_for = "the node".to_owned();
        loop {
            let told = match timeout_at(until.min(Instant::now() + SILENT_FOR), sights.next()).await {
                Ok(Some(told)) => told.map_err(|error| of_watch(&error)),
                Ok(None) | Err(_) => find(&pods, &self.scan.pod_name).await,
            };
            let over = Instant::now() >= until;
            let pod = match told {
                Ok(pod) => pod,
                Err(reason) if !over && !matches!(reason, Reason::ClusterLogin(_) | Reason::Forbidden(_)) => {
                    tracing::debug!(scan = self.scan.id.0, "watching the pod: {}", reason.message());
                    sleep(PAUSE).await;
                    continue;
                }
                Err(reason) => return Err(reason.into()),
            };
            match look(pod.as_ref(), &self.scan.pod_uid) {
                Sight::Running => {
                    let node = pod.and_then(|pod| pod.spec).and_then(|spec| spec.node_name).unwrap_or_default();
                    return self.started(&node).await;
                }
                Sight::Over(reason) => return Err(reason.into()),
                Sight::Lost(detail) => return Err(Halt::Lost(detail)),
                Sight::Coming { waits_for, no_room: true } if over => return Err(Reason::Unschedulable(waits_for).into()),
                Sight::Coming { waits_for, .. } if over => return Err(self.late("Starting the scan pod", format!("it waits for {waits_for}")).into()),
                Sight::Coming { waits_for: now, no_room } => {
                    if no_room && now != waits_for {
                        self.tell_no_room(&now).await?;
                    }
                    waits_for = now;
                }
            }
        }
    }

    async fn tell_no_room(&mut self, waits_for: &str) -> Result<(), Halt> {
        let Some(task) = self.scan.task else { return Ok(()) };
        let reason = Reason::Unschedulable(waits_for.into());
        say_waiting(&mut *self.ctx.pool.acquire().await?, &self.ctx.clock, &[task], &reason).await?;
        Ok(())
    }

    async fn started(&mut self, node: &str) -> Result<(), Halt> {
        sqlx::query!("UPDATE scans SET node_name = $3 WHERE id = $1 AND fence = $2", self.scan.id.0, self.scan.fence, node).execute(&self.ctx.pool).await?;
        self.advance(State::Pulling, Some("pod_start"), &format!("Pulling the image on {node}"), 20).await
    }
}

/// The pod as it is now.
async fn find(pods: &Api<Pod>, name: &str) -> Result<Option<Pod>, Reason> {
    match timeout(ANSWER_WITHIN, pods.get_opt(name)).await {
        Ok(found) => found.map_err(|error| of_error(&error)),
        Err(_) => Err(Reason::ClusterUnreachable(format!("no answer within {} seconds", ANSWER_WITHIN.as_secs()))),
    }
}

/// A refused login or a missing right; anything else may pass and counts as no answer.
fn of_error(error: &kube::Error) -> Reason {
    match trouble::reason(error) {
        Some(reason @ (Reason::ClusterLogin(_) | Reason::Forbidden(_))) => reason,
        // Whatever it is, it may pass: it is looked at again until the time is over.
        _ => trouble::lasting(error),
    }
}

fn of_watch(error: &watcher::Error) -> Reason {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => of_error(error),
        WatchError(status) => of_error(&kube::Error::Api(status.clone())),
        NoResourceVersion => Reason::ClusterUnreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn denied(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "").with_code(code).boxed())
    }

    #[test]
    fn a_watch_that_is_refused_says_so_at_once_and_one_that_breaks_off_is_opened_again() {
        let no_list = r#"pods is forbidden: User "system:serviceaccount:tidewaiter:tidewaiter" cannot list resource "pods" in API group "" in the namespace "tidewaiter""#;
        for (error, code) in [
            (watcher::Error::InitialListFailed(denied(401, "Unauthorized")), "cluster_login"),
            (watcher::Error::InitialListFailed(denied(403, no_list)), "forbidden"),
            (watcher::Error::WatchStartFailed(denied(401, "Unauthorized")), "cluster_login"),
            (watcher::Error::WatchError(Status::failure("too old resource version", "Expired").with_code(410).boxed()), "cluster_error"),
            (watcher::Error::WatchFailed(denied(504, "gateway timeout")), "cluster_error"),
            (watcher::Error::InitialListFailed(denied(404, "the server could not find the requested resource")), "cluster_error"),
        ] {
            assert_eq!(of_watch(&error).code(), code, "{error}");
        }
    }
}
