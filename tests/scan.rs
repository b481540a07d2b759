//! SmartState Analysis on the real cluster with the real inspector: what is found, what is said when it cannot be, and that nothing is left behind.

pub mod stage;

use crate::support::{cluster, eventually, setting, turn};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use model::ids::ScanId;
use queue::task::{self, TaskStatus};
use serde_json::json;
use smartstate::Feed;
use sqlx::PgPool;
use stage::{FINISHED_WITHIN, Stage};
use std::collections::HashMap;
use std::time::Duration;

const FAULTS: [&str; 4] = ["accounts_no_empty_password", "accounts_only_root_uid_0", "files_passwd_mode", "files_shadow_mode"];
const HOSTILE: [&str; 7] = ["evil-dotdot", "evil-abs", "evil-symlink", "evil-hardlink", "evil-fifo", "evil-bomb", "evil-diffid"];

/// Analyses samples in one request; gives the scan of each.
async fn analyse_all<'a>(stage: &Stage, samples: &[&'a str]) -> HashMap<&'a str, ScanId> {
    let mut images = HashMap::new();
    for sample in samples {
        images.insert(stage.sample(sample).await, *sample);
    }
    let accepted = stage.request(&images.keys().copied().collect::<Vec<_>>()).await;
    let scans: HashMap<&str, ScanId> = accepted.images.iter().map(|image| (images[&image.image], image.scan)).collect();
    for scan in scans.values() {
        stage.finished(*scan).await;
    }
    let bulk = stage.task(accepted.task.unwrap()).await;
    assert_eq!(usize::try_from(bulk.children_finished).unwrap(), samples.len(), "{bulk:?}");
    scans
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scan_tells_the_faults_of_an_image_and_keeps_the_evidence(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.content.vulnerability_feeds = vec![Feed { id: "debian".into(), version: "12".into(), location: setting("TIDEWAITER_TEST_OVAL"), ..Feed::default() }];
    stage.start();
    let scans = analyse_all(&stage, &["deb12-bad", "deb12-tiny"]).await;
    for fault in FAULTS {
        assert_eq!(stage.rule(scans["deb12-bad"], fault).await.as_deref(), Some("fail"), "{fault} of deb12-bad");
        assert_eq!(stage.rule(scans["deb12-tiny"], fault).await.as_deref(), Some("pass"), "{fault} of deb12-tiny");
    }
    assert!(stage.failed(scans["deb12-bad"], "high").await > 0);
    assert!(stage.packages(scans["deb12-bad"]).await.contains(&"bash".to_owned()));
    let layers: Vec<(String, String, String)> = sqlx::query_as("SELECT layer, state, reason FROM scan_layers WHERE scan_id = $1 ORDER BY layer")
        .bind(scans["deb12-bad"])
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(layers.len(), 3);
    assert!(layers.iter().all(|(_, state, _)| state == "evaluated"), "{layers:?}");
    let kept: Vec<(String, String, Vec<u8>, i64)> = sqlx::query_as("SELECT layer, kind, body, size_bytes FROM scan_artifacts WHERE scan_id = $1")
        .bind(scans["deb12-bad"])
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    for (layer, kind) in [("benchmark", "arf"), ("benchmark", "html"), ("guide", "arf"), ("guide", "html"), ("vulnerabilities", "arf")] {
        let (.., body, size) = kept.iter().find(|(of, what, ..)| of == layer && what == kind).unwrap_or_else(|| panic!("no {kind} of {layer}"));
        assert!(!body.is_empty() && *size > 0);
    }
    stage.strike().await;
}

/// One result of the vulnerability layer: title, outcome, message.
type Found = (String, String, String);

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_debian_system_shows_its_cves_with_a_feed_of_real_size_and_default_limits(pool: PgPool) {
    const MADE_UP: [&str; 5] = ["glibc", "util-linux", "pam", "shadow", "zlib"];
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.content.vulnerability_feeds = vec![Feed { id: "debian".into(), version: "12".into(), location: setting("TIDEWAITER_TEST_OVAL"), ..Feed::default() }];
    stage.start();
    let scans = analyse_all(&stage, &["debian-main", "debian-upgraded"]).await;
    let mut failures = vec![];
    for name in ["debian-main", "debian-upgraded"] {
        let ended = stage.finished(scans[name]).await;
        assert_eq!(ended.outcome, "ok", "{name}: {ended:?}");
        let found: Vec<Found> = sqlx::query_as(
            "SELECT title, outcome, message FROM rule_results JOIN rules ON rules.id = rule_key WHERE scan_id = $1 AND layer = 'vulnerabilities' ORDER BY ordinal",
        )
        .bind(scans[name])
        .fetch_all(&stage.pool)
        .await
        .unwrap();
        assert!(found.iter().all(|(_, outcome, _)| outcome == "fail"), "what passed has no row: {found:?}");
        for (number, source) in (1..).zip(MADE_UP) {
            let (.., message) =
                found.iter().find(|(title, ..)| title.starts_with(&format!("CVE-2030-{number} "))).unwrap_or_else(|| panic!("{source} in {name}"));
            assert!(message.starts_with("Through ") && message.contains(&format!("(of the source package {source} ")), "{message}");
        }
        let libc = found.iter().find(|(title, ..)| title.starts_with("CVE-2030-1 ")).unwrap();
        assert!(libc.2.contains("libc6"), "{}", libc.2);
        let (rules, failed, all, evaluated, passed, others, undecided): (i32, i32, i32, i32, i32, i32, i32) = sqlx::query_as(
            "SELECT rules, failed, definitions, definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided
             FROM scan_layers WHERE scan_id = $1 AND layer = 'vulnerabilities' AND state = 'evaluated'",
        )
        .bind(scans[name])
        .fetch_one(&stage.pool)
        .await
        .unwrap();
        assert_eq!((all, undecided, rules, failed), (40_000, 0, evaluated, i32::try_from(found.len()).unwrap()));
        assert_eq!((evaluated - failed, all - evaluated), (passed, others));
        failures.push(failed);
    }
    assert!(failures[0] > failures[1], "the upgrade mends the real ones");
    assert_eq!(failures[1], 5, "and has those that no version mends");
    let timings: Vec<(Option<i64>, Option<i64>)> =
        sqlx::query_as("SELECT (timings ->> 'choose')::BIGINT, (timings ->> 'vulnerabilities')::BIGINT FROM scans").fetch_all(&stage.pool).await.unwrap();
    assert!(timings.iter().all(|(choose, evaluated)| choose.is_some() && evaluated.is_some()), "{timings:?}");
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn each_kind_of_image_shows_its_own_packages_or_why_there_are_none(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let scans = analyse_all(&stage, &["ml", "rpm-sqlite", "alpine", "distroless", "scratch", "empty", "bad-status"]).await;
    let versions: Vec<String> =
        sqlx::query_scalar("SELECT version FROM packages WHERE scan_id = $1 AND name = 'bash'").bind(scans["ml"]).fetch_all(&stage.pool).await.unwrap();
    assert_eq!(versions, ["5.2.15-2+b13"], "the corrected bash of the last layer");
    assert_eq!(stage.packages(scans["rpm-sqlite"]).await.len(), 4);
    assert_eq!(stage.packages(scans["alpine"]).await, ["busybox", "musl"]);
    assert_eq!(stage.packages(scans["distroless"]).await, ["base-files", "libc6", "tzdata"]);
    for nothing in ["scratch", "empty"] {
        let ended = stage.finished(scans[nothing]).await;
        assert_eq!((ended.outcome.as_str(), ended.reason_code.as_str()), ("warn", "no_operating_system"), "{nothing}: {ended:?}");
        assert!(ended.message.starts_with("No operating system found in this image"), "{}", ended.message);
    }
    let ended = stage.finished(scans["bad-status"]).await;
    assert_eq!((ended.outcome.as_str(), ended.reason_code.as_str()), ("warn", "packages_unreadable"), "{ended:?}");
    assert!(ended.message.starts_with("The package database of this image cannot be read: "), "{}", ended.message);
    let unchecked: Vec<bool> = sqlx::query_scalar("SELECT fully_checked FROM inspections WHERE scan_id = ANY($1)")
        .bind(["scratch", "empty", "bad-status"].map(|name| scans[name].0))
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(unchecked, [false; 3]);
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_hostile_image_ends_in_a_clear_result(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let scans = analyse_all(&stage, &HOSTILE).await;
    for name in HOSTILE {
        let ended = stage.finished(scans[name]).await;
        match name {
            "evil-diffid" => assert_eq!(ended.reason_code, "bad_image", "{name}: {ended:?}"),
            "evil-bomb" => assert!(ended.outcome != "error" || ended.reason_code == "too_large", "{name}: {ended:?}"),
            _ => assert!(matches!(ended.outcome.as_str(), "ok" | "warn") || ended.reason_code == "bad_image", "{name}: {ended:?}"),
        }
        assert!(ended.outcome != "error" || !ended.advice.is_empty(), "{name}: {ended:?}");
    }
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_cancelled_scan_ends_soon_and_takes_its_pod_along(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let image = stage.sample("deb12-tiny").await;
    let accepted = stage.request(&[image]).await;
    let (scan, id) = (accepted.images[0].scan, accepted.task.unwrap());
    stage.until_state(scan, &["starting_pod", "pulling", "evaluating"]).await;
    task::request_cancel(&mut stage.pool.acquire().await.unwrap(), &stage.clock, &[id]).await.unwrap();
    let ended = stage.finished(scan).await;
    assert_eq!((ended.outcome.as_str(), ended.reason_code.as_str()), ("cancelled", "cancelled"));
    assert_eq!(stage.task(id).await.status, Some(TaskStatus::Cancelled));
    let retried = smartstate::retry(&mut stage.pool.acquire().await.unwrap(), &stage.clock, "admin", id).await.unwrap();
    assert!(retried.is_some_and(|again| again != id), "a cancelled task can be retried");
    eventually("the retried scan is finished", FINISHED_WITHIN, || async { (stage.task(retried.unwrap()).await.status == Some(TaskStatus::Ok)).then_some(()) })
        .await;
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_image_that_its_registry_no_longer_has_says_so(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let image = stage.image(&stage.registry, "samples/alpine", &format!("sha256:{}", "1".repeat(64))).await;
    let (_, ended) = stage.analyse(image).await;
    assert_eq!((ended.outcome.as_str(), ended.reason_code.as_str()), ("error", "image_not_found"), "{ended:?}");
    let raised: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM apalis.jobs WHERE ENCODE(job, 'escape') LIKE '%containerimage_scan_abort%'")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(raised, 1);
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_private_image_is_pulled_with_the_login_of_the_workload_that_uses_it(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let registry = setting("TIDEWAITER_TEST_PRIVATE_REGISTRY");
    let space = cluster::Space::new("private").await;
    let login = json!({ "auths": { &registry: { "username": "puller", "password": "tidewaiter" } } });
    let secret = json!({ "metadata": { "name": "login" }, "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": login.to_string() } });
    Api::<Secret>::namespaced(space.client.clone(), &space.name).create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let digest = stage.private_digest("vault").await;
    let image = stage.image(&registry, "samples/vault", &digest).await;
    let (_, ended) = stage.analyse(image).await;
    assert_eq!((ended.outcome.as_str(), ended.reason_code.as_str()), ("error", "access_denied"), "{ended:?}");
    assert!(ended.advice.contains("pull secret"), "{}", ended.advice);
    space.run_with_secret("vault", &format!("{registry}/samples/vault@{digest}"), Some("login")).await;
    inventory::refresh(&stage.inventory(), stage.provider, None).await.unwrap();
    let (scan, ended) = stage.analyse(image).await;
    assert!(matches!(ended.outcome.as_str(), "ok" | "warn"), "{ended:?}");
    assert_eq!(stage.packages(scan).await, ["busybox", "musl"]);
    space.end().await;
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_pod_that_somebody_deletes_at_once_is_replaced_once(pool: PgPool) {
    let _turn = turn::shared().await;
    let (stage, scan) = working(pool).await;
    let name: String = sqlx::query_scalar("SELECT pod_name FROM scans WHERE id = $1").bind(scan).fetch_one(&stage.pool).await.unwrap();
    stage.pods().delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_replaced(stage, scan).await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_pod_that_somebody_deletes_in_peace_is_replaced_once(pool: PgPool) {
    let _turn = turn::shared().await;
    let (stage, scan) = working(pool).await;
    let name: String = sqlx::query_scalar("SELECT pod_name FROM scans WHERE id = $1").bind(scan).fetch_one(&stage.pool).await.unwrap();
    stage.pods().delete(&name, &DeleteParams::default()).await.unwrap();
    assert_replaced(stage, scan).await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_namespace_that_somebody_deletes_is_made_again_when_it_is_gone(pool: PgPool) {
    let _turn = turn::shared().await;
    let (stage, scan) = working(pool).await;
    Api::<Namespace>::all(stage.client.clone()).delete(&stage.settings.namespace, &DeleteParams::default()).await.unwrap();
    assert_replaced(stage, scan).await;
}

/// A scan whose pod works.
async fn working(pool: PgPool) -> (Stage, ScanId) {
    let mut stage = Stage::set(pool).await;
    stage.start();
    let image = stage.sample("deb12-tiny").await;
    let scan = stage.request(&[image]).await.images[0].scan;
    stage.until_state(scan, &["pulling", "evaluating"]).await;
    (stage, scan)
}

async fn assert_replaced(stage: Stage, scan: ScanId) {
    let ended = stage.finished(scan).await;
    assert!(matches!(ended.outcome.as_str(), "ok" | "warn"), "{ended:?}");
    assert_eq!(ended.attempt, 2);
    assert!(ended.warnings.iter().any(|warning| warning.contains("got lost")), "{:?}", ended.warnings);
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_missing_inspector_and_a_full_cluster_are_said_and_not_waited_for_in_silence(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut stage = Stage::set(pool).await;
    let image = stage.sample("alpine").await;
    let inspector = std::mem::take(&mut stage.settings.inspector_image);
    stage.start();
    let (_, ended) = stage.analyse(image).await;
    assert_eq!(ended.reason_code, "not_configured", "{ended:?}");
    stage.stop().await;

    stage.settings.inspector_image = inspector;
    stage.settings.memory_request = "100Ti".into();
    stage.settings.memory_limit = "100Ti".into();
    stage.start();
    let accepted = stage.request(&[image]).await;
    let id = accepted.task.unwrap();
    let message = eventually("the task says that the cluster has no room", Duration::from_secs(60), || async {
        let message = stage.task(id).await.message;
        message.starts_with("The cluster has no room for the scan pod").then_some(message)
    })
    .await;
    assert!(message.contains("memory"), "{message}");
    task::request_cancel(&mut stage.pool.acquire().await.unwrap(), &stage.clock, &[id]).await.unwrap();
    assert_eq!(stage.finished(accepted.images[0].scan).await.outcome, "cancelled");
    stage.strike().await;
}
