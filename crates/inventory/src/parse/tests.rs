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
    assert_eq!((node.name.as_str(), node.ready, node.schedulable, node.architecture.as_str()), ("node0", Some(true), true, "amd64"));
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

/// Real objects of Kubernetes 1.36.
fn sample(text: &str) -> rows::Pod {
    pod(&serde_json::from_str::<Pod>(text).unwrap(), false, "tidewaiter").unwrap()
}

fn of_json(spec: Value, status: Value) -> Vec<(&'static str, String)> {
    let object = json!({ "metadata": { "name": "a", "uid": "u" }, "spec": spec, "status": status });
    let row = pod(&serde_json::from_value(object).unwrap(), false, "tidewaiter").unwrap();
    row.containers.into_iter().map(|container| (container.state, container.reason)).collect()
}

#[test]
fn a_sidecar_is_told_from_an_init_container() {
    let row = sample(include_str!("../../testdata/pod-sidecar.json"));
    let kinds: Vec<_> = row.containers.iter().map(|c| (c.name.as_str(), c.kind, c.sidecar)).collect();
    assert!(kinds.contains(&("native-sidecar", "init", true)), "{kinds:?}");
    assert!(kinds.iter().any(|(_, kind, sidecar)| *kind == "ephemeral" && !sidecar), "{kinds:?}");
    assert!(kinds.contains(&("setup", "init", false)), "{kinds:?}");
}

#[test]
fn a_state_that_the_cluster_does_not_tell_is_not_made_up() {
    let spec = || json!({ "containers": [{ "name": "c" }], "initContainers": [{ "name": "i" }] });
    let both = |state: &'static str, reason: &str| vec![(state, reason.to_owned()); 2];
    // Refused by its node, evicted before it ran: there are no statuses.
    assert_eq!(of_json(spec(), json!({ "phase": "Failed", "reason": "NodeAffinity", "message": "Pod was rejected" })), both("unknown", "NodeAffinity"));
    assert_eq!(of_json(spec(), json!({ "phase": "Failed", "reason": "Evicted" })), both("unknown", "Evicted"));
    // In a pod that has ended nothing waits or runs, whatever was told last.
    for state in [json!({ "waiting": { "reason": "ContainerCreating" } }), json!({ "running": {} }), json!({}), Value::Null] {
        let told = json!([{ "name": "c", "state": state }]);
        let ended = json!({ "phase": "Failed", "reason": "DeadlineExceeded", "containerStatuses": told, "initContainerStatuses": null });
        assert_eq!(of_json(spec(), ended), both("unknown", "DeadlineExceeded"), "{told}");
    }
    let end = json!([{ "name": "c", "state": { "terminated": { "exitCode": 0, "reason": "Completed" } } }]);
    let ended = of_json(spec(), json!({ "phase": "Succeeded", "containerStatuses": end }));
    assert_eq!(ended, [("unknown", String::new()), ("terminated", "Completed".into())]);
    // Before the node has told anything, a pending pod's containers wait; elsewhere nobody knows.
    assert_eq!(of_json(spec(), json!({ "phase": "Pending" })), both("waiting", ""));
    for phase in ["Running", "Unknown", "", "Later"] {
        assert_eq!(of_json(spec(), json!({ "phase": phase })), both("unknown", ""), "{phase}");
    }
    // A status without a state waits: that is the API's own default.
    let told = json!([{ "name": "c", "state": {} }]);
    assert_eq!(of_json(spec(), json!({ "phase": "Running", "containerStatuses": told }))[1].0, "waiting");
}

#[test]
fn conditions_and_phases_that_are_missing_stay_unknown() {
    let ready = |conditions: Value| {
        let object = json!({ "metadata": { "name": "n" }, "status": { "conditions": conditions } });
        node(&serde_json::from_value(object).unwrap(), false).ready
    };
    assert_eq!(ready(json!([{ "type": "Ready", "status": "True" }])), Some(true));
    assert_eq!(ready(json!([{ "type": "Ready", "status": "False" }])), Some(false));
    // The node's controller has not heard of it for a while; kubectl says NotReady too.
    assert_eq!(ready(json!([{ "type": "Ready", "status": "Unknown" }])), Some(false));
    assert_eq!(ready(json!([{ "type": "DiskPressure", "status": "False" }])), None);
    assert_eq!(ready(Value::Null), None);
    let nameless: Namespace = serde_json::from_value(json!({ "metadata": { "name": "n" } })).unwrap();
    assert_eq!(project(&nameless, false).phase, "");
}

#[test]
fn pods_of_a_current_kubernetes_are_read_as_they_are() {
    let states = |text: &str| sample(text).containers.into_iter().map(|c| (c.state, c.reason)).collect::<Vec<_>>();
    assert!(states(include_str!("../../testdata/pod-scheduling-gated.json")).iter().all(|(state, _)| *state == "waiting"));
    let crashing = states(include_str!("../../testdata/pod-crashloop.json"));
    assert_eq!(crashing, [("waiting", "RunContainerError".to_owned())]);
}

#[test]
fn names_that_come_twice_and_times_beyond_reason_are_stored_once_and_within_it() {
    let object = json!({
        "metadata": { "name": "a", "uid": "u", "creationTimestamp": "+262000-01-01T00:00:00Z" },
        "spec": { "containers": [{ "name": "c" }, { "name": "c" }, { "name": "c\u{0}" }, { "name": "d" }], "initContainers": [{ "name": "c" }] },
        "status": { "containerStatuses": [{ "name": "d", "state": { "running": { "startedAt": "-0044-03-15T00:00:00Z" } } }] },
    });
    let row = pod(&serde_json::from_value(object).unwrap(), false, "tidewaiter").unwrap();
    let names: Vec<_> = row.containers.iter().map(|c| (c.kind, c.name.as_str())).collect();
    assert_eq!(names, [("init", "c"), ("container", "c"), ("container", "d")]);
    assert_eq!(row.created_at.to_rfc3339(), "9999-12-31T23:59:59+00:00");
    assert_eq!(row.containers[2].started_at, Some(DateTime::UNIX_EPOCH));
}

/// As Go reads them: null says nothing.
#[test]
fn null_is_as_if_it_were_not_there() {
    let text = r#"{"metadata":{"name":"p","uid":"u","namespace":null,"labels":{"a":null,"b":"c"},"ownerReferences":[{"kind":null,"name":null}]},
        "spec":{"nodeName":null,"restartPolicy":null,"containers":[{"name":"c","image":null,"command":null,"resources":null}],"imagePullSecrets":[{"name":null}]},
        "status":{"phase":null,"reason":null,"message":null,"podIP":null,"conditions":null,"containerStatuses":[{"name":"c","imageID":null,"ready":null,
        "restartCount":null,"state":{"waiting":{"reason":null,"message":null}}}]}}"#;
    let object: Pod = serde_json::from_str(text).unwrap();
    let found = pod(&object, false, "tidewaiter").unwrap();
    assert_eq!((found.phase.as_str(), found.labels.clone(), found.pull_secrets.len()), ("", json!({"a": "", "b": "c"}), 0));
    assert_eq!((found.containers[0].state, found.containers[0].image.is_none()), ("waiting", true));
    let node: Node =
        serde_json::from_str(r#"{"metadata":null,"spec":{"unschedulable":null},"status":{"nodeInfo":{"architecture":null},"addresses":[{"type":null}]}}"#)
            .unwrap();
    assert!(node.status.node_info.architecture.is_empty());
    let page: crate::shape::Page<Namespace> = serde_json::from_str(r#"{"metadata":{"continue":null,"resourceVersion":null},"items":null}"#).unwrap();
    assert!(page.items.is_empty() && page.metadata.next.is_empty());
}
