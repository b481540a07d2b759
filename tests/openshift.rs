//! OpenShift as a provider: its groups stand on the real API server as custom resources of the same group, version and kind.

use crate::support::{cluster, eventually, turn};
use inventory::{Kind, validate};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Projects alone; the constraints alone, as MicroShift has them; which OpenShift it is.
const PROJECTS: [&str; 3] = ["project.openshift.io", "projects", "Project"];
const CONSTRAINTS: [&str; 3] = ["security.openshift.io", "securitycontextconstraints", "SecurityContextConstraints"];
const VERSIONS: [&str; 3] = ["config.openshift.io", "clusterversions", "ClusterVersion"];

fn definition([group, plural, kind]: [&str; 3]) -> CustomResourceDefinition {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List") },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    });
    serde_json::from_value(definition).unwrap()
}

async fn create(group: [&str; 3]) {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster::client().await);
    definitions.create(&PostParams::default(), &definition(group)).await.unwrap();
}

async fn delete([group, plural, _]: [&str; 3]) {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster::client().await);
    definitions.delete(&format!("{plural}.{group}"), &DeleteParams::default()).await.unwrap();
}

async fn check(kind: Kind) -> Result<inventory::Validated, inventory::ConnectError> {
    validate(&cluster::connection(), kind, "tidewaiter").await
}

async fn until_openshift(is: bool) {
    eventually("the cluster is (no) OpenShift", SOON, || async { (check(Kind::Openshift).await.is_ok() == is).then_some(()) }).await;
}

fn warns(found: &inventory::Validated, words: &str) -> bool {
    found.warnings.iter().any(|warning| warning.contains(words))
}

#[tokio::test]
async fn an_openshift_is_told_from_a_plain_kubernetes() {
    let _turn = turn::alone().await;
    let refused = check(Kind::Openshift).await.unwrap_err();
    assert!(refused.message.contains("serves neither OpenShift's security context constraints nor its projects"), "{refused}");
    assert!(!refused.advice.is_empty());
    let plain = check(Kind::Kubernetes).await.unwrap();
    assert!(!plain.openshift);
    assert_eq!(plain.versions.to_string(), format!("Kubernetes {}", plain.versions.kubernetes));

    for groups in [PROJECTS, CONSTRAINTS] {
        create(groups).await;
        until_openshift(true).await;
        let (found, warned) = (check(Kind::Openshift).await.unwrap(), check(Kind::Kubernetes).await.unwrap());
        delete(groups).await;
        assert!(found.openshift && warned.openshift);
        assert!(!warns(&found, "type OpenShift") && !warns(&found, "does not answer"), "{:?}", found.warnings);
        assert!(warns(&warned, "give it the type OpenShift"), "{:?}", warned.warnings);
        assert_eq!(found.versions.to_string(), format!("Kubernetes {} (OpenShift)", found.versions.kubernetes));
        until_openshift(false).await;
    }
}

#[tokio::test]
async fn an_openshift_is_called_by_its_own_version() {
    let _turn = turn::alone().await;
    create(CONSTRAINTS).await;
    create(VERSIONS).await;
    until_openshift(true).await;
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(VERSIONS[0], "v1", VERSIONS[2]), VERSIONS[1]);
    let versions: Api<DynamicObject> = Api::all_with(cluster::client().await, &kind);
    let sample = include_str!("../crates/inventory/testdata/clusterversion.json");
    let mut object: DynamicObject = serde_json::from_str(sample).unwrap();
    (object.metadata.resource_version, object.metadata.uid) = (None, None);
    eventually("the version can be created", SOON, || async { versions.create(&PostParams::default(), &object).await.ok() }).await;
    let found = check(Kind::Openshift).await.unwrap();
    delete(VERSIONS).await;
    delete(CONSTRAINTS).await;
    assert_eq!(found.versions.to_string(), format!("OpenShift 4.22.0 (Kubernetes {})", found.versions.kubernetes));
    until_openshift(false).await;
}

#[tokio::test]
async fn an_openshift_whose_own_api_is_away_is_still_one() {
    let _turn = turn::alone().await;
    let services: Api<APIService> = Api::all(cluster::client().await);
    let name = "v1.project.openshift.io";
    let nowhere = json!({
        "metadata": { "name": name },
        "spec": {
            "group": "project.openshift.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15, "insecureSkipTLSVerify": true,
            "service": { "name": "nowhere", "namespace": "default" },
        },
    });
    services.create(&PostParams::default(), &serde_json::from_value(nowhere).unwrap()).await.unwrap();
    until_openshift(true).await;
    let found = eventually("its API is known to be away", SOON, || async {
        check(Kind::Openshift).await.ok().filter(|found| warns(found, "does not answer just now"))
    })
    .await;
    let warned = check(Kind::Kubernetes).await.unwrap();
    services.delete(name, &DeleteParams::default()).await.unwrap();
    assert!(found.openshift);
    assert!(warns(&warned, "give it the type OpenShift"), "{:?}", warned.warnings);
    until_openshift(false).await;
}
