use super::*;
use crate::shape::Page;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn pods() -> Vec<Pod> {
    serde_json::from_str::<Page<Pod>>(include_str!("../../testdata/pods.json")).unwrap().items
}

fn pod_named(start: &str) -> rows::Pod {
    let object = pods().into_iter().find(|pod| pod.metadata.name.starts_with(start)).unwrap();
    pod(&object, false, "tidewaiter").unwrap()
}

fn digest_of(reference: &str, image_id: &str) -> Option<String> {
    image(reference, image_id).map(|image| format!("{}/{} {} {}", image.registry, image.name, image.tag, image.digest))
}

#[test]
fn a_running_pod_has_its_owner_node_and_containers_with_images() {
    let web = pod_named("web-");
    assert_eq!((web.project.as_str(), web.node.as_str(), web.phase.as_str(), web.ready), ("storefront", "node0", "Running", true));
    assert_eq!(web.owner_kind, "ReplicaSet");
    assert!(web.resource_version > 0);
    let kinds: Vec<_> = web.containers.iter().map(|c| (c.kind, c.state, c.image.as_ref().map(|i| i.name.as_str()))).collect();
    assert_eq!(kinds[0].0, "init");
    assert_eq!(kinds[1], ("container", "running", Some("samples/alpine")));
    assert_eq!(kinds[2], ("container", "running", Some("samples/scratch")));
    let image = web.containers[1].image.clone().unwrap();
    assert_eq!((image.registry.as_str(), image.tag.as_str()), ("10.99.5.1:5000", "1"));
    assert!(is_digest(&image.digest));
}

#[test]
fn an_image_that_no_node_can_unpack_is_known_by_its_pinned_digest() {
    let evil = pod_named("evil-diffid");
    let container = &evil.containers[0];
    assert_eq!(container.state, "waiting");
    let image = container.image.clone().unwrap();
    assert!(container.image_reference.ends_with(&image.digest), "{image:?}");
    assert_eq!(image.tag, "");
}

#[test]
fn pull_secrets_and_exit_codes_are_kept() {
    assert_eq!(pod_named("vault").pull_secrets, ["private-registry"]);
    let importer = pod_named("importer");
    assert_eq!((importer.containers[0].state, importer.containers[0].exit_code), ("terminated", Some(128)));
    assert_eq!(importer.containers[0].reason, "StartError");
}

#[test]
fn our_own_scan_pods_are_left_out_in_their_namespace_only() {
    let mut object = pods().remove(0);
    object.metadata.labels.insert(MANAGED_BY.into(), OURSELVES.into());
    assert!(pod(&object, false, "tidewaiter").is_some(), "the label alone must not hide a pod");
    object.metadata.namespace = "tidewaiter".into();
    assert!(pod(&object, false, "tidewaiter").is_none());
}

#[test]
fn the_digest_is_the_manifests_or_none() {
    let want = |text: &str| Some(text.to_owned());
    assert_eq!(digest_of("nginx:1", &format!("docker-pullable://nginx@{A}")), want(&format!("docker.io/library/nginx 1 {A}")));
    assert_eq!(digest_of("quay.io/a/b:1", &format!("quay.io/a/b@{A}")), want(&format!("quay.io/a/b 1 {A}")));
    // The id of an unpacked image is no digest that a registry knows.
    assert_eq!(digest_of("nginx:1", A), None);
    assert_eq!(digest_of("nginx:1", &format!("docker://{A}")), None);
    assert_eq!(digest_of(&format!("nginx@{B}"), A), want(&format!("docker.io/library/nginx  {B}")));
    // A pod's own pin wins over the name of the same content that the node happens to report.
    assert_eq!(digest_of(&format!("nginx:1@{B}"), &format!("mirror.example.org/nginx@{A}")), want(&format!("docker.io/library/nginx 1 {B}")));
    // A pod that names an image by its id has the name the node reports.
    assert_eq!(digest_of(A, &format!("quay.io/a/b@{B}")), want(&format!("quay.io/a/b  {B}")));
    assert_eq!(digest_of("nginx:1", ""), None);
    // CRI-O looks for short names where its node is told to.
    assert_eq!(digest_of("app", &format!("registry.local/app@{A}")), want(&format!("registry.local/app latest {A}")));
    assert_eq!(digest_of("team/app:2", &format!("registry.local/team/app@{A}")), want(&format!("registry.local/team/app 2 {A}")));
    assert_eq!(digest_of("", ""), None);
    assert_eq!(digest_of("é", "@sha256:"), None);
}

#[test]
fn a_digest_that_the_node_has_from_another_repository_is_pulled_from_there() {
    let from =
        |reference: &str, image_id: &str| image(reference, image_id).map(|image| (format!("{}/{}", image.registry, image.name), image.pulled_from)).unwrap();
    let pair = |name: &str, from: &str| (name.to_owned(), from.to_owned());
    // containerd tells the first of all names of the same content.
    assert_eq!(from("r.local/ml-zstd:1", &format!("r.local/ml@{A}")), pair("r.local/ml-zstd", "r.local/ml"));
    assert_eq!(from("quay.io/app:1", &format!("mirror.local:5000/quay/app@{A}")), pair("quay.io/app", "mirror.local:5000/quay/app"));
    assert_eq!(from("quay.io/app:1", &format!("quay.io/app@{A}")), pair("quay.io/app", ""));
    assert_eq!(from("nginx", &format!("mirror.local/other@{A}")), pair("docker.io/library/nginx", "mirror.local/other"));
    assert_eq!(from(&format!("quay.io/app@{B}"), &format!("mirror.local/app@{A}")), pair("quay.io/app", ""));
}

#[test]
fn a_node_has_its_allocatable_resources_in_plain_units() {
    let page: Page<Node> = serde_json::from_str(include_str!("../../testdata/nodes.json")).unwrap();
    let node = node(&page.items[0], false);
    assert_eq!((node.name.as_str(), node.ready, node.schedulable, node.architecture.as_str()), ("node0", true, true, "amd64"));
    assert_eq!(node.cpu_millis, 2000);
    assert!(node.memory_bytes > 1 << 30 && node.pods_max > 0, "{node:?}");
    assert!(node.runtime.starts_with("containerd://"));
}

#[test]
fn quantities_are_read_in_every_notation() {
    for (text, want) in [("2", 2.0), ("1500m", 1.5), ("16393216Ki", 16_393_216.0 * 1024.0), ("1e3", 1000.0), ("128M", 128e6), ("0", 0.0)] {
        assert_eq!(quantity(text), Some(want), "{text}");
    }
    for bad in ["", "Ki", "-1", "NaN", "é", "1 Gi"] {
        assert_eq!(quantity(bad), None, "{bad}");
    }
}

#[test]
fn an_object_with_nothing_in_it_is_read_without_a_panic() {
    let empty: Pod = serde_json::from_str(r#"{"metadata":{"labels":null},"spec":{"containers":null},"status":{}}"#).unwrap();
    let row = pod(&empty, false, "tidewaiter").unwrap();
    assert!(row.containers.is_empty());
    assert_eq!(version("not a number"), 0);
}
