//! Lists: how old they are, in which order, what bad addresses do, what actions and pages that became empty lead to, what is downloaded.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::{Request, StatusCode, header};
use sqlx::PgPool;
use support::{Browser, count_findings, inventory};

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::query(statement).execute(pool).await.unwrap();
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn pages_of_the_inventory_say_how_old_they_are(pool: PgPool) {
    inventory(&pool).await;
    run(&pool, "UPDATE providers SET seen_at = NOW() - INTERVAL '5 minutes'").await;
    run(&pool, "INSERT INTO providers (name, kind, endpoint, credentials, status, seen_at, created_at, updated_at) VALUES ('prod', 'kubernetes', 'https://10.0.0.2', '', 'ok', NOW() - INTERVAL '30 seconds', NOW(), NOW()), ('new', 'kubernetes', 'https://10.0.0.3', '', 'unknown', NULL, NOW(), NOW())").await;
    let mut browser = Browser::logged_in(pool).await;
    for path in ["/", "/containers", "/providers", "/projects", "/pods", "/containers/all", "/nodes", "/registries", "/images"] {
        let page = browser.get(path).await;
        assert!(page.texts(".tw-heading .tw-fresh")[0].starts_with("Inventory as of 3"), "{path}: {:?}", page.texts(".tw-fresh"));
        assert!(page.attribute(".tw-fresh time", "title").ends_with(" UTC"), "{path}");
        let silent = page.texts(".tw-silent");
        assert_eq!(silent, ["lab does not answer: Nobody answers. What is shown of it is as of 5 min ago ."], "{path}");
        assert_eq!(page.attribute(".tw-silent a", "href"), "/providers/1", "{path}");
    }
    let other = browser.get("/pods?provider=2").await;
    assert_eq!((other.texts(".tw-silent").len(), other.texts(".tw-fresh").len()), (0, 1), "only what the list is about");
    assert_eq!(browser.get("/tasks").await.texts(".tw-fresh").len(), 0, "tasks are our own");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn images_sort_by_their_worst_failures_and_new_ones_at_once(pool: PgPool) {
    inventory(&pool).await;
    for (number, failed) in [(2, "(0, 150, 0, 0, 0)"), (3, "(1, 0, 0, 0, 0)"), (4, "(0, 0, 0, 0, 2)"), (5, "(0, 0, 0, 0, 0)"), (6, "(0, 0, 101, 0, 0)")] {
        let statement = format!(
            "WITH n AS (INSERT INTO inspections (digest, scan_id, inspected_at, os_id, compressed_size_bytes, unpacked_size_bytes, config, package_database, package_count, fully_checked, provider_id, failed_critical, failed_high, failed_medium, failed_low, failed_unknown) SELECT 'sha256:' || REPEAT('{number}', 64), 1, NOW(), 'debian', 1, 2, '{{}}', '{{}}', 0, TRUE, 1, f.* FROM (VALUES {failed}) f) SELECT"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    run(&pool, "INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at) SELECT 1, 1, 'n' || g, 'sha256:' || REPEAT(g::TEXT, 64), NOW(), NOW() FROM generate_series(2, 7) g").await;
    count_findings(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let page = browser.get("/images").await;
    let sort = page.attribute("th a[href*='sort=failed']", "href");
    assert_eq!(sort, "/images?sort=failed&dir=desc", "the first click puts the worst first");
    assert_eq!(ids(&browser.get(&sort).await.body), ["image-3", "image-2", "image-1", "image-6", "image-4", "image-5", "image-7"]);
    assert_eq!(ids(&browser.get("/images?failed=any&sort=failed").await.body), ["image-3", "image-2", "image-1", "image-6", "image-4"]);
    assert_eq!(ids(&browser.get("/images?failed=critical").await.body), ["image-3"]);
    assert_eq!(ids(&browser.get("/images?scan=never").await.body), ["image-7"]);
    assert_eq!(ids(&browser.get("/images?os=debian&scan=complete&failed=high&q=n").await.body), ["image-2", "image-3"]);
    run(&browser.pool, "UPDATE inspections SET failed_critical = 2 WHERE digest LIKE 'sha256:5%'").await;
    // One that counts cannot go unnoticed: what it counts for has to let go of it first.
    assert!(sqlx::query("DELETE FROM inspections WHERE digest LIKE 'sha256:3%'").execute(&browser.pool).await.is_err());
    run(
        &browser.pool,
        "UPDATE container_images SET inspection_id = NULL, found_rank = -1, found_at = 'epoch', found_os_id = NULL, found_complete = NULL WHERE id = 3",
    )
    .await;
    run(&browser.pool, "DELETE FROM inspections WHERE digest LIKE 'sha256:3%'").await;
    count_findings(&browser.pool).await;
    assert_eq!(ids(&browser.get(&sort).await.body)[..2], ["image-5", "image-2"]);
    assert_eq!(ids(&browser.get("/images?scan=never").await.body), ["image-3", "image-7"]);
    assert_eq!(browser.get("/").await.texts(".tw-meter dd"), ["2", "153", "101", "0", "2"]);
}

fn ids(body: &str) -> Vec<String> {
    let html = scraper::Html::parse_document(body);
    html.select(&scraper::Selector::parse("tr[data-row]").unwrap()).map(|row| row.value().attr("id").unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_page_that_became_empty_leads_to_the_first(pool: PgPool) {
    inventory(&pool).await;
    run(
        &pool,
        "INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) SELECT 1, 'u' || n, 'z' || n, NOW(), NOW() FROM generate_series(1, 20) n",
    )
    .await;
    let mut browser = Browser::logged_in(pool).await;
    let first = browser.get("/projects").await;
    let next = first.attribute("a[rel=next]", "href");
    run(&browser.pool, "UPDATE projects SET archived_at = NOW() WHERE id > 2").await;
    let page = browser.get(&next).await;
    assert!(page.texts(".pf-v6-c-empty-state")[0].starts_with("This page is empty now"), "{:?}", page.texts(".pf-v6-c-empty-state"));
    assert_eq!(page.attribute(".pf-v6-c-empty-state a", "href"), "/projects");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_cannot_be_is_refused_with_a_page(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    for path in ["/images?q=%00", "/images?os=%00&sort=name", "/tasks?sort=updated&after=NSBhYmM", "/nodes?sort=memory&after=NSBhYmM", "/pods?provider=x"] {
        assert_eq!(browser.get(path).await.status, StatusCode::OK, "{path}: what the address has wrong counts as not said");
    }
    for path in ["/images/abc", "/tasks/99999999999999999999", "/images/1/scans/x", "/images/scan", "/images/1/openscap?scan=x"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.texts("h1")), (StatusCode::NOT_FOUND, vec!["Not found".to_owned()]), "{path}");
    }
    for (path, fields) in [("/images/scan", &[("id", "abc")][..]), ("/configuration/server", &[("server", "1"), ("role", "smartproxy"), ("on", "maybe")])] {
        let answer = browser.post_from("/", path, fields).await;
        assert_eq!((answer.status, answer.texts("h1")), (StatusCode::BAD_REQUEST, vec!["That did not work".to_owned()]), "{path}");
    }
    let token = browser.token("/").await;
    let cut = Request::post("/providers/new").header("x-csrf-token", token).header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
    let answer = browser.send(cut.body(Body::from("--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nprod")).unwrap()).await;
    assert_eq!((answer.status, answer.texts("h1")), (StatusCode::BAD_REQUEST, vec!["That did not work".to_owned()]));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_action_leads_back_to_the_list_as_it_was(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    for (list, action) in
        [("/images?q=cart&sort=failed&dir=desc", "/images/scan"), ("/providers?q=lab", "/providers/refresh"), ("/tasks?tab=all&state=active", "/tasks/cancel")]
    {
        let back = browser.get(list).await.attribute("#select input[name=back]", "value");
        assert_eq!(back, list);
        assert_eq!(browser.post_from(list, action, &[("back", &back)]).await.location(), list);
        assert_eq!(browser.post_from(list, action, &[("back", "https://example.com/")]).await.location(), "/", "only to pages of ours");
    }
    assert_eq!(browser.post_from("/providers", "/providers/refresh", &[("id", "1"), ("back", "/providers?q=lab")]).await.location(), "/providers?q=lab");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_images_that_match_are_downloaded_whole(pool: PgPool) {
    inventory(&pool).await;
    run(&pool, "INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at) SELECT 1, 1, '=n' || g, 'sha256:' || LPAD(g::TEXT, 64, '0'), NOW(), NOW() FROM generate_series(1, 2100) g").await;
    let mut browser = Browser::logged_in(pool).await;
    let href = browser.get("/images?q=%3Dn&per=50").await.attribute("a[href^='/images.csv']", "href");
    assert_eq!(href, "/images.csv?q=%3Dn");
    let answer = browser.get(&href).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    assert_eq!(answer.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"container-images.csv\"");
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines.len(), 2101, "a head and every row once, whatever a page holds");
    assert!(lines[0].starts_with("Id,Registry,Name,Tag,Digest") && lines[1].contains(",registry.example:5000,'=n"), "{}", lines[1]);
    let all = browser.get("/images.csv?sort=failed").await;
    assert!(
        all.body.lines().nth(1).unwrap().contains("shop/cart,1.2,sha256:aaaa") && all.body.contains(",0,3,0,0,0,error,Not verified"),
        "the order is the list's"
    );
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_entry_that_cannot_be_used_says_why(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let entries = [
        ("/images", "ask for analyses"),
        ("/images/1", "ask for analyses"),
        ("/tasks?tab=all", "cancel or retry tasks"),
        ("/tasks/1", "cancel or retry tasks"),
        ("/providers", "ask for analyses"),
        ("/providers/1", "change providers"),
    ];
    for (path, why) in entries {
        let said = browser.get(path).await.texts(".tw-menu [disabled]").join(" ");
        assert!(!said.contains(why), "{path}: an administrator may, but {said}");
    }
    run(&browser.pool, "UPDATE users SET role = 'auditor'").await;
    for (path, why) in entries {
        let said = browser.get(path).await.texts(".tw-menu [disabled]").join(" ");
        assert!(said.contains(&format!("Your role does not allow you to {why}")), "{path}: {said}");
    }
    run(&browser.pool, "UPDATE users SET role = 'operator'").await;
    run(&browser.pool, "UPDATE container_images SET archived_at = NOW()").await;
    assert!(browser.get("/images/1").await.texts(".tw-menu [disabled]").join(" ").contains("It is gone from the cluster"));
    let answer = browser.post_from("/", "/images/1/scan", &[]).await;
    assert_eq!((answer.status, answer.texts("h1")), (StatusCode::CONFLICT, vec!["Not possible now".to_owned()]));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn menus_offer_what_there_is_to_filter_by(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let one = browser.get("/images").await;
    assert!(one.texts("a[href='/images?provider=1']").is_empty(), "one is no choice");
    run(
        &browser.pool,
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('prod', 'kubernetes', 'https://10.0.0.2', '', NOW(), NOW())",
    )
    .await;
    run(&browser.pool, "INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) VALUES (2, 'p', 'bank', NOW(), NOW())").await;
    let two = browser.get("/images").await;
    assert_eq!(two.texts("a.pf-v6-c-menu__item[href='/images?provider=2']"), ["prod"]);
    assert_eq!(two.texts("a.pf-v6-c-menu__item[href='/images?project=2']"), ["bank (prod)"]);
    run(
        &browser.pool,
        "INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) SELECT 2, 'u' || g, 'many-' || g, NOW(), NOW() FROM generate_series(1, 20) g",
    )
    .await;
    assert!(browser.get("/images").await.texts("a.pf-v6-c-menu__item[href='/images?project=2']").is_empty(), "too many for a menu");
    assert_eq!(browser.get("/providers").await.texts("a.pf-v6-c-menu__item[href^='/providers?status=']").len(), 10);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn documents_and_titles_of_an_earlier_scan_are_its_own(pool: PgPool) {
    inventory(&pool).await;
    run(&pool, "INSERT INTO scans (digest, image_id, provider_id, userid, reference, state, outcome, requested_at, finished_at) SELECT digest, 1, 1, 'admin', 'r', 'finished', 'ok', '2026-03-01', '2026-03-01' FROM container_images").await;
    run(&pool, "INSERT INTO scan_layers (scan_id, layer, state, rules, failed, duration_millis) VALUES (1, 'guide', 'evaluated', 0, 0, 1), (2, 'benchmark', 'evaluated', 3, 1, 1)").await;
    run(&pool, "INSERT INTO scan_layers (scan_id, layer, state, rules, failed, duration_millis, definitions, definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided) VALUES (2, 'vulnerabilities', 'evaluated', 69, 64, 1, 40005, 69, 5, 39936, 2)").await;
    run(&pool, "INSERT INTO scan_artifacts (scan_id, layer, kind, body, size_bytes) VALUES (2, 'benchmark', 'html', '', 0)").await;
    run(&pool, "INSERT INTO rules (fingerprint, rule_id, title, description, rationale, fix, identifiers) VALUES ('a', 'r1', 'Low fail', '', '', '', '[]'), ('b', 'r2', 'High pass', '', '', '', '[]'), ('c', 'r3', 'Odd', '', '', '', '[]')").await;
    run(&pool, "INSERT INTO rule_results (scan_id, ordinal, rule_key, layer, outcome, severity) VALUES (2, 0, 1, 'benchmark', 'fail', 'low'), (2, 1, 3, 'benchmark', 'unknown', 'unknown'), (2, 2, 2, 'benchmark', 'fixed', 'high')").await;
    let mut browser = Browser::logged_in(pool).await;
    let old = browser.get("/images/1/openscap?scan=2").await;
    assert!(old.texts("h1")[0].starts_with("OpenSCAP results of shop/cart:1.2, scan 2 of 2026-03-01"), "{:?}", old.texts("h1"));
    let extent = "69 of 40,005 definitions evaluated, 64 failed, 2 undecided; the others concern packages that are not installed";
    assert!(old.texts("p.tw-part")[0].contains(extent), "{:?}", old.texts("p.tw-part"));
    let scan = browser.get("/images/1/scans/2").await.texts("ul.tw-layers li");
    assert!(scan[0].contains("3 rules, 1 failed") && scan[1].contains(extent), "{scan:?}");
    let report = old.attribute("a[href*='/report/']", "href");
    assert_eq!(report, "/images/1/openscap/report/benchmark?scan=2");
    let page = browser.get(&report).await;
    assert_eq!((page.status, page.attribute("iframe", "src")), (StatusCode::OK, "/images/1/scans/2/html/benchmark".to_owned()));
    assert_eq!(browser.get("/images/1/openscap/report/benchmark").await.status, StatusCode::NOT_FOUND, "the newest scan has no such layer");
    assert_eq!(browser.get("/images/1/openscap/report/benchmark?scan=77").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/images/1").await.texts("h1"), ["Container Image shop/cart:1.2"]);
    assert_eq!(ids(&old.body), ["rule-0", "rule-1", "rule-2"], "the worst result first");
    assert_eq!(ids(&browser.get("/images/1/openscap?scan=2&sort=severity").await.body), ["rule-2", "rule-0", "rule-1"], "the worst severity first");
    assert_eq!(ids(&browser.get("/images/1/openscap?scan=2&result=error").await.body), ["rule-1"], "filters and labels use the same words");
    assert_eq!(ids(&browser.get("/images/1/openscap?scan=2&result=pass").await.body), ["rule-2"]);
    assert_eq!(browser.get("/images/1/scans").await.texts("h1 .pf-v6-c-badge"), ["2"]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn counts_and_the_lists_they_lead_to_agree(pool: PgPool) {
    inventory(&pool).await;
    run(&pool, "UPDATE providers SET status = 'ok'").await;
    run(&pool, "INSERT INTO containers (provider_id, pod_id, image_id, kind, name, image_reference, state, archived_at) VALUES (1, 1, 1, 'container', 'old', 'r', 'terminated', NOW())").await;
    let mut browser = Browser::logged_in(pool).await;
    for (page, list) in [
        ("/providers/1", "/images?provider=1&failed=high"),
        ("/projects/1", "/images?project=1&failed=high"),
        ("/registries/1", "/images?registry=1&failed=high"),
        ("/pods/1", "/containers/all?pod=1"),
        ("/pods/1", "/images?pod=1"),
    ] {
        let count = browser.get(page).await.texts(&format!("a[href='{list}']"))[0].split(' ').next().unwrap().to_owned();
        assert_eq!(browser.get(list).await.texts("h1 .pf-v6-c-badge"), [count], "{page} → {list}");
    }
    let tasks = browser.get("/tasks?tab=all").await;
    assert_eq!(tasks.texts(".tw-scroll[role=region] thead th")[6..], ["Queued", "Started", "Updated"]);
    assert!(tasks.texts("#task-1 td")[6] == "not yet", "{:?}", tasks.texts("#task-1 td"));
}
