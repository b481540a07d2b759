use super::*;
use crate::lease::State;
use model::ids::ProviderId;

pub(crate) fn scan(id: i64) -> Scan {
    Scan {
        id: ScanId(id),
        digest: format!("sha256:{}", "d".repeat(64)),
        image: None,
        provider: ProviderId(1),
        task: None,
        reference: format!("registry.example.org/shop/cart@sha256:{}", "d".repeat(64)),
        tried: vec![],
        state: State::CreatingPod,
        fence: 1,
        attempt: 1,
        namespace: "tidewaiter".into(),
        pod_name: name(ScanId(id), "1a2b3c4d", 1),
        pod_uid: String::new(),
        token: None,
        warnings: vec![],
        state_deadline_at: None,
        reads_begun: 1,
    }
}

fn manifest(kind: Kind) -> Value {
    let settings = Settings {
        inspector_image: format!("registry.example.org/tidewaiter/inspector@sha256:{}", "a".repeat(64)),
        plain_http_registries: vec!["10.0.0.1:5000".into()],
        ..Settings::default()
    };
    let scan = scan(7);
    let parts = Parts { scan: &scan, kind, instance: "1a2b3c4d", token: b"token", logins: 2, has_ca: true, with_priority: true, platform: Some("linux/arm64") };
    serde_json::to_value(pod(&settings, &parts).unwrap()).unwrap()
}

#[test]
fn the_pod_of_a_scan_is_made_like_this() {
    insta::assert_yaml_snapshot!(manifest(Kind::Kubernetes));
}

#[test]
fn on_openshift_the_pod_asks_for_no_user_or_group_and_is_the_same_otherwise() {
    let pod = manifest(Kind::Openshift);
    insta::assert_yaml_snapshot!(pod["spec"]["securityContext"]);
    let mut elsewhere = manifest(Kind::Kubernetes);
    elsewhere["spec"]["securityContext"] = pod["spec"]["securityContext"].clone();
    assert_eq!(pod, elsewhere);
    for container in pod["spec"]["containers"].as_array().unwrap() {
        assert_eq!((&container["securityContext"]["runAsUser"], &container["securityContext"]["runAsGroup"]), (&Value::Null, &Value::Null));
    }
}

/// Source: Kubernetes, Pod Security Standards, Baseline and Restricted, control by control.
#[test]
fn the_pod_satisfies_every_control_of_the_restricted_profile() {
    Kind::ALL.into_iter().for_each(|kind| assert_restricted(&manifest(kind)));
}

fn assert_restricted(pod: &Value) {
    let spec = &pod["spec"];
    for shared in ["hostNetwork", "hostPID", "hostIPC", "ephemeralContainers"] {
        assert_eq!(spec[shared], Value::Null, "{shared}");
    }
    let whole = &spec["securityContext"];
    for set in ["windowsOptions", "seLinuxOptions", "appArmorProfile", "sysctls"] {
        assert_eq!(whole[set], Value::Null, "{set}");
    }
    assert_eq!(whole["runAsNonRoot"], true);
    assert_ne!(whole["runAsUser"], 0);
    assert_eq!(whole["seccompProfile"]["type"], "RuntimeDefault");
    let allowed = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in spec["volumes"].as_array().unwrap() {
        for kind in volume.as_object().unwrap().keys().filter(|key| *key != "name") {
            assert!(allowed.contains(&kind.as_str()), "volume of type {kind}");
        }
    }
    for container in spec["containers"].as_array().unwrap().iter().chain(spec["initContainers"].as_array().unwrap()) {
        let own = &container["securityContext"];
        assert_ne!(own["privileged"], true);
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(own["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(own["capabilities"]["add"], Value::Null);
        assert_eq!(own["runAsNonRoot"], true);
        assert_ne!(own["runAsUser"], 0);
        assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(own["procMount"], Value::Null);
        assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
        assert_eq!(container["lifecycle"], Value::Null);
    }
}

#[test]
fn the_pod_holds_the_hash_of_its_token_and_neither_token_nor_service_account() {
    let pod = manifest(Kind::Kubernetes);
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
    for container in ["containers", "initContainers"] {
        let variables = pod["spec"][container][0]["env"].as_array().unwrap();
        let hash = variables.iter().find(|variable| variable["name"] == env::TOKEN_SHA256).unwrap();
        assert_eq!(hash["value"], hex::encode(Sha256::digest(b"token")));
        assert!(variables.iter().all(|variable| variable["value"] != "token"));
    }
}

#[test]
fn logins_are_where_the_image_is_pulled_and_nowhere_else() {
    let pod = manifest(Kind::Kubernetes);
    let has = |container: &Value, list: &str, name: &str| container[list].as_array().unwrap().iter().any(|one| one["name"] == name);
    let (pull, inspect) = (&pod["spec"]["initContainers"][0], &pod["spec"]["containers"][0]);
    assert!(has(pull, "volumeMounts", "auth") && !has(inspect, "volumeMounts", "auth"));
    for told in [env::AUTH, env::REGISTRY_CA, env::PLAIN_HTTP, env::PLATFORM] {
        assert!(has(pull, "env", told) && !has(inspect, "env", told), "{told}");
    }
    assert_eq!(pull["resources"], inspect["resources"], "the pod needs what one of them needs");
}

#[test]
fn a_token_is_not_shown() {
    let scan = scan(7);
    let parts = Parts { scan: &scan, kind: Kind::Kubernetes, instance: "i", token: b"hunter2", logins: 1, has_ca: false, with_priority: true, platform: None };
    let shown = format!("{parts:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&format!("{:?}", b"hunter2")), "{shown}");
    let scan = Scan { token: Some(b"hunter2".to_vec()), ..scan };
    assert!(!format!("{scan:?}").contains(&format!("{:?}", b"hunter2")), "{scan:?}");
}

/// Source: Kubernetes, Network Policies.
#[test]
fn the_network_policy_that_is_made_is_the_one_that_ships() {
    let shipped = include_str!("../../../../config/kubernetes-provider.yaml");
    let shipped = shipped.split("\n---\n").find(|document| document.contains("kind: NetworkPolicy")).unwrap();
    let shipped: Value = serde_yaml_ng::from_str(shipped).unwrap();
    let made = serde_json::to_value(network_policy("tidewaiter").unwrap()).unwrap();
    assert_eq!(made, shipped);
}

#[test]
fn the_inspector_is_told_how_much_storage_and_memory_it_has() {
    for (quantity, expected) in [("12Gi", 12 << 30), ("1.5G", 1_500_000_000), ("4096", 4096), ("2e9", 2_000_000_000), ("512Mi", 512 << 20)] {
        assert_eq!(bytes(quantity), Some(expected), "{quantity}");
    }
    for none in ["", "Gi", "much", "1.2.3", "-1", "1e99", "0"] {
        assert_eq!(bytes(none), None, "{none}");
    }
    for storage in [1 << 30, 4 << 30, 12 << 30, 100 << 30] {
        assert!((storage / 2..storage / 10 * 9).contains(&room(storage)), "{storage}");
    }
}
