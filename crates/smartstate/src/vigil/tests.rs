use super::*;

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({ "metadata": { "name": "p", "uid": "u" }, "spec": { "containers": [] }, "status": status })).unwrap()
}

fn with_container(state: Value) -> Pod {
    let status = json!({ "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    pod(json!({ "phase": "Pending", "containerStatuses": [status] }))
}

fn code(sight: Sight) -> &'static str {
    match sight {
        Sight::Over(reason) => reason.code(),
        other => panic!("{other:?} is not over"),
    }
}

#[test]
fn a_pod_that_finds_no_node_says_what_the_scheduler_says() {
    let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient memory." });
    let sight = look(Some(&pod(json!({ "phase": "Pending", "conditions": [condition] }))), "u");
    assert_eq!(sight, Sight::Coming { waits_for: "0/1 nodes: 1 Insufficient memory.".into(), no_room: true });
}

#[test]
fn an_image_that_fails_once_may_come_yet_and_one_in_back_off_does_not() {
    let waiting = |reason: &str| with_container(json!({ "waiting": { "reason": reason, "message": "not found" } }));
    assert!(matches!(look(Some(&waiting("ErrImagePull")), "u"), Sight::Coming { .. }));
    assert_eq!(code(look(Some(&waiting("ImagePullBackOff")), "u")), "inspector_pull_error");
    assert_eq!(code(look(Some(&waiting("CreateContainerConfigError")), "u")), "pod_config_error");
}

#[test]
fn memory_eviction_and_exit_codes_are_told_apart() {
    let ended = |reason: &str, code: i32| with_container(json!({ "terminated": { "reason": reason, "exitCode": code, "message": "a\nlast words\n" } }));
    assert_eq!(code(look(Some(&ended("OOMKilled", 137)), "u")), "out_of_memory");
    let Sight::Over(reason) = look(Some(&ended("Error", 2)), "u") else { panic!("it is over") };
    assert_eq!(reason.message(), "The scan pod ended before its report was fetched: exit code 2: last words");
    assert_eq!(code(look(Some(&pod(json!({ "phase": "Failed", "reason": "Evicted", "message": "disk" }))), "u")), "evicted");
}

#[test]
fn a_pod_that_is_gone_or_is_another_is_lost() {
    let running = with_container(json!({ "running": {} }));
    assert_eq!(look(Some(&running), "u"), Sight::Running);
    assert!(matches!(look(Some(&running), "other"), Sight::Lost(_)));
    assert!(matches!(look(None, "u"), Sight::Lost(_)));
    assert!(matches!(look(Some(&pod(json!({ "phase": "Running", "reason": "NodeLost" }))), "u"), Sight::Lost(_)));
}
