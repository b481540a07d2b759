//! Results of providers that share them and of providers that are kept apart: what pages and API show of an image when two clusters run the same content
//! and one of them lies about it.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod support;

use axum::body::Body;
use base64::Engine;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Browser, PASSWORD, count_findings, inventory, state};
use tower::ServiceExt;

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// Provider 1, `lab`, lies: its newer scan 2 found no failure in an image that provider 2, `prod`, runs too, where scan 1 found three. Image 1 is lab's,
/// 2 prod's; prod's image 3 has a digest that only lab looked into, in scan 3.
async fn two_clusters(pool: &PgPool) {
    inventory(pool).await;
    run(
        pool,
        "INSERT INTO providers (name, kind, endpoint, credentials, status, created_at, updated_at) VALUES ('prod', 'kubernetes', 'https://10.0.0.2', '', 'ok', NOW(), NOW());
         INSERT INTO image_registries (provider_id, host, name, first_seen_at) VALUES (2, 'r', 'r', NOW());
         INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         SELECT 2, 2, 'pay', '1', digest, NOW(), NOW() FROM container_images WHERE id = 1;
         INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         VALUES (2, 2, 'web', '1', 'sha256:' || REPEAT('c', 64), NOW(), NOW());
         UPDATE scans SET provider_id = 2, outcome = 'ok', finished_at = NOW() - INTERVAL '1 hour' WHERE id = 1;
         UPDATE inspections SET provider_id = 2, inspected_at = NOW() - INTERVAL '1 hour', os_id = 'debian' WHERE scan_id = 1;
         INSERT INTO scans (digest, provider_id, userid, reference, state, outcome, message, requested_at, finished_at)
         SELECT digest, 1, 'admin', 'r', 'finished', 'ok', 'forged', NOW(), NOW() FROM scans WHERE id = 1
         UNION ALL SELECT 'sha256:' || REPEAT('c', 64), 1, 'admin', 'r', 'finished', 'ok', 'forged', NOW(), NOW();
         INSERT INTO inspections (digest, provider_id, scan_id, inspected_at, os_id, compressed_size_bytes, unpacked_size_bytes, config, package_database,
                                  package_count, fully_checked)
         SELECT digest, 1, id, NOW(), 'forged', 1, 2, '{\"architecture\":\"amd64\",\"os\":\"linux\"}', '{}', 0, TRUE FROM scans WHERE message = 'forged';
         INSERT INTO scan_layers (scan_id, layer, state, rules, failed, duration_millis) SELECT id, 'benchmark', 'evaluated', 1, 0, 1 FROM scans;
         INSERT INTO scan_artifacts (scan_id, layer, kind, body, size_bytes) SELECT id, 'benchmark', 'html', DECODE('28b52ffd2000010000', 'hex'), 0 FROM scans;",
    )
    .await;
    count_findings(pool).await;
}

/// What a page about an image says of where it was inspected.
async fn inspected(browser: &mut Browser, path: &str) -> String {
    browser.get(path).await.texts(".tw-inspected").join("|")
}

async fn csv(browser: &mut Browser, name: &str) -> Vec<String> {
    let body = browser.get("/images.csv").await.body;
    let line = body.lines().find(|line| line.contains(&format!(",{name},"))).unwrap();
    line.split(',').map(str::to_owned).collect()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_image_at_prod_does_not_show_what_the_lab_says_once_that_is_kept_apart(pool: PgPool) {
    two_clusters(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    for path in ["/images/1", "/images/2", "/images/2/openscap", "/images/2/openscap/report/benchmark", "/images/2/packages"] {
        assert!(inspected(&mut browser, path).await.starts_with("Inspected on lab , "), "{path}");
    }
    assert_eq!(browser.get("/images").await.texts("#image-2 td")[3].split(" on ").nth(1), Some("lab"));
    assert_eq!(browser.get("/providers/2").await.texts(".tw-progress span"), ["100 %"]);

    let answer = browser.post_from("/providers/1", "/providers/1/results/keep-apart", &[]).await;
    assert_eq!(answer.location(), "/providers/1");
    let page = browser.get("/providers/1").await;
    assert!(page.body.contains("2 images changed, 1 of them not analysed any more."), "{}", page.body);
    assert!(page.body.contains("For its own images alone") && page.body.contains("/providers/1/results/share"));
    assert!(browser.get("/providers").await.texts("#provider-1 th")[0].contains("Results count for its own images alone"));

    // Prod has its own again; the lab keeps its own.
    assert!(inspected(&mut browser, "/images/1").await.starts_with("Inspected on lab , "));
    for path in ["/images/2", "/images/2/openscap", "/images/2/openscap/report/benchmark", "/images/2/packages"] {
        assert!(inspected(&mut browser, path).await.starts_with("Inspected on prod , 1 h ago"), "{path}: {}", inspected(&mut browser, path).await);
    }
    assert_eq!(browser.get("/images/2").await.texts(".tw-failures .tw-severity-high .tw-tile__number"), ["3"]);
    // What only the lab looked into is not analysed, and never green.
    let lost = browser.get("/images/3").await;
    assert!(!lost.body.contains("No rule failed") && lost.body.contains("Not analysed yet"));
    assert_eq!(lost.texts(".tw-uncounted"), ["The same content was inspected on lab, whose results do not count on prod: analyse it here."]);
    assert!(browser.get("/images/3/openscap").await.body.contains("Not analysed yet"));
    assert!(browser.get("/images/3/packages").await.body.contains("Not analysed yet"));

    // Lists, ranks and counts.
    let list = browser.get("/images").await;
    assert_eq!(list.texts("#image-3 td")[1..5], ["Not analysed", "Not verified", "never", "Not known"]);
    assert!(list.texts("#image-1 td")[1] == "None" && !list.texts("#image-2 td")[1].is_empty());
    let rows = async |browser: &mut Browser, path: &str| browser.get(path).await.texts("tr[data-row] th a").join(" ");
    assert_eq!(rows(&mut browser, "/images?scan=never").await, "web:1");
    assert_eq!(rows(&mut browser, "/images?failed=high").await, "pay:1");
    assert_eq!(rows(&mut browser, "/images?os=forged").await, "shop/cart:1.2");
    assert_eq!(browser.get("/providers/2").await.texts(".tw-progress span"), ["50 %"]);
    assert_eq!(browser.get("/").await.texts(".tw-meter dd"), ["0", "3", "0", "0", "0"]);
    assert_eq!(csv(&mut browser, "pay").await[11], "prod");
    assert_eq!(csv(&mut browser, "web").await[10..14], ["", "", "", ""]);

    // Its scans are its own: no address at prod's image leads to them.
    assert_eq!(browser.get("/images/1/scans").await.texts("h1 .pf-v6-c-badge"), ["1"]);
    let history = browser.get("/images/2/scans").await;
    assert_eq!(history.texts("tr[data-row] th"), ["Scan 1"]);
    for path in ["scans/2", "openscap?scan=2", "openscap/report/benchmark?scan=2", "scans/2/html/benchmark", "scans/2/arf/benchmark"] {
        assert_eq!(browser.get(&format!("/images/2/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_ne!(browser.get(&format!("/images/1/{}", path.replace("/arf/", "/html/"))).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(browser.get("/images/1/scans/1").await.status, StatusCode::NOT_FOUND, "nor the other way round");

    browser.post_from("/providers/1", "/providers/1/results/share", &[]).await;
    assert!(inspected(&mut browser, "/images/2").await.starts_with("Inspected on lab , "));
    assert!(inspected(&mut browser, "/images/3").await.starts_with("Inspected on lab , "));
    assert_eq!(browser.get("/images/2/scans").await.texts("tr[data-row] td:nth-of-type(2)"), ["lab", "prod"]);
}

async fn api(router: &axum::Router, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let login = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    let request = Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Basic {login}"));
    let request = request.header(header::CONTENT_TYPE, "application/json").body(body.map_or_else(Body::empty, |body| body.to_string().into()));
    let (parts, body) = router.clone().oneshot(request.unwrap()).await.unwrap().into_parts();
    (parts.status, serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_api_says_where_an_image_was_inspected_and_changes_whose_results_count(pool: PgPool) {
    two_clusters(&pool).await;
    let router = web::api(state(&pool).await);
    let image = async |id: i64| {
        let path = format!("/api/container_images/{id}?attributes=last_scan_result,openscap_failed_rules_summary,operating_system.distribution");
        let (status, image) = api(&router, Method::GET, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{image}");
        let scan = &image["last_scan_result"];
        (image["inspected_on"].clone(), image["failed_high"].clone(), scan["provider"].clone(), scan["scan_message"].clone())
    };
    assert_eq!(image(2).await, (json!("lab"), json!(0), json!("lab"), json!("forged")));
    let edit = async |body: Value| api(&router, Method::POST, "/api/providers/1", Some(body)).await;
    let (status, provider) = edit(json!({"action": "edit", "resource": {"shares_results": false}})).await;
    assert_eq!((status, &provider["shares_results"]), (StatusCode::OK, &json!(false)));
    assert_eq!(image(2).await, (json!("prod"), json!(3), json!("prod"), json!("")));
    assert_eq!(image(3).await, (Value::Null, Value::Null, Value::Null, Value::Null));
    assert_eq!(image(1).await.0, json!("lab"));
    let (_, listed) = api(&router, Method::GET, "/api/container_images?expand=resources&filter[]=inspected_on='lab'&attributes=name", None).await;
    assert_eq!(listed["resources"].as_array().unwrap().iter().map(|image| image["id"].clone()).collect::<Vec<_>>(), [json!("1")]);
    let (status, _) = edit(json!({"action": "edit", "shares_results": true})).await;
    assert_eq!((status, image(3).await.0), (StatusCode::OK, json!("lab")));

    for (body, why) in [
        (json!({"action": "edit", "resource": {"shares_results": "no"}}), "\"shares_results\" must be true or false, not \"no\""),
        (json!({"action": "edit", "resource": {}}), "\"resource\" changes nothing: give \"shares_results\""),
        (json!({"action": "edit", "resource": {"endpoint": "https://x"}}), "\"endpoint\" of a provider cannot be edited; \"shares_results\" can"),
    ] {
        let (status, answer) = edit(body).await;
        assert_eq!((status, answer["error"]["message"].as_str().unwrap()), (StatusCode::BAD_REQUEST, why));
    }
    assert_eq!(api(&router, Method::POST, "/api/providers/77", Some(json!({"action": "edit", "shares_results": true}))).await.0, StatusCode::NOT_FOUND);
    let new = json!({"name": "third", "endpoint": "https://10.0.0.3:6443", "credentials": {"auth_key": "t"}, "shares_results": false});
    let (status, created) = api(&router, Method::POST, "/api/providers", Some(new)).await;
    assert_eq!((status, &created["results"][0]["shares_results"]), (StatusCode::OK, &json!(false)), "{created}");
    sqlx::query("UPDATE users SET role = 'operator'").execute(&pool).await.unwrap();
    assert_eq!(edit(json!({"action": "edit", "shares_results": false})).await.0, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_may_not_change_providers_does_not_change_whose_results_count(pool: PgPool) {
    two_clusters(&pool).await;
    run(&pool, "UPDATE users SET role = 'operator'").await;
    let mut browser = Browser::new(pool).await;
    run(&browser.pool, "UPDATE users SET role = 'operator'").await;
    browser.log_in("admin", PASSWORD, "/").await;
    assert_eq!(browser.post_from("/", "/providers/1/results/keep-apart", &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.post("/providers/1/results/keep-apart", &[("csrf_token", "x")]).await.status, StatusCode::FORBIDDEN);
    let shares: bool = sqlx::query_scalar("SELECT shares_results FROM providers WHERE id = 1").fetch_one(&browser.pool).await.unwrap();
    assert!(shares);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_form_asks_whose_results_count_and_keeps_what_was_chosen(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    let page = browser.get("/providers/new").await;
    assert_eq!(page.attribute("input[name=shares_results][checked]", "value"), "yes");
    let fields = [("name", "lab"), ("kind", "kubernetes"), ("method", "token"), ("endpoint", "https://127.0.0.1:1"), ("token", "t"), ("shares_results", "no")];
    let token = browser.token("/providers/new").await;
    let part = |(name, value): &(&str, &str)| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let body: String = fields.iter().map(part).chain([part(&("csrf_token", &token)), "--b--\r\n".to_owned()]).collect();
    let request = Request::post("/providers/new").header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    let answer = browser.send(request.body(Body::from(body)).unwrap()).await;
    assert!(answer.body.contains("Nothing was saved"), "{}", answer.body);
    assert_eq!(answer.attribute("input[name=shares_results][checked]", "value"), "no");
}
