//! What Tidewaiter needs to be allowed on a cluster. `config/kubernetes-provider.yaml` grants exactly this.

use crate::ask;
use crate::bounded::Limits;
use crate::failure::{ConnectError, explain};
use futures::future::try_join_all;
use http::Request;
use serde::Deserialize;
use serde_json::json;

/// One permission, in the words of Kubernetes' RBAC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// In the namespace of the scan pods alone, else in all.
    own_namespace: bool,
    /// Without it something smaller is lost; this says what.
    optional: Option<&'static str>,
}

const fn all(verb: &'static str, resource: &'static str) -> Need {
    Need { verb, group: "", resource, subresource: "", own_namespace: false, optional: None }
}

const fn own(verb: &'static str, resource: &'static str) -> Need {
    Need { own_namespace: true, ..all(verb, resource) }
}

const NEEDS: &[Need] = &[
    all("list", "namespaces"),
    all("watch", "namespaces"),
    all("get", "namespaces"),
    all("list", "nodes"),
    all("watch", "nodes"),
    all("get", "nodes"),
    all("list", "pods"),
    all("watch", "pods"),
    own("get", "pods"),
    own("create", "pods"),
    own("delete", "pods"),
    Need { subresource: "proxy", ..own("get", "pods") },
    Need { subresource: "proxy", ..own("create", "pods") },
    Need { subresource: "proxy", ..own("update", "pods") },
    own("get", "secrets"),
    own("list", "secrets"),
    own("create", "secrets"),
    own("patch", "secrets"),
    own("delete", "secrets"),
    Need { subresource: "log", optional: Some("the last lines of a failed scan pod's log cannot be shown"), ..own("get", "pods") },
    Need { optional: Some("what happened to a scan pod cannot be shown"), ..own("list", "events") },
    Need { optional: Some("images of private registries can be analysed only where their namespace lets it read pull secrets"), ..all("get", "secrets") },
];

impl Need {
    /// E.g. `create pods/proxy in namespace tidewaiter`.
    fn sentence(&self, namespace: &str) -> String {
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        let place = match (self.own_namespace, self.resource) {
            (true, _) => format!(" in namespace {namespace}"),
            (false, "pods" | "secrets") => " in all namespaces".to_owned(),
            (false, _) => String::new(),
        };
        format!("{} {}{slash}{}{place}", self.verb, self.resource, self.subresource)
    }
}

/// What is missing: what Tidewaiter cannot do without, and warnings about the rest.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) required: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Asks the API server about each permission, all at once.
///
/// Source: <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>
pub(crate) async fn missing(client: &kube::Client, server: &str, namespace: &str) -> Result<Missing, ConnectError> {
    let answers = try_join_all(NEEDS.iter().map(|need| allowed(client, need, namespace))).await.map_err(|error| explain(&error, server))?;
    let mut missing = Missing::default();
    for (need, _) in NEEDS.iter().zip(answers).filter(|(_, allowed)| !allowed) {
        let sentence = need.sentence(namespace);
        match need.optional {
            None => missing.required.push(sentence),
            Some(loss) => missing.warnings.push(format!("The login may not {sentence}: {loss}.")),
        }
    }
    Ok(missing)
}

async fn allowed(client: &kube::Client, need: &Need, namespace: &str) -> Result<bool, kube::Error> {
    #[derive(Deserialize)]
    struct Review {
        status: Answer,
    }
    #[derive(Deserialize)]
    struct Answer {
        allowed: bool,
    }
    let mut attributes = json!({ "verb": need.verb, "group": need.group, "resource": need.resource, "subresource": need.subresource });
    if need.own_namespace {
        attributes["namespace"] = namespace.into();
    }
    let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": { "resourceAttributes": attributes } });
    let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .extension(Limits::SMALL)
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    Ok(ask::json::<Review>(client, request).await?.status.allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_reads_like_kubectl_auth_can_i() {
        assert_eq!(own("create", "pods").sentence("tidewaiter"), "create pods in namespace tidewaiter");
        assert_eq!(all("list", "pods").sentence("tidewaiter"), "list pods in all namespaces");
        assert_eq!(all("list", "nodes").sentence("tidewaiter"), "list nodes");
    }
}
