//! Providers and their inventory, on the real cluster.

use crate::support::worker::Worker;
use crate::support::{cluster, eventually, turn};
use inventory::{Connection, Kind, Reason, provider, validate};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, PostParams};
use model::ids::ProviderId;
use queue::task::TaskStatus;
use serde_json::json;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// A manifest that no registry has: the pod is in the inventory all the same.
const PINNED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Live images of a project: name, tag, digest, and how many live containers use it.
async fn images_of(pool: &PgPool, project: &str) -> Vec<(String, String, String, i64)> {
    sqlx::query_as(
        "SELECT container_images.name, tag, digest, COUNT(*)
         FROM containers
         JOIN pods ON pods.id = containers.pod_id
         JOIN projects ON projects.id = pods.project_id
         JOIN container_images ON container_images.id = containers.image_id
         WHERE projects.name = $1 AND containers.archived_at IS NULL AND pods.archived_at IS NULL AND container_images.archived_at IS NULL
         GROUP BY container_images.id ORDER BY container_images.name",
    )
    .bind(project)
    .fetch_all(pool)
    .await
    .unwrap()
}

/// What the cluster itself says: digests by repository, over all pods whose image is reported.
async fn digests_by_repository(space: &cluster::Space) -> BTreeMap<String, String> {
    let pods = space.pods().list(&Default::default()).await.unwrap();
    let statuses = pods.items.into_iter().flat_map(|pod| pod.status.unwrap_or_default().container_statuses.unwrap_or_default());
    statuses.filter_map(|status| status.image_id.split_once('@').map(|(name, digest)| (name.to_owned(), digest.to_owned()))).collect()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_refresh_lists_every_image_once_with_the_digest_the_cluster_reports(pool: PgPool) {
    let _turn = turn::shared().await;
    let space = cluster::Space::new("refresh").await;
    let alpine = format!("{}/samples/alpine:1", cluster::registry());
    space.run("one", &alpine).await;
    space.run("two", &alpine).await;
    space.run("pinned", &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    eventually("both pods report their image", SOON * 4, || async {
        (space.pods().list(&Default::default()).await.unwrap().items.len() == 3 && !digests_by_repository(&space).await.is_empty()).then_some(())
    })
    .await;
    eventually("the second pod reports its image too", SOON * 4, || async {
        let pods = space.pods().list(&Default::default()).await.unwrap();
        let reported = pods
            .items
            .iter()
            .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
            .flatten()
            .filter(|status| status.image_id.contains('@'))
            .count();
        (reported == 2).then_some(())
    })
    .await;
    let digests = digests_by_repository(&space).await;

    let worker = Worker::new(&pool).await;
    let (id, task) = worker.add("refresh", &cluster::connection()).await;
    let task = worker.refresh(id, task).await;
    assert_eq!(task.status, Some(TaskStatus::Ok), "{task:?}");
    assert!(task.message.starts_with("Found "), "{}", task.message);

    let found = images_of(&pool, &space.name).await;
    let reported = digests.values().next().unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&("samples/alpine".into(), "1".into(), reported.clone(), 2)), "{found:?}");
    assert!(found.contains(&("samples/alpine".into(), String::new(), PINNED.into(), 1)), "{found:?}");
    let doubled: i64 =
        sqlx::query_scalar("SELECT COUNT(*) - COUNT(DISTINCT (registry_id, name, digest)) FROM container_images").fetch_one(&pool).await.unwrap();
    assert_eq!(doubled, 0);
    let raised: (i64, i64) = sqlx::query_as("SELECT (SELECT COUNT(*) FROM apalis.jobs WHERE job_type = 'control'), (SELECT COUNT(*) FROM container_images)")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(raised.0, raised.1, "one containerimage_created for each image");
    assert_eq!(worker.status(id).await.0, "ok");
    space.end().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_refresh_in_pages_of_two_reads_everything_too(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut worker = Worker::new(&pool).await;
    worker.ctx.settings.page_size = 2;
    let (id, task) = worker.add("pages", &cluster::connection()).await;
    let space = cluster::Space::new("pages").await;
    for number in 0..5 {
        space.run(&format!("pod{number}"), &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    }
    worker.refresh(id, task).await;
    let found = images_of(&pool, &space.name).await;
    assert_eq!(found.iter().map(|image| image.3).collect::<Vec<_>>(), [5], "{found:?}");
    space.end().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_new_pods_image_appears_by_itself_and_goes_with_it(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut worker = Worker::new(&pool).await;
    worker.watch();
    let (id, task) = worker.add("watch", &cluster::connection()).await;
    worker.refresh(id, task).await;
    worker.wait_for_status(id, "ok", SOON).await;

    let space = cluster::Space::new("watch").await;
    space.run("new", &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    let appeared = std::time::Instant::now();
    let found =
        eventually("the new pod's image is there", SOON, || async { Some(images_of(&pool, &space.name).await).filter(|found| !found.is_empty()) }).await;
    assert_eq!(found, [("samples/alpine".to_owned(), String::new(), PINNED.to_owned(), 1)]);
    assert!(appeared.elapsed() < Duration::from_secs(10), "it took {:?}", appeared.elapsed());

    space.delete_pod("new").await;
    eventually("the deleted pod's image is archived", SOON, || async {
        let archived: bool = sqlx::query_scalar("SELECT archived_at IS NOT NULL FROM container_images WHERE digest = $1 AND provider_id = $2")
            .bind(PINNED)
            .bind(id.0)
            .fetch_one(&pool)
            .await
            .unwrap();
        let pod: bool = sqlx::query_scalar("SELECT pods.archived_at IS NOT NULL FROM pods JOIN projects ON projects.id = project_id WHERE projects.name = $1")
            .bind(&space.name)
            .fetch_one(&pool)
            .await
            .unwrap();
        // Another flow may run the same image at the same time in its own namespace.
        (pod && (archived || used_elsewhere(&pool, id, &space.name).await)).then_some(())
    })
    .await;
    space.end().await;
}

async fn used_elsewhere(pool: &PgPool, id: ProviderId, project: &str) -> bool {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM containers JOIN pods ON pods.id = pod_id JOIN projects ON projects.id = project_id JOIN container_images ON container_images.id = image_id
                        WHERE containers.provider_id = $1 AND digest = $2 AND projects.name <> $3 AND containers.archived_at IS NULL)",
    )
    .bind(id.0)
    .bind(PINNED)
    .bind(project)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_watch_goes_on_where_the_last_server_left_it(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut first = Worker::new(&pool).await;
    let (id, task) = first.add("resume", &cluster::connection()).await;
    first.refresh(id, task).await;
    first.watch();
    first.wait_for_status(id, "ok", SOON).await;
    drop(first);

    // Comes and goes while nobody watches.
    let space = cluster::Space::new("resume").await;
    space.run("kept", &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    space.run("short", &format!("{}/samples/scratch@{PINNED}", cluster::registry())).await;
    space.delete_pod("short").await;
    let refreshed: Option<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar("SELECT refreshed_at FROM providers").fetch_one(&pool).await.unwrap();

    let mut second = Worker::new(&pool).await;
    second.watch();
    eventually("what happened in between is known", SOON, || async {
        let pods: Vec<(String, bool)> = sqlx::query_as(
            "SELECT pods.name, pods.archived_at IS NULL FROM pods JOIN projects ON projects.id = project_id WHERE projects.name = $1 ORDER BY pods.name",
        )
        .bind(&space.name)
        .fetch_all(&pool)
        .await
        .unwrap();
        (pods == [("kept".to_owned(), true), ("short".to_owned(), false)]).then_some(())
    })
    .await;
    let refreshed_since: Option<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar("SELECT refreshed_at FROM providers").fetch_one(&pool).await.unwrap();
    assert_eq!(refreshed, refreshed_since, "nothing was read in full again");
    space.end().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn positions_that_the_cluster_has_forgotten_are_no_obstacle(pool: PgPool) {
    let _turn = turn::shared().await;
    let mut worker = Worker::new(&pool).await;
    let (id, task) = worker.add("expired", &cluster::connection()).await;
    worker.refresh(id, task).await;
    let space = cluster::Space::new("expired").await;
    space.run("missed", &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    // Version 1 is older than what an API server keeps, but for a very young one; then everything since is told again.
    sqlx::query(r#"UPDATE providers SET positions = '{"projects": "1", "nodes": "1", "pods": "1"}', refreshed_at = NULL"#).execute(&pool).await.unwrap();
    worker.watch();
    eventually("the missed pod is there", SOON, || async { Some(images_of(&pool, &space.name).await).filter(|found| !found.is_empty()) }).await;
    worker.wait_for_status(id, "ok", SOON).await;
    space.end().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_wrong_token_another_authority_and_a_wrong_kind_are_told_apart(pool: PgPool) {
    let _turn = turn::shared().await;
    let good = cluster::connection();
    let another_ca = include_str!("../crates/inventory/testdata/another-ca.pem");

    let wrong_token = Connection::from_token(&good.server, "no-such-token", &good.ca_pem).unwrap();
    let error = validate(&wrong_token, Kind::Kubernetes, "tidewaiter").await.unwrap_err();
    assert_eq!(error.reason, Reason::Login, "{error:?}");

    let untrusted = Connection { ca_pem: another_ca.into(), ..good.clone() };
    let error = validate(&untrusted, Kind::Kubernetes, "tidewaiter").await.unwrap_err();
    assert_eq!(error.reason, Reason::Tls, "{error:?}");
    assert!(error.message.contains("not trusted"), "{error:?}");

    let misnamed = Connection { tls_server_name: Some("another.example.org".into()), ..good.clone() };
    let error = validate(&misnamed, Kind::Kubernetes, "tidewaiter").await.unwrap_err();
    assert_eq!(error.reason, Reason::Tls, "{error:?}");
    assert!(error.message.contains("another name"), "{error:?}");

    let error = validate(&good, Kind::Openshift, "tidewaiter").await.unwrap_err();
    assert!(error.message.contains("plain Kubernetes"), "{error:?}");

    let found = validate(&good, Kind::Kubernetes, "tidewaiter").await.unwrap();
    assert!(found.versions.kubernetes.starts_with('v') && !found.openshift && found.warnings.is_empty(), "{found:?}");

    // The same when it is stored: the refresh's task and the provider's status say it.
    let worker = Worker::new(&pool).await;
    let (id, task) = worker.add("wrong", &wrong_token).await;
    let task = worker.refresh(id, task).await;
    assert_eq!((task.status, task.reason_code.as_str()), (Some(TaskStatus::Error), "login"));
    assert!(!task.advice.is_empty());
    assert_eq!(worker.status(id).await.0, "login");

    // Mended by hand, it works, and its status says so.
    let mut conn = pool.acquire().await.unwrap();
    provider::update(&mut conn, &worker.ctx.clock, &worker.ctx.sealer, id, "right", Kind::Kubernetes, Some(&good)).await.unwrap();
    inventory::validate_stored(&pool, &worker.ctx.clock, &worker.ctx.sealer, id, "tidewaiter").await.unwrap().unwrap();
    assert_eq!(worker.status(id).await.0, "ok");
}

/// A token of a service account in `space` that was given no rights.
async fn token_without_rights(space: &cluster::Space) -> String {
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "nobody" } })).unwrap();
    Api::<ServiceAccount>::namespaced(space.client.clone(), &space.name).create(&PostParams::default(), &account).await.unwrap();
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "nobody-token", "annotations": { "kubernetes.io/service-account.name": "nobody" } },
        "type": "kubernetes.io/service-account-token",
    }))
    .unwrap();
    let secrets = Api::<Secret>::namespaced(space.client.clone(), &space.name);
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    eventually("the token is made", SOON, || async {
        let token = secrets.get("nobody-token").await.unwrap().data?.remove("token")?;
        String::from_utf8(token.0).ok()
    })
    .await
}

#[tokio::test]
async fn a_token_without_rights_names_each_one_that_is_missing() {
    let _turn = turn::shared().await;
    let good = cluster::connection();
    let space = cluster::Space::new("rights").await;
    let token = token_without_rights(&space).await;
    let connection = Connection::from_token(&good.server, &token, &good.ca_pem).unwrap();
    let error = validate(&connection, Kind::Kubernetes, "tidewaiter").await.unwrap_err();
    assert_eq!(error.reason, Reason::Permissions, "{error:?}");
    for right in [
        "list pods in all namespaces",
        "watch nodes",
        "create pods in namespace tidewaiter",
        "get pods/proxy in namespace tidewaiter",
        "create secrets in namespace tidewaiter",
    ] {
        assert!(error.missing.iter().any(|missing| missing == right), "{right}: {:?}", error.missing);
    }
    assert!(error.advice.contains("config/kubernetes-provider.yaml"));
    space.end().await;
}

#[tokio::test]
async fn the_manifest_that_ships_grants_all_that_is_asked_for() {
    let _turn = turn::shared().await;
    let good = cluster::connection();
    let space = cluster::Space::new("manifest").await;
    // The shipped file in a namespace, and with cluster-wide names, of this test's own.
    let manifest = include_str!("../config/kubernetes-provider.yaml")
        .replace("namespace: tidewaiter", &format!("namespace: {}", space.name))
        .replace("name: tidewaiter-inventory", &format!("name: {}-inventory", space.name))
        .replace("name: tidewaiter-pull-secrets", &format!("name: {}-pull-secrets", space.name))
        .replace("kind: Namespace\nmetadata:\n  name: tidewaiter", &format!("kind: Namespace\nmetadata:\n  name: {}", space.name));
    kubectl(&["apply", "-f", "-"], &manifest).await;
    let secrets = Api::<Secret>::namespaced(space.client.clone(), &space.name);
    let token = eventually("the token is made", SOON, || async {
        let token = secrets.get("tidewaiter-token").await.unwrap().data?.remove("token")?;
        String::from_utf8(token.0).ok()
    })
    .await;
    let connection = Connection::from_token(&good.server, &token, &good.ca_pem).unwrap();
    let found = eventually("the rights are in force", SOON, || async { validate(&connection, Kind::Kubernetes, &space.name).await.ok() }).await;
    let optional =
        "The login may not get secrets in all namespaces: images of private registries can be analysed only where their namespace lets it read pull secrets.";
    assert_eq!(found.warnings, [optional]);
    kubectl(&["delete", "clusterrole,clusterrolebinding", &format!("{}-inventory", space.name)], "").await;
    kubectl(&["delete", "clusterrole", &format!("{}-pull-secrets", space.name)], "").await;
    space.end().await;
}

async fn kubectl(arguments: &[&str], input: &str) {
    use tokio::io::AsyncWriteExt as _;
    let mut child =
        tokio::process::Command::new("kubectl").args(arguments).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "kubectl {arguments:?} failed");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_api_server_that_is_away_is_unreachable_and_comes_back_with_what_was_missed(pool: PgPool) {
    let _turn = turn::alone().await;
    let mut worker = Worker::new(&pool).await;
    let (id, task) = worker.add("outage", &cluster::connection()).await;
    worker.refresh(id, task).await;
    worker.watch();
    worker.wait_for_status(id, "ok", SOON).await;
    let images_before: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM container_images WHERE archived_at IS NULL").fetch_one(&pool).await.unwrap();
    // The watches are open once they have told something.
    eventually("the watches are open", SOON, || async {
        let open: bool = sqlx::query_scalar("SELECT seen_at > refreshed_at FROM providers").fetch_one(&pool).await.unwrap();
        open.then_some(())
    })
    .await;

    cluster::piece("stop", "apiserver").await;
    let message = worker.wait_for_status(id, "unreachable", SOON).await;
    assert!(message.contains("nothing listens there") || message.contains("broke the connection off"), "{message}");
    let images: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM container_images WHERE archived_at IS NULL").fetch_one(&pool).await.unwrap();
    assert_eq!(images, images_before, "the data stay");
    tokio::time::timeout(Duration::from_secs(90), cluster::piece("start", "apiserver")).await.unwrap();

    worker.wait_for_status(id, "ok", Duration::from_secs(70)).await;
    let space = cluster::Space::new("outage").await;
    space.run("after", &format!("{}/samples/alpine@{PINNED}", cluster::registry())).await;
    eventually("a pod after the outage is seen", SOON, || async { Some(images_of(&pool, &space.name).await).filter(|found| !found.is_empty()) }).await;
    space.end().await;
}
