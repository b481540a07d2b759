//! The real server, killed at ten moments while ten scans run: each scan ends, each once, and no pod is left.

use crate::scan::stage::{FINISHED_WITHIN, Stage};
use crate::support::product::program;
use crate::support::{eventually, turn};
use kube::api::ListParams;
use sqlx::{ConnectOptions, PgPool};
use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Ten systems of different digests.
const SAMPLES: [&str; 10] = ["alpine", "deb12-bad", "deb12-tiny", "distroless", "ml", "ml-docker", "ml-tar", "ml-zstd", "rpm-bdb", "rpm-sqlite"];
/// When a scan is in one of these states, the server dies; in which order they come is the scans' affair. Each scan goes through all of them.
const MOMENTS: [&str; 10] =
    ["creating_pod", "starting_pod", "starting_pod", "pulling", "pulling", "evaluating", "evaluating", "fetching", "fetching", "cleaning"];
const MOMENT_WITHIN: Duration = Duration::from_secs(300);
/// Ten at a time on two processors.
const ALL_WITHIN: Duration = Duration::from_secs(900);

/// The folder holds the key that the stage sealed its credentials with.
fn serve(stage: &Stage, folder: &std::path::Path) -> Child {
    let set = |name: &str, value: &str| (format!("TIDEWAITER__{name}"), value.to_owned());
    let quoted = |list: &[String]| format!("{list:?}");
    Command::new(program())
        .arg("serve")
        .current_dir(folder)
        .env("DATABASE_URL", stage.pool.connect_options().to_url_lossy().as_str())
        .env("TIDEWAITER_VAR", folder)
        .envs([
            set("SERVER__LISTEN", "127.0.0.1:0"),
            set("SERVER__NAME", "test"),
            set("SECRETS__KEY_FILE", folder.join("secret.key").to_str().unwrap()),
            set("SMARTSTATE__NAMESPACE", &stage.settings.namespace),
            set("SMARTSTATE__INSPECTOR_IMAGE", &stage.settings.inspector_image),
            set("SMARTSTATE__PLAIN_HTTP_REGISTRIES", &quoted(&stage.settings.plain_http_registries)),
            set("SMARTSTATE__CONCURRENT_PER_PROVIDER", "10"),
            set("SMARTSTATE__MEMORY_REQUEST", "64Mi"),
            set("SMARTSTATE__CPU_REQUEST", "10m"),
        ])
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The fence of each scan: a server that takes a scan up raises it.
async fn fences(pool: &PgPool) -> HashMap<i64, i64> {
    sqlx::query_as("SELECT id, fence FROM scans").fetch_all(pool).await.unwrap().into_iter().collect()
}

/// Waits until the server that was started after `before` has a scan in one of the states that are `left`, and takes that off them. States may be short: it
/// looks often.
async fn moment(pool: &PgPool, before: &HashMap<i64, i64>, left: &mut Vec<&str>) {
    let seen = async {
        loop {
            let scans: Vec<(i64, i64, String)> = sqlx::query_as("SELECT id, fence, state FROM scans").fetch_all(pool).await.unwrap();
            let driven: Vec<String> = scans.into_iter().filter(|(id, fence, _)| *fence > before[id]).map(|(.., state)| state).collect();
            if let Some(at) = left.iter().position(|moment| driven.iter().any(|state| state == moment)) {
                return at;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(MOMENT_WITHIN, seen).await {
        Ok(at) => drop(left.remove(at)),
        Err(_) => panic!("within {MOMENT_WITHIN:?} no scan was in one of the states {left:?}"),
    }
}

async fn under_way(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM scans WHERE state NOT IN ('waiting', 'finished')").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_server_killed_at_ten_moments_finishes_ten_scans_each_once_and_leaves_no_pod(pool: PgPool) {
    let _turn = turn::alone().await;
    let stage = Stage::set(pool).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.key"), hex::encode([7; 32])).unwrap();
    std::fs::set_permissions(folder.path().join("secret.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut images = vec![];
    for sample in SAMPLES {
        images.push(stage.sample(sample).await);
    }
    let accepted = stage.request(&images).await;
    let mut left = MOMENTS.to_vec();
    while !left.is_empty() {
        let before = fences(&stage.pool).await;
        let mut server = serve(&stage, folder.path());
        moment(&stage.pool, &before, &mut left).await;
        server.kill().await.unwrap();
        if left.len() == MOMENTS.len() - 1 {
            assert_eq!(under_way(&stage.pool).await, 10, "all of them run at once");
        }
    }
    let _last = serve(&stage, folder.path());
    eventually("all ten scans are finished", ALL_WITHIN, || async {
        let finished: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scans WHERE state = 'finished'").fetch_one(&stage.pool).await.unwrap();
        (finished == 10).then_some(())
    })
    .await;
    for image in &accepted.images {
        let ended = stage.finished(image.scan).await;
        assert!(matches!(ended.outcome.as_str(), "ok" | "warn"), "{ended:?}");
    }
    let bulk = stage.task(accepted.task.unwrap()).await;
    assert_eq!((bulk.children_finished, bulk.children_failed), (10, 0), "{bulk:?}");
    let (scans, inspected): (i64, i64) =
        sqlx::query_as("SELECT (SELECT COUNT(*) FROM scans), (SELECT COUNT(*) FROM inspections)").fetch_one(&stage.pool).await.unwrap();
    assert_eq!((scans, inspected), (10, 10));
    let raised: Vec<i64> =
        sqlx::query_scalar("SELECT COUNT(DISTINCT id) FROM apalis.jobs WHERE ENCODE(job, 'escape') LIKE '%containerimage_scan_complete%' GROUP BY job")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    assert_eq!(raised, [1; 10], "one event per scan");
    eventually("every scan pod is gone", FINISHED_WITHIN, || async {
        let pods = stage.pods().list(&ListParams::default()).await.unwrap().items;
        pods.is_empty().then_some(())
    })
    .await;
    stage.strike().await;
}
