use super::*;
use kube::core::Status;

fn code(code: u16, message: &str) -> Option<&'static str> {
    reason(&kube::Error::Api(Status::failure(message, "").with_code(code).boxed())).map(|reason| reason.code())
}

#[test]
fn a_missing_right_is_told_from_what_admission_does_not_like_about_the_pod() {
    for (text, want) in [
        (
            r#"pods is forbidden: User "system:serviceaccount:tidewaiter:tidewaiter" cannot create resource "pods" in API group "" in the namespace "tidewaiter""#,
            Some("forbidden"),
        ),
        (r#"pods is forbidden: User "system:anonymous" cannot create resource "pods" in API group "" in the namespace "tidewaiter""#, Some("cluster_login")),
        (r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: maximum memory usage per Container is 1Gi, but limit is 1536Mi"#, Some("pod_rejected")),
        (
            r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: exceeded quota: compute, requested: limits.memory=1536Mi, used: limits.memory=0, limited: limits.memory=1Gi"#,
            Some("quota_exceeded"),
        ),
        (r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: failed quota: compute: must specify limits.cpu"#, Some("quota_exceeded")),
        (r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: unable to validate against any pod security policy: []"#, Some("pod_rejected")),
        (
            r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: unable to validate against any security context constraint: [provider "restricted-v2": Forbidden: not usable by user or serviceaccount]"#,
            Some("pod_rejected"),
        ),
        (r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: violates PodSecurity "restricted:latest": seccompProfile"#, Some("pod_rejected")),
        (r#"admission webhook "policy.example.org" denied the request: images must come from registry.example.org"#, Some("pod_rejected")),
        (r#"pods "tidewaiter-scan-7-1a2b3c4d" is forbidden: error looking up service account tidewaiter/default: serviceaccount "default" not found"#, None),
        (r#"pods "x" is forbidden: error fetching namespace "tidewaiter": unable to find annotation openshift.io/sa.scc.uid-range"#, None),
    ] {
        assert_eq!(code(403, text), want, "{text}");
    }
    assert_eq!(code(401, "Unauthorized"), Some("cluster_login"));
    assert_eq!(code(422, r#"Pod "x" is invalid: spec.containers[0].resources.requests: Invalid value: "4Gi""#), Some("pod_rejected"));
    for passing in [429, 500, 503, 504] {
        assert_eq!(code(passing, "etcdserver: leader changed"), None, "{passing}");
    }
}

#[test]
fn a_namespace_that_is_going_or_gone_is_named() {
    let status = |code: u16, message: &str| kube::Error::Api(Status::failure(message, "").with_code(code).boxed());
    let going = r#"pods "x" is forbidden: unable to create new content in namespace scans because it is being terminated"#;
    let gone = r#"namespaces "scans" not found"#;
    for error in [status(403, going), status(404, gone)] {
        let Some(Reason::Namespace { namespace, .. }) = reason(&error) else { panic!("{error}") };
        assert_eq!(namespace, "scans");
    }
    assert_eq!(code(404, r#"pods "x" not found"#), Some("pod_rejected"));
}

#[tokio::test]
async fn a_no_for_now_is_said_after_the_first_time_and_stays_in_the_servers_own_words() {
    let text = r#"pods "x" is forbidden: error fetching namespace "tidewaiter": unable to find annotation openshift.io/sa.scc.uid-range"#;
    let heard = std::sync::Mutex::new(vec![]);
    let say = |reason: Reason| {
        heard.lock().unwrap().push(reason.message());
        std::future::ready(Ok(()))
    };
    let until = Instant::now() + PAUSE * 5;
    let asked = ask_saying::<(), _, _>(until, say, || async { Err(kube::Error::Api(Status::failure(text, "Forbidden").with_code(403).boxed())) }).await;
    let Err(Halt::Because(reason)) = asked else { panic!("it stays a no") };
    assert_eq!((reason.code(), reason.message()), ("pod_rejected", format!("The cluster refuses the scan pod: {text}")));
    assert!(reason.advice().contains("range of users"), "{}", reason.advice());
    assert_eq!(*heard.lock().unwrap(), [reason.message()], "once, since it does not change");
}

#[test]
fn an_error_that_stays_is_told_in_the_servers_own_words_and_without_a_dump() {
    let status = |code: u16, message: &str| kube::Error::Api(Status::failure(message, "x").with_code(code).boxed());
    let account = r#"pods "x" is forbidden: error looking up service account tidewaiter/default: serviceaccount "default" not found"#;
    for (error, code, message) in [
        (status(500, "etcdserver: no leader"), "cluster_error", "The cluster's API server answers with an error (500): etcdserver: no leader".to_owned()),
        (status(403, account), "pod_rejected", format!("The cluster refuses the scan pod: {account}")),
    ] {
        let reason = lasting(&error);
        assert_eq!((reason.code(), reason.message()), (code, message));
    }
    assert!(lasting(&status(403, account)).advice().contains("service account default"));
    assert!(!lasting(&status(503, &"x\n".repeat(100_000))).message().contains("Status {"));
    assert!(lasting(&status(503, &"x\n".repeat(100_000))).message().len() < 2_000);
}
