use super::*;
use crate::rows::{Container, Image, Pod, Project};
use serde_json::json;
use sqlx::PgPool;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn project(name: &str, version: i64) -> Project {
    Project {
        uid: format!("uid-{name}"),
        name: name.into(),
        display_name: String::new(),
        phase: "Active".into(),
        labels: json!({}),
        resource_version: version,
        created_at: now(),
        gone: false,
    }
}

fn image(name: &str, digest: &str) -> Image {
    Image { registry: "registry.example.org:5000".into(), name: name.into(), digest: digest.into(), tag: "1".into(), pulled_from: String::new() }
}

fn container(name: &str, image: Option<Image>) -> Container {
    Container {
        kind: "container",
        sidecar: false,
        name: name.into(),
        image_reference: "registry.example.org:5000/app:1".into(),
        image,
        state: "running",
        reason: String::new(),
        message: "a NUL \0 inside".into(),
        exit_code: None,
        restart_count: 0,
        ready: true,
        command: vec!["sleep".into(), "9".into()],
        resources: json!({}),
        security: json!({}),
        started_at: Some(now()),
        finished_at: None,
    }
}

fn pod(name: &str, version: i64, images: &[Option<Image>]) -> Pod {
    Pod {
        uid: format!("uid-{name}"),
        name: name.into(),
        project: "shop".into(),
        node: String::new(),
        phase: "Running".into(),
        ready: true,
        reason: String::new(),
        message: String::new(),
        restart_policy: "Always".into(),
        dns_policy: "ClusterFirst".into(),
        service_account: "default".into(),
        address: "10.0.0.1".into(),
        owner_kind: String::new(),
        owner_name: String::new(),
        pull_secrets: vec!["registry".into()],
        labels: json!({ "app": name }),
        annotations: json!({}),
        conditions: json!([]),
        resource_version: version,
        created_at: now(),
        gone: false,
        containers: images.iter().enumerate().map(|(i, image)| container(&format!("c{i}"), image.clone())).collect(),
    }
}

async fn provider(pool: &PgPool) -> ProviderId {
    queue::setup(pool).await.unwrap();
    let id: i64 = sqlx::query_scalar!(
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at)
         VALUES ('test', 'kubernetes', 'https://127.0.0.1:1', '', $1, $1)
         RETURNING id",
        now()
    )
    .fetch_one(pool)
    .await
    .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    projects(&mut conn, now(), ProviderId(id), &[project("shop", 1)]).await.unwrap();
    ProviderId(id)
}

async fn save_pods(pool: &PgPool, provider: ProviderId, rows: &[Pod]) -> usize {
    let mut tx = begin(pool, provider).await.unwrap();
    let new = pods(&mut tx, now(), provider, rows).await.unwrap();
    tx.commit().await.unwrap();
    new.len()
}

async fn live_images(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar!("SELECT name FROM container_images WHERE archived_at IS NULL ORDER BY name").fetch_all(pool).await.unwrap()
}

async fn raised(pool: &PgPool) -> i64 {
    sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM apalis.jobs"#).fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_image_that_many_pods_use_is_there_once_and_raised_once(pool: PgPool) {
    let provider = provider(&pool).await;
    let rows = [pod("a", 1, &[Some(image("app", A)), Some(image("app", A))]), pod("b", 2, &[Some(image("app", A)), Some(image("db", B)), None])];
    assert_eq!(save_pods(&pool, provider, &rows).await, 2);
    assert_eq!(save_pods(&pool, provider, &rows).await, 0, "the same page again changes nothing");
    assert_eq!(live_images(&pool).await, ["app", "db"]);
    assert_eq!(raised(&pool).await, 2);
    let registry = sqlx::query!("SELECT host, port, name FROM image_registries").fetch_one(&pool).await.unwrap();
    assert_eq!((registry.host.as_str(), registry.port, registry.name.as_str()), ("registry.example.org", Some(5000), "registry.example.org:5000"));
    let container = sqlx::query!("SELECT message, command FROM containers LIMIT 1").fetch_one(&pool).await.unwrap();
    assert_eq!((container.message.as_str(), container.command), ("a NUL  inside", vec!["sleep".to_owned(), "9".to_owned()]));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_image_is_archived_with_its_last_pod_and_comes_back_without_a_second_event(pool: PgPool) {
    let provider = provider(&pool).await;
    save_pods(&pool, provider, &[pod("a", 1, &[Some(image("app", A))]), pod("b", 1, &[Some(image("app", A))])]).await;
    save_pods(&pool, provider, &[Pod { gone: true, ..pod("a", 5, &[Some(image("app", A))]) }]).await;
    assert_eq!(live_images(&pool).await, ["app"], "b still uses it");
    save_pods(&pool, provider, &[Pod { gone: true, ..pod("b", 6, &[Some(image("app", A))]) }]).await;
    assert!(live_images(&pool).await.is_empty());
    save_pods(&pool, provider, &[pod("c", 7, &[Some(image("app", A))])]).await;
    assert_eq!(live_images(&pool).await, ["app"]);
    assert_eq!(raised(&pool).await, 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_late_page_neither_revives_a_deleted_pod_nor_overwrites_a_newer_one(pool: PgPool) {
    let provider = provider(&pool).await;
    save_pods(&pool, provider, &[Pod { gone: true, ..pod("a", 9, &[Some(image("app", A))]) }]).await;
    save_pods(&pool, provider, &[pod("a", 3, &[Some(image("app", A))])]).await;
    assert!(live_images(&pool).await.is_empty());
    save_pods(&pool, provider, &[Pod { phase: "Succeeded".into(), ..pod("b", 9, &[]) }]).await;
    save_pods(&pool, provider, &[pod("b", 3, &[])]).await;
    let phase = sqlx::query_scalar!("SELECT phase FROM pods WHERE name = 'b'").fetch_one(&pool).await.unwrap();
    assert_eq!(phase, "Succeeded");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_sweep_archives_what_the_list_did_not_have_but_nothing_newer_than_the_list(pool: PgPool) {
    let provider = provider(&pool).await;
    let rows = [pod("kept", 2, &[Some(image("kept", A))]), pod("gone", 3, &[Some(image("gone", A))]), pod("newer", 20, &[Some(image("newer", A))])];
    save_pods(&pool, provider, &rows).await;
    let mut tx = begin(&pool, provider).await.unwrap();
    sweep_pods(&mut tx, now(), provider, &["uid-kept".to_owned()], 10).await.unwrap();
    sweep_projects(&mut tx, now(), provider, &["uid-shop".to_owned()], 10).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(live_images(&pool).await, ["kept", "newer"]);
    let containers = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM containers WHERE archived_at IS NULL"#).fetch_one(&pool).await.unwrap();
    assert_eq!(containers, 2);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_container_keeps_its_image_while_the_node_forgets_to_report_it(pool: PgPool) {
    let provider = provider(&pool).await;
    save_pods(&pool, provider, &[pod("a", 1, &[Some(image("app", A))])]).await;
    save_pods(&pool, provider, &[pod("a", 2, &[None])]).await;
    assert_eq!(live_images(&pool).await, ["app"]);
    let mut edited = pod("a", 3, &[Some(image("app", B))]);
    edited.containers[0].image_reference = "registry.example.org:5000/app:2".into();
    save_pods(&pool, provider, &[edited]).await;
    let digests = sqlx::query_scalar!("SELECT digest FROM container_images WHERE archived_at IS NULL").fetch_all(&pool).await.unwrap();
    assert_eq!(digests, [B], "the old image is archived when the container's reference changes");
}

async fn tag(pool: &PgPool) -> String {
    sqlx::query_scalar!("SELECT tag FROM container_images").fetch_one(pool).await.unwrap()
}

/// A pod that names the image by `tag`.
fn pod_by_tag(name: &str, version: i64, tag: &str) -> Pod {
    let mut pod = pod(name, version, &[Some(Image { tag: tag.into(), ..image("app", A) })]);
    pod.containers[0].image_reference = format!("registry.example.org:5000/app:{tag}");
    pod
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn two_tags_of_one_digest_do_not_take_turns_and_the_last_in_use_stays(pool: PgPool) {
    let provider = provider(&pool).await;
    save_pods(&pool, provider, &[pod_by_tag("a", 1, "1")]).await;
    save_pods(&pool, provider, &[pod_by_tag("b", 2, "2")]).await;
    assert_eq!(tag(&pool).await, "1");
    save_pods(&pool, provider, &[pod_by_tag("b", 3, "2"), pod_by_tag("a", 3, "1")]).await;
    assert_eq!(tag(&pool).await, "1");
    let gone = Pod { gone: true, ..pod_by_tag("a", 4, "1") };
    save_pods(&pool, provider, &[gone]).await;
    assert_eq!(tag(&pool).await, "2");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_name_that_one_node_has_the_image_by_is_good_to_pull_by(pool: PgPool) {
    let provider = provider(&pool).await;
    let elsewhere = Image { pulled_from: "mirror.example.org/app".into(), ..image("app", A) };
    save_pods(&pool, provider, &[pod("a", 1, &[Some(elsewhere.clone())])]).await;
    let from = || async { sqlx::query_scalar!("SELECT pulled_from FROM container_images").fetch_one(&pool).await.unwrap() };
    assert_eq!(from().await, "mirror.example.org/app");
    save_pods(&pool, provider, &[pod("b", 2, &[Some(image("app", A))])]).await;
    save_pods(&pool, provider, &[pod("a", 3, &[Some(elsewhere)])]).await;
    assert_eq!(from().await, "");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_pod_of_an_unknown_project_waits_until_the_project_is_known(pool: PgPool) {
    let provider = provider(&pool).await;
    let stray = Pod { project: "new".into(), ..pod("a", 1, &[Some(image("app", A))]) };
    save_pods(&pool, provider, std::slice::from_ref(&stray)).await;
    assert!(live_images(&pool).await.is_empty());
    let mut conn = pool.acquire().await.unwrap();
    assert_eq!(unknown_projects(&mut conn, provider, &["new".into(), "shop".into()]).await.unwrap(), ["new"]);
    projects(&mut conn, now(), provider, &[project("new", 2)]).await.unwrap();
    drop(conn);
    save_pods(&pool, provider, &[stray]).await;
    assert_eq!(live_images(&pool).await, ["app"]);
}

/// An inspection of `digest` at the provider, in the caller's transaction.
async fn inspect(conn: &mut PgConnection, provider: ProviderId, digest: &str) -> i64 {
    sqlx::query_scalar(
        "WITH scan AS (
           INSERT INTO scans (digest, provider_id, userid, reference, state, outcome, requested_at)
           VALUES ($2, $1, 'admin', 'r', 'finished', 'ok', NOW()) RETURNING id
         )
         INSERT INTO inspections (digest, provider_id, scan_id, inspected_at, compressed_size_bytes, unpacked_size_bytes, config, package_database,
                                  package_count, failed_high, fully_checked)
         SELECT $2, $1, id, NOW(), 1, 1, '{}', '{}', 0, 4, TRUE FROM scan RETURNING id",
    )
    .bind(provider)
    .bind(digest)
    .fetch_one(conn)
    .await
    .unwrap()
}

async fn counting(pool: &PgPool, digest: &str) -> Vec<(Option<i64>, i64)> {
    sqlx::query_as("SELECT inspection_id, found_rank >> 36 FROM container_images WHERE digest = $1 ORDER BY id").bind(digest).fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_new_image_has_what_was_found_in_its_digest_unless_that_was_found_elsewhere_and_does_not_count(pool: PgPool) {
    let provider = provider(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    let lab: ProviderId = sqlx::query_scalar(
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at, shares_results)
         VALUES ('lab', 'kubernetes', '', '', NOW(), NOW(), FALSE) RETURNING id",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    inspect(&mut conn, lab, A).await;
    inspect(&mut conn, lab, B).await;
    let own = inspect(&mut conn, provider, B).await;
    save_pods(&pool, provider, &[pod("x", 1, &[Some(image("app", A)), Some(image("app", B))])]).await;
    assert_eq!(counting(&pool, A).await, [(None, -1)]);
    assert_eq!(counting(&pool, B).await, [(Some(own), 4)]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_image_that_is_added_while_findings_of_its_digest_are_saved_gets_them(pool: PgPool) {
    let provider = provider(&pool).await;
    let mut saving = pool.begin().await.unwrap();
    crate::findings::lock(&mut saving).await.unwrap();
    let inspection = inspect(&mut saving, provider, A).await;
    let images = crate::findings::images_of_digest(&mut saving, A).await.unwrap();
    assert_eq!(crate::findings::renew(&mut saving, &images).await.unwrap().images, 0, "there is none yet");
    let rows = [pod("x", 1, &[Some(image("app", A))])];
    let adding = save_pods(&pool, provider, &rows);
    let waiting = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        for _ in 0..1_000 {
            if sqlx::query_scalar::<_, bool>(waits).fetch_one(&pool).await.unwrap() {
                saving.commit().await.unwrap();
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("nobody waits for the findings");
    };
    tokio::join!(adding, waiting);
    assert_eq!(counting(&pool, A).await, [(Some(inspection), 4)]);
}
