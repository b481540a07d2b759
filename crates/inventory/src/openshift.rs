//! Whether a cluster is an OpenShift.
//!
//! What decides how scan pods must look are the security context constraints (`security.openshift.io`), which MicroShift has too. A group of an aggregated
//! API server stays in the list of groups while that server is away, so that an OpenShift in an update is not taken for a plain Kubernetes.

use crate::ask;
use crate::bounded::Limits;
use crate::connection::Kind;
use crate::failure::{ConnectError, explain};
use serde::Deserialize;
use serde::de::IgnoredAny;

const CONSTRAINTS: &str = "security.openshift.io";
const PROJECTS: &str = "project.openshift.io";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Openshift {
    Yes,
    /// It is one, but its own API server does not answer.
    Away,
    No,
    /// The login may not ask.
    Unknown,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    name: String,
}

pub(crate) async fn look(client: &kube::Client, server: &str) -> Result<Openshift, ConnectError> {
    let groups = match ask::get::<Groups>(client, "/apis", Limits::SMALL).await {
        Ok(found) => found.groups,
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Openshift::Unknown),
        Err(error) => return Err(explain(&error, server)),
    };
    let has = |name: &str| groups.iter().any(|group| group.name == name);
    if !has(CONSTRAINTS) && !has(PROJECTS) {
        return Ok(Openshift::No);
    }
    let away = has(PROJECTS) && is_away(client).await;
    Ok(if away { Openshift::Away } else { Openshift::Yes })
}

async fn is_away(client: &kube::Client) -> bool {
    let answer = ask::get::<IgnoredAny>(client, &format!("/apis/{PROJECTS}/v1"), Limits::SMALL).await;
    matches!(answer, Err(kube::Error::Api(status)) if status.code >= 500)
}

/// What a person should know about the type that was chosen.
pub(crate) fn warning(kind: Kind, found: Openshift) -> Option<String> {
    let text = match (kind, found) {
        (Kind::Kubernetes, Openshift::Yes | Openshift::Away) => {
            "This cluster is an OpenShift, which refuses scan pods that are made for a plain Kubernetes: give it the type OpenShift."
        }
        (Kind::Openshift, Openshift::Away) => "The OpenShift API of this cluster does not answer just now, as during an update. Tidewaiter can do without it.",
        (Kind::Openshift, Openshift::Unknown) => "The login may not ask whether this cluster is an OpenShift; it is taken for one, as you say.",
        _ => return None,
    };
    Some(text.to_owned())
}
