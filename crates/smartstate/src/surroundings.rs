//! What scan pods need of the cluster around them: their namespace and their priority class.

use crate::pod;
use crate::reason::Reason;
use crate::trouble::{self, Halt, ask};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::PostParams;
use kube::{Api, Client};
use model::ids::ProviderId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const PAUSE: Duration = Duration::from_secs(1);
const POLICY_WITHIN: Duration = Duration::from_secs(10);
/// A network policy that could not be made is tried again with a scan after this time.
const POLICY_AGAIN: Duration = Duration::from_secs(300);

/// Of each namespace where this process tried to make the network policy: when, if it could not; `None`: it is there.
#[derive(Debug, Default)]
pub(crate) struct Policies(Mutex<HashMap<(ProviderId, String), Option<Instant>>>);

impl Policies {
    /// Whether it is time to try; whoever hears so does, and says with [`Self::is_there`] that it worked.
    fn is_due(&self, provider: ProviderId, namespace: &str, now: Instant) -> bool {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (provider, namespace.to_owned());
        let due = match tried.get(&key) {
            None => true,
            Some(None) => false,
            Some(Some(at)) => now.duration_since(*at) >= POLICY_AGAIN,
        };
        if due {
            tried.insert(key, Some(now));
        }
        due
    }

    fn is_there(&self, provider: ProviderId, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((provider, namespace.to_owned()), None);
    }

    /// The namespace is new, and nothing that was known of one of its name holds.
    fn forget(&self, provider: ProviderId, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(provider, namespace.to_owned()));
    }
}

/// Waits for one that is being deleted to be gone, and makes one that is not there. One that the server made gets its network policy, if not at first then later.
pub(crate) async fn ensure_namespace(client: &Client, policies: &Policies, provider: ProviderId, name: &str, until: Instant) -> Result<(), Halt> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    loop {
        let found = ask(until, || async {
            match namespaces.get_opt(name).await {
                // Without the right to look, the making of the pod will tell.
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(Found::Others)),
                other => other.map(|found| found.map(|found| Found::of(&found))),
            }
        });
        match found.await? {
            Some(Found::Others) => return Ok(()),
            Some(Found::Ours) => break,
            Some(Found::Ending) if Instant::now() + PAUSE < until => sleep(PAUSE).await,
            Some(Found::Ending) => return Err(Reason::Namespace { namespace: name.into(), detail: "it is being deleted".into() }.into()),
            None => {
                make_namespace(client, name, until).await?;
                policies.forget(provider, name);
                break;
            }
        }
    }
    if policies.is_due(provider, name, Instant::now()) && make_network_policy(client, provider, name).await? {
        policies.is_there(provider, name);
    }
    Ok(())
}

/// A namespace that is there.
enum Found {
    /// It takes nothing new.
    Ending,
    /// The server made it.
    Ours,
    /// Somebody else did, or it cannot be seen.
    Others,
}

impl Found {
    fn of(namespace: &Namespace) -> Self {
        let made_by_server = || namespace.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(pod::MADE_BY_SERVER));
        match namespace.metadata.deletion_timestamp {
            Some(_) => Self::Ending,
            None if made_by_server() => Self::Ours,
            None => Self::Others,
        }
    }
}

async fn make_namespace(client: &Client, name: &str, until: Instant) -> Result<(), Halt> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let manifest = pod::namespace(name).map_err(|error| Reason::Internal(error.to_string()))?;
    let params = PostParams::default();
    let made = ask(until, || async {
        match namespaces.create(&params, &manifest).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    });
    made.await.map_err(|halt| match halt {
        Halt::Because(Reason::Forbidden(detail) | Reason::PodRejected(detail)) => Reason::Namespace { namespace: name.into(), detail }.into(),
        other => other,
    })
}

/// Whether it is there afterwards. Only where Tidewaiter made the namespace itself; elsewhere what is there is its administrators' choice. Who may not make
/// one has been told by the manifest that ships, and the log says it.
async fn make_network_policy(client: &Client, provider: ProviderId, namespace: &str) -> Result<bool, Halt> {
    let manifest = pod::network_policy(namespace).map_err(|error| Reason::Internal(error.to_string()))?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let params = PostParams::default();
    match timeout(POLICY_WITHIN, policies.create(&params, &manifest)).await {
        Ok(Ok(_)) => return Ok(true),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => return Ok(true),
        Ok(Err(error)) => {
            tracing::warn!(%provider, namespace, reason = trouble::lasting(&error).message(), "scan pods have no network policy; it is tried again")
        }
        Err(_) => tracing::warn!(%provider, namespace, reason = "the API server did not answer", "scan pods have no network policy; it is tried again"),
    }
    Ok(false)
}

/// Whether the class is there. Without it pods have the cluster's default priority, which a warning says.
pub(crate) async fn ensure_priority_class(client: &Client, until: Instant, warnings: &mut Vec<String>) -> Result<bool, Halt> {
    let classes: Api<PriorityClass> = Api::all(client.clone());
    let manifest = pod::priority_class().map_err(|error| Reason::Internal(error.to_string()))?;
    let params = PostParams::default();
    let there = ask(until, || async {
        match classes.get_opt(pod::PRIORITY_CLASS).await {
            Ok(Some(class)) => return Ok(if gives_way(&class) { Class::There } else { Class::Another }),
            Ok(None) => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {}
            Err(error) => return Err(error),
        }
        match classes.create(&params, &manifest).await {
            Ok(_) => Ok(Class::There),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Class::There),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Class::Missing),
            Err(error) => Err(error),
        }
    })
    .await?;
    let why = match there {
        Class::There => return Ok(true),
        Class::Another => "would not let scan pods give way to others",
        Class::Missing => "is missing and Tidewaiter may not make it",
    };
    warnings.push(format!("The priority class {} {why}: the scan pod had the cluster's default priority.", pod::PRIORITY_CLASS));
    Ok(false)
}

enum Class {
    There,
    /// Somebody made one of that name that does something else.
    Another,
    Missing,
}

fn gives_way(class: &PriorityClass) -> bool {
    class.value.unwrap_or_default() <= 0 && class.preemption_policy.as_deref() == Some("Never")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_could_not_be_made_is_tried_again_after_minutes_and_one_that_is_there_never() {
        let (policies, now) = (Policies::default(), Instant::now());
        let due = |provider, namespace, secs| policies.is_due(ProviderId(provider), namespace, now + Duration::from_secs(secs));
        assert!(due(1, "scans", 0));
        assert!(!due(1, "scans", 1) && !due(1, "scans", 299), "not with each scan");
        assert!(due(2, "scans", 1) && due(1, "other", 1), "each provider and namespace by itself");
        assert!(due(1, "scans", 300));
        assert!(!due(1, "scans", 301));
        policies.is_there(ProviderId(1), "scans");
        assert!(!due(1, "scans", 9_000));
        policies.forget(ProviderId(1), "scans");
        assert!(due(1, "scans", 9_001));
    }

    #[test]
    fn only_a_namespace_that_the_server_made_gets_a_policy() {
        let mut namespace = pod::namespace("scans").unwrap();
        assert!(matches!(Found::of(&namespace), Found::Ours));
        let shipped = include_str!("../../../config/kubernetes-provider.yaml").split("\n---\n").next().unwrap();
        assert!(matches!(Found::of(&serde_yaml_ng::from_str(shipped).unwrap()), Found::Others));
        namespace.metadata.deletion_timestamp = Some(serde_json::from_value(serde_json::json!("2026-11-28T10:00:00Z")).unwrap());
        assert!(matches!(Found::of(&namespace), Found::Ending));
    }
}
