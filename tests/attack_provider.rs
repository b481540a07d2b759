//! A provider that harms: what it sends costs neither memory nor the server, its status says what happened, and it can be paused and removed meanwhile.

mod hostile;

use crate::support::eventually;
use crate::support::product::Product;
use hostile::{Hostile, page, uid};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);
const MEMORY_MIB_MAX: u64 = 256;

async fn add(product: &Product, hostile: &Hostile) -> String {
    let new = json!({ "name": "harm", "kind": "kubernetes", "endpoint": hostile.url, "credentials": { "auth_key": "token" } });
    let (status, answer) = product.api(Method::POST, "/api/providers", Some(new)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    format!("/api/providers/{}", answer["results"][0]["id"].as_str().unwrap())
}

/// Waits until the provider has that status, and gives its words.
async fn status(product: &Product, path: &str, wanted: &str) -> String {
    status_within(product, path, wanted, SOON).await
}

async fn status_within(product: &Product, path: &str, wanted: &str, limit: Duration) -> String {
    let words = |answer: &Value| answer["authentication_message"].as_str().unwrap_or_default().to_owned();
    eventually(&format!("the provider is {wanted}"), limit, || async {
        let (_, answer) = product.api(Method::GET, path, None).await;
        (answer["authentication_status"] == wanted).then(|| words(&answer))
    })
    .await
}

async fn act(product: &Product, path: &str, action: &str) {
    let (status, answer) = product.api(Method::POST, path, Some(json!({ "action": action }))).await;
    assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)), "{action}: {answer}");
}

/// It runs, answers, and took no more memory than it may.
async fn assert_unharmed(product: &mut Product) {
    assert!(product.is_running(), "{}", product.log());
    let asked = Instant::now();
    assert!(product.is_ready().await);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let peak = product.peak_memory_mib();
    assert!(peak <= MEMORY_MIB_MAX, "{peak} MiB");
}

/// Adds the provider, waits for its status, restarts the server, waits again; then pauses it, and removes it.
async fn endure(pool: &PgPool, hostile: &Hostile, settings: &[(&str, &str)], wanted: &str) -> String {
    let mut product = Product::start(pool, settings).await;
    let path = add(&product, hostile).await;
    let words = status(&product, &path, wanted).await;
    assert_unharmed(&mut product).await;
    product.restart().await;
    let before = hostile.requests();
    eventually("the provider is asked again after the restart", SOON, || async { (hostile.requests() > before).then_some(()) }).await;
    status(&product, &path, wanted).await;
    assert_unharmed(&mut product).await;
    act(&product, &path, "pause").await;
    status(&product, &path, "paused").await;
    let asked = hostile.requests();
    act(&product, &path, "resume").await;
    eventually("the provider is asked again after the pause", SOON, || async { (hostile.requests() > asked).then_some(()) }).await;
    status(&product, &path, wanted).await;
    act(&product, &path, "delete").await;
    eventually("the provider is removed", SOON, || async { (product.api(Method::GET, &path, None).await.0 == StatusCode::NOT_FOUND).then_some(()) }).await;
    assert_unharmed(&mut product).await;
    words
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_version_of_a_gigabyte_is_not_read(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.endless(b"xxxxxxxxxxxxxxxx", 1 << 30),
        _ => request.json(&json!({})),
    })
    .await;
    let words = endure(&pool, &hostile, &[], "too_large").await;
    assert!(words.contains("more than 1 MiB in one answer") && words.contains("pause the provider"), "{words}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_list_that_never_ends_is_not_read(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ => request.endless(b"{\"items\":[{},{},{},{},{},{},{},{},", u64::MAX),
    })
    .await;
    endure(&pool, &hostile, &[], "too_large").await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn lines_of_a_watch_that_never_end_are_not_read(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ if request.query.contains("watch=true") => request.endless(b"xxxxxxxxxxxxxxxx", u64::MAX),
        _ => request.json(&page(&[], "", None)),
    })
    .await;
    let words = endure(&pool, &hostile, &[], "too_large").await;
    assert!(words.contains("8 MiB in one line of a watch"), "{words}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn many_values_in_lines_that_are_small_enough_are_bounded_too(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ if request.query.contains("watch=true") => {
            let containers = format!("[{}{{}}]", "{},".repeat(60_000));
            let pods = (0..400).map(move |number| {
                let head =
                    format!(r#"{{"type":"ADDED","object":{{"metadata":{{"name":"p{number}","uid":"u{number}","resourceVersion":"9"}},"spec":{{"containers":"#);
                format!("{head}{containers}}}}}}}\n")
            });
            request.lines(pods)
        }
        _ => request.json(&page(&[], "", None)),
    })
    .await;
    let mut product = Product::start(&pool, &[]).await;
    let path = add(&product, &hostile).await;
    status(&product, &path, "ok").await;
    eventually("the watches were read for a while", SOON, || async { (hostile.sent_mib() >= 50).then_some(()) }).await;
    assert_unharmed(&mut product).await;
    act(&product, &path, "pause").await;
    status(&product, &path, "paused").await;
}

/// One line of a watch: a new namespace with that uid.
fn added(uid: &str) -> String {
    json!({ "type": "ADDED", "object": { "metadata": { "name": "n", "uid": uid, "resourceVersion": "9" } } }).to_string() + "\n"
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_uid_that_no_api_server_gives_is_not_stored(pool: PgPool) {
    for length in [65, 7 << 20] {
        let hostile = Hostile::start(move |request| match request.path.as_str() {
            "/version" => request.version(),
            "/api/v1/namespaces" if request.query.contains("watch=true") => request.lines([added(&"x".repeat(length))].into_iter()),
            _ if request.query.contains("watch=true") => request.hang(),
            // The longest that is taken.
            "/api/v1/namespaces" => request.json(&page(&[uid(&"l".repeat(60))], "", None)),
            _ => request.json(&page(&[], "", None)),
        })
        .await;
        let words = endure(&pool, &hostile, &[], "error").await;
        assert!(words.contains("an object that Tidewaiter cannot read: a change of projects does not have the shape"), "{length}: {words}");
        assert!(words.len() < 1000, "{length}: the uid itself is not shown");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_watch_that_announces_more_objects_than_there_can_be_is_not_read_on(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        "/api/v1/namespaces" if request.query.contains("watch=true") => {
            let number = request.number;
            request.lines((0..).map(move |each| added(&format!("{number}-{each}"))))
        }
        _ if request.query.contains("watch=true") => request.hang(),
        _ => request.json(&page(&[], "", None)),
    })
    .await;
    let words = endure(&pool, &hostile, &[("INVENTORY__OBJECTS_MAX", "1000")], "too_large").await;
    assert!(words.contains("more than 1000 projects"), "{words}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn as_many_objects_as_the_settings_allow_by_themselves_fit_into_memory(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ => {
            let number = request.number;
            // Uids of 64 bytes.
            request.json(&page(&(0..500).map(|each| uid(&format!("{number:056}-{each:03}"))).collect::<Vec<_>>(), "more", None))
        }
    })
    .await;
    let mut product = Product::start(&pool, &[]).await;
    let path = add(&product, &hostile).await;
    let words = status_within(&product, &path, "too_large", SOON * 3).await;
    assert!(words.contains("more than 300000 projects"), "{words}");
    assert_unharmed(&mut product).await;
    act(&product, &path, "pause").await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn counts_beyond_reason_and_objects_that_come_twice_are_read(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ if request.query.contains("watch=true") => request.hang(),
        "/api/v1/namespaces" if request.query.contains("continue") => request.json(&page(&[uid("b"), uid("a")], "", None)),
        "/api/v1/namespaces" => request.json(&page(&[uid("a"), uid("a")], "more", Some(i64::MAX))),
        _ => request.json(&page(&[], "", None)),
    })
    .await;
    let mut product = Product::start(&pool, &[]).await;
    let path = add(&product, &hostile).await;
    status(&product, &path, "ok").await;
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM projects ORDER BY name").fetch_all(&pool).await.unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_unharmed(&mut product).await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_list_that_always_continues_ends(pool: PgPool) {
    let hostile = Hostile::start(|request| match request.path.as_str() {
        "/version" => request.version(),
        _ => {
            let number = request.number;
            request.json(&page(&(0..100).map(|each| uid(&format!("n{number}-{each}"))).collect::<Vec<_>>(), "more", Some(1)))
        }
    })
    .await;
    let words = endure(&pool, &hostile, &[("INVENTORY__OBJECTS_MAX", "1000")], "too_large").await;
    assert!(words.contains("more than 1000 projects"), "{words}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn answers_that_drip_end_in_time(pool: PgPool) {
    let hostile = Hostile::start(|request| request.drip()).await;
    let words = endure(&pool, &hostile, &[], "unreachable").await;
    assert!(words.contains("did not answer within 10 seconds"), "{words}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_kubeconfig_made_to_be_slow_keeps_nobody_waiting(pool: PgPool) {
    let mut product = Product::start(&pool, &[]).await;
    let texts = ["{a: ".repeat(12_000), "{a: ".repeat(400_000), "? ".repeat(120_000), format!("[{}]", "1,".repeat(120_000))];
    let asked = Instant::now();
    let answers = futures::future::join_all(
        texts.iter().map(|text| product.api(Method::POST, "/api/providers", Some(json!({ "name": "slow", "kind": "kubernetes", "kubeconfig": text })))),
    );
    let meanwhile = async {
        for _ in 0..10 {
            let at = Instant::now();
            assert!(product.is_ready().await);
            assert!(at.elapsed() < Duration::from_secs(5), "{:?}", at.elapsed());
        }
    };
    let (answers, ()) = futures::future::join(answers, meanwhile).await;
    for (status, answer) in answers {
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.to_string().contains("kubeconfig"), "{answer}");
    }
    assert!(asked.elapsed() < Duration::from_secs(40), "{:?}", asked.elapsed());
    assert_unharmed(&mut product).await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_a_stranger_answers_is_not_shown(pool: PgPool) {
    let hostile = Hostile::start(|request| request.status(500, "INTERNAL-SERVICE-SECRET")).await;
    let product = Product::start(&pool, &[]).await;
    let path = add(&product, &hostile).await;
    let words = status(&product, &path, "unreachable").await;
    assert!(words.contains("500 Internal Server Error") && !words.contains("SECRET"), "{words}");
    assert!(!product.log().contains("INTERNAL-SERVICE-SECRET"), "{}", product.log());
}

/// The number of a cluster that does no harm, and how many pages its list of projects has.
const GOOD: usize = 1000;
const GOOD_PAGES: usize = 5;

/// A page of 1.5 MiB: large enough to need a part of the memory that all share.
fn good_page(request: hostile::Request) -> hostile::Answer {
    let number: usize = request.query.split("continue=").nth(1).and_then(|next| next.parse().ok()).unwrap_or(0);
    let named = |each: usize| {
        let name = format!("good-{number}-{each}");
        json!({ "metadata": { "name": name, "uid": name, "resourceVersion": "5", "annotations": { "a": "x".repeat(30_000) } }, "status": { "phase": "Active" } })
    };
    let next = if number + 1 < GOOD_PAGES { (number + 1).to_string() } else { String::new() };
    request.json(&page(&(0..50).map(named).collect::<Vec<_>>(), &next, None))
}

/// What a cluster of the flood answers: the number after `/c` in its address chooses how it harms.
fn flood(request: hostile::Request) -> hostile::Answer {
    let (number, path) = request.path.trim_start_matches("/c").split_once('/').map(|(number, path)| (number.parse().unwrap_or(0), path.to_owned())).unwrap();
    let watches = request.query.contains("watch=true");
    let list = path.ends_with("pods") || path.ends_with("nodes") || path.ends_with("namespaces");
    match number % 5 {
        _ if number == GOOD && path.ends_with("namespaces") && !watches => good_page(request),
        _ if number == GOOD && watches => request.hang(),
        _ if number == GOOD && list => request.json(&page(&[], "", None)),
        _ if path == "version" => request.version(),
        _ if !list => request.json(&json!({ "status": { "resourceRules": [], "allowed": true } })),
        // A line of a watch that stops just before its limit.
        0 if watches => request.lines(std::iter::once(format!("{{\"type\":\"{}", "x".repeat(7 << 20)))),
        0 => request.json(&page(&[], "", None)),
        _ if watches => request.hang(),
        // As many small values as a page may have, where they are kept.
        1 => request.text(format!(r#"{{"items":[{{"spec":{{"containers":[{}{{}}]}}}}]}}"#, "{},".repeat(95_000))),
        2 => request.text(format!(r#"{{"items":[{}{{}}]}}"#, "{},".repeat(19_000))),
        // A page as long as may be, and always another one.
        3 => {
            let next = request.number.to_string();
            let project =
                json!({ "metadata": { "name": format!("n{next}"), "uid": next, "resourceVersion": "5", "annotations": { "a": "x".repeat(7 << 20) } } });
            request.json(&page(&[project], &next, None))
        }
        _ => request.lines(std::iter::once(format!("{{\"items\":[{{\"metadata\":{{\"name\":\"{}", "x".repeat(7 << 20)))),
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn many_clusters_that_harm_at_once_share_the_memory(pool: PgPool) {
    const CLUSTERS: usize = 15;
    let hostile = Hostile::start(flood).await;
    let mut product = Product::start(&pool, &[]).await;
    let mut paths = Vec::new();
    for number in 0..CLUSTERS {
        let new = json!({ "name": format!("harm{number}"), "kind": "kubernetes", "endpoint": format!("{}/c{number}", hostile.url), "credentials": { "auth_key": "token" } });
        let (status, answer) = product.api(Method::POST, "/api/providers", Some(new)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        paths.push(format!("/api/providers/{}", answer["results"][0]["id"].as_str().unwrap()));
    }
    let good = json!({ "name": "good", "kind": "kubernetes", "endpoint": format!("{}/c{GOOD}", hostile.url), "credentials": { "auth_key": "token" } });
    let (_, answer) = product.api(Method::POST, "/api/providers", Some(good)).await;
    paths.push(format!("/api/providers/{}", answer["results"][0]["id"].as_str().unwrap()));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        assert_unharmed(&mut product).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(hostile.requests() > 2 * CLUSTERS, "{}", hostile.requests());
    eventually("the cluster that does no harm is read among the others", SOON * 2, || async {
        let read = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM projects WHERE name LIKE 'good-%'").fetch_one(&pool).await.unwrap();
        (read == 50 * GOOD_PAGES as i64).then_some(())
    })
    .await;
    product.restart().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_unharmed(&mut product).await;
    for path in &paths {
        act(&product, path, "delete").await;
    }
    eventually("the providers are removed", SOON, || async {
        let (_, answer) = product.api(Method::GET, "/api/providers", None).await;
        (answer["count"] == 0).then_some(())
    })
    .await;
    assert_unharmed(&mut product).await;
}
