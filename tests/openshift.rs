//! OpenShift as a provider: its project API stands on the real API server as a custom resource of the same group, version and kind.

use crate::support::{cluster, eventually, turn};
use inventory::{Kind, validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "projects.project.openshift.io";

fn projects() -> CustomResourceDefinition {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({
        "metadata": { "name": NAME },
        "spec": {
            "group": "project.openshift.io",
            "scope": "Cluster",
            "names": { "plural": "projects", "singular": "project", "kind": "Project", "listKind": "ProjectList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    });
    serde_json::from_value(definition).unwrap()
}

#[tokio::test]
async fn an_openshift_is_told_from_a_plain_kubernetes() {
    let _turn = turn::alone().await;
    let connection = cluster::connection();
    let check = |kind| validate(&connection, kind, "tidewaiter");
    let refused = check(Kind::Openshift).await.unwrap_err();
    assert!(refused.message.contains("serves no OpenShift projects"), "{refused}");
    assert!(!refused.advice.is_empty());
    let plain = check(Kind::Kubernetes).await.unwrap();
    assert!(!plain.openshift);

    let definitions: Api<CustomResourceDefinition> = Api::all(cluster::client().await);
    definitions.create(&PostParams::default(), &projects()).await.unwrap();
    eventually("the cluster serves projects", SOON, || async { check(Kind::Openshift).await.ok() }).await;
    let found = check(Kind::Openshift).await.unwrap();
    let warned = check(Kind::Kubernetes).await.unwrap();
    definitions.delete(NAME, &DeleteParams::default()).await.unwrap();
    assert!(found.openshift);
    assert!(found.warnings.iter().all(|warning| !warning.contains("type OpenShift")), "{:?}", found.warnings);
    assert!(warned.warnings.iter().any(|warning| warning.contains("give it the type OpenShift")), "{:?}", warned.warnings);
    eventually("the cluster serves no projects any more", SOON, || async { check(Kind::Openshift).await.err() }).await;
}
