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

/// What a kubelet of 1.33 leaves of a pod whose container ended with `exit`, and `metadata` and `status` besides.
fn over(metadata: Value, mut status: Value, exit: Value) -> Pod {
    status["containerStatuses"] =
        json!([{ "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "started": false, "state": { "terminated": exit } }]);
    let mut pod = json!({ "metadata": { "name": "p", "uid": "u" }, "spec": { "activeDeadlineSeconds": 3600, "containers": [] }, "status": status });
    pod["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    serde_json::from_value(pod).unwrap()
}

#[test]
fn the_pods_own_reason_comes_before_the_exit_code_of_its_container() {
    let killed = json!({ "exitCode": 137, "reason": "Error", "startedAt": "2026-11-23T10:00:00Z", "finishedAt": "2026-11-23T10:00:40Z" });
    let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage." });
    assert_eq!(code(look(Some(&over(json!({}), evicted, killed.clone())), "u")), "evicted");
    let full = json!({ "phase": "Failed", "reason": "Evicted", "message": "Usage of EmptyDir volume \"work\" exceeds the limit \"12Gi\". " });
    let Sight::Over(reason) = look(Some(&over(json!({}), full, killed.clone())), "u") else { panic!("it is over") };
    assert!(reason.advice().contains("smartstate.storage_limit"), "{}", reason.advice());
    let late = json!({ "phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline" });
    let peaceful = json!({ "exitCode": 0, "reason": "Completed" });
    let Sight::Over(reason) = look(Some(&over(json!({}), late, peaceful)), "u") else { panic!("it is over") };
    assert_eq!((reason.code(), reason.message().as_str()), ("timeout", "The scan pod ran for longer than 3600 seconds"));
    let node = json!({ "phase": "Failed", "reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown." });
    assert!(matches!(look(Some(&over(json!({}), node, killed.clone())), "u"), Sight::Lost(_)));
    let unknown = json!({ "exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located when the pod was terminated" });
    assert!(matches!(look(Some(&over(json!({}), json!({ "phase": "Failed" }), unknown)), "u"), Sight::Lost(_)));
    assert_eq!(code(look(Some(&over(json!({}), json!({ "phase": "Failed" }), killed)), "u")), "out_of_memory");
}

#[test]
fn a_pod_that_was_deleted_in_peace_is_lost_however_its_container_ended() {
    let deleted = json!({ "deletionTimestamp": "2026-11-23T10:00:41Z", "deletionGracePeriodSeconds": 1 });
    for exit in [json!({ "exitCode": 0, "reason": "Completed" }), json!({ "exitCode": 137, "reason": "Error" }), json!({ "exitCode": 143, "reason": "Error" })]
    {
        let sight = look(Some(&over(deleted.clone(), json!({ "phase": "Running" }), exit.clone())), "u");
        assert_eq!(sight, Sight::Lost("somebody deleted it".into()), "{exit}");
    }
    let full = over(deleted, json!({ "phase": "Failed" }), json!({ "exitCode": 137, "reason": "OOMKilled" }));
    assert_eq!(code(look(Some(&full), "u")), "out_of_memory");
}

#[test]
fn an_inspector_that_kept_the_deadline_by_itself_ran_into_it() {
    let exit = |to: &str| json!({ "exitCode": 0, "reason": "Completed", "startedAt": "2026-11-23T10:00:02Z", "finishedAt": to });
    assert_eq!(code(look(Some(&over(json!({}), json!({ "phase": "Succeeded" }), exit("2026-11-23T11:00:02Z"))), "u")), "timeout");
    assert_eq!(code(look(Some(&over(json!({}), json!({ "phase": "Succeeded" }), exit("2026-11-23T10:10:00Z"))), "u")), "pod_failed");
}

#[test]
fn a_pull_that_ran_into_the_pods_deadline_says_so_and_what_to_do() {
    let with_deadline = |mut pod: Pod| {
        pod.spec.as_mut().unwrap().active_deadline_seconds = Some(3600);
        pod
    };
    let exit = |code: i32, to: &str| {
        let reason = if code == 0 { "Completed" } else { "Error" };
        with_deadline(pulling(json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": "2026-11-23T10:00:02Z", "finishedAt": to } })))
    };
    let late = Sight::Over(Reason::PullDeadline { secs: 3600 });
    assert_eq!(look(Some(&exit(1, "2026-11-23T11:00:02Z")), "u"), late);
    let mut killed = exit(137, "2026-11-23T10:59:00Z");
    killed.status.as_mut().unwrap().reason = Some("DeadlineExceeded".into());
    assert_eq!(look(Some(&killed), "u"), late);
    let Sight::Over(reason) = late else { panic!("it is over") };
    assert!(reason.message().contains("not pulled within the 3600 seconds") && reason.advice().contains("registry"), "{}", reason.message());
    assert_eq!(code(look(Some(&exit(1, "2026-11-23T10:10:00Z")), "u")), "pod_failed", "it failed long before");
    assert_eq!(code(look(Some(&exit(2, "2026-11-23T11:00:02Z")), "u")), "pod_failed", "it did not end in peace");
}

#[test]
fn what_is_noted_of_events_holds_no_nul() {
    let mut events = json!([{ "message": "a\0b", "count": 1, "at": null }]);
    strip_nul(&mut events);
    assert_eq!(events, json!([{ "message": "ab", "count": 1, "at": null }]));
}

/// As a kubelet tells them while the first container works: the other one waits.
fn pulling(state: Value) -> Pod {
    let status = |name: &str, state: Value| json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    pod(json!({
        "phase": "Pending",
        "initContainerStatuses": [status(PULL_CONTAINER, state)],
        "containerStatuses": [status(CONTAINER, json!({ "waiting": { "reason": "PodInitializing" } }))],
    }))
}

#[test]
fn the_container_that_pulls_counts_until_it_has_ended_well() {
    assert_eq!(look(Some(&pulling(json!({ "running": {} }))), "u"), Sight::Running);
    assert!(matches!(look(Some(&pulling(json!({ "waiting": { "reason": "PodInitializing" } }))), "u"), Sight::Coming { .. }));
    for (reason, want) in [("ImagePullBackOff", "inspector_pull_error"), ("CreateContainerConfigError", "pod_config_error")] {
        assert_eq!(code(look(Some(&pulling(json!({ "waiting": { "reason": reason, "message": "m" } }))), "u")), want);
    }
    let ended = |reason: &str, code: i32| pulling(json!({ "terminated": { "reason": reason, "exitCode": code, "message": "a\nlast words\n" } }));
    assert_eq!(code(look(Some(&ended("OOMKilled", 137)), "u")), "out_of_memory");
    let Sight::Over(reason) = look(Some(&ended("Error", 1)), "u") else { panic!("it is over") };
    assert_eq!(reason.message(), "The scan pod ended before its report was fetched: exit code 1: last words");
    assert!(matches!(look(Some(&ended("Completed", 0)), "u"), Sight::Coming { .. }), "the other one is on its way");
}

/// Source: what schedulers and kubelets of 1.36 write.
#[test]
fn events_have_the_time_that_their_api_gives_them() {
    let at = |event: Value| told(&serde_json::from_value(event).unwrap())["at"].clone();
    let base = json!({ "metadata": {}, "involvedObject": {}, "reason": "FailedScheduling", "firstTimestamp": null, "lastTimestamp": null, "count": null });
    let with = |fields: Value| {
        let mut event = base.clone();
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    assert_eq!(at(with(json!({ "eventTime": "2026-11-28T15:58:26.065193Z" }))), "2026-11-28T15:58:26.065193Z");
    let series = json!({ "eventTime": "2026-11-28T15:58:26.065193Z", "series": { "count": 3, "lastObservedTime": "2026-11-28T16:00:00.000001Z" } });
    assert_eq!(at(with(series.clone())), "2026-11-28T16:00:00.000001Z");
    assert_eq!(told(&serde_json::from_value(with(series)).unwrap())["count"], 3);
    let kubelet = json!({ "eventTime": null, "firstTimestamp": "2026-11-28T15:54:02Z", "lastTimestamp": "2026-11-28T15:55:41Z", "count": 5 });
    assert_eq!(at(with(kubelet)), "2026-11-28T15:55:41Z");
    assert_eq!(at(with(json!({ "firstTimestamp": "2026-11-28T15:54:02Z" }))), "2026-11-28T15:54:02Z");
    assert_eq!(at(base.clone()), Value::Null);
}
