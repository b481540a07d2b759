//! What scan pods need of the cluster around them: their namespace and their priority class.

use crate::pod;
use crate::reason::Reason;
use crate::trouble::{self, Halt, ask};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const PAUSE: Duration = Duration::from_secs(1);
const POLICY_WITHIN: Duration = Duration::from_secs(10);

/// Waits for one that is being deleted to be gone, and makes one that is not there.
pub(crate) async fn ensure_namespace(client: &Client, name: &str, until: Instant) -> Result<(), Halt> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    loop {
        let found = ask(until, || async {
            match namespaces.get_opt(name).await {
                // Without the right to look, the making of the pod will tell.
                Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(false)),
                other => other.map(|found| found.map(|found| is_ending(&found))),
            }
        });
        match found.await? {
            Some(false) => return Ok(()),
            Some(true) if Instant::now() + PAUSE < until => sleep(PAUSE).await,
            Some(true) => return Err(Reason::Namespace { namespace: name.into(), detail: "it is being deleted".into() }.into()),
            None => return make_namespace(client, name, until).await,
        }
    }
}

/// It takes nothing new then.
fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
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
    })?;
    make_network_policy(client, name).await
}

/// Only where Tidewaiter made the namespace itself; elsewhere what is there is its administrators' choice. Who may not make one has been told by the manifest
/// that ships.
async fn make_network_policy(client: &Client, namespace: &str) -> Result<(), Halt> {
    let manifest = pod::network_policy(namespace).map_err(|error| Reason::Internal(error.to_string()))?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let params = PostParams::default();
    match timeout(POLICY_WITHIN, policies.create(&params, &manifest)).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
        Ok(Err(error)) => tracing::warn!("the namespace {namespace} has no network policy: {}", trouble::lasting(&error).message()),
        Err(_) => tracing::warn!("the namespace {namespace} has no network policy: the API server did not answer"),
    }
    Ok(())
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
