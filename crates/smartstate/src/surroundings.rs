//! What scan pods need of the cluster around them: their namespace and their priority class.

use crate::pod;
use crate::reason::Reason;
use crate::trouble::{Halt, ask};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PAUSE: Duration = Duration::from_secs(1);

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
            None => return make_namespace(&namespaces, name, until).await,
        }
    }
}

/// It takes nothing new then.
fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

async fn make_namespace(namespaces: &Api<Namespace>, name: &str, until: Instant) -> Result<(), Halt> {
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
