//! The interface over HTTP: who gets in, what every page shows, what a form changes.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::{Request, StatusCode, header};
use sqlx::PgPool;
use support::{Browser, PASSWORD, inventory};

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_is_not_logged_in_gets_the_login_page_and_then_what_was_asked_for(pool: PgPool) {
    let mut browser = Browser::new(pool).await;
    let answer = browser.get("/tasks?tab=all").await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login?next=%2Ftasks%3Ftab%3Dall"));
    let page = browser.get(answer.location().to_owned().as_str()).await;
    assert_eq!(page.attribute("input[name=next]", "value"), "/tasks?tab=all");
    let wrong = browser.log_in("admin", "nonsense", "/").await;
    assert_eq!((wrong.status, wrong.texts("[role=alert]")), (StatusCode::UNAUTHORIZED, vec!["User or password is wrong.".to_owned()]));
    let away = browser.log_in("admin", PASSWORD, "https://example.com/").await;
    assert_eq!((away.status, away.location()), (StatusCode::SEE_OTHER, "/"));
    let cookie = away
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .find(|cookie| cookie.as_bytes().starts_with(b"tidewaiter_session="))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let session = browser.cookies.clone();
    let out = browser.post_from("/", "/logout", &[]).await;
    assert_eq!(out.location(), "/login");
    browser.cookies = session;
    assert_eq!(browser.get("/").await.location(), "/login", "the session ended on the server, not only in the browser");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn failed_logins_make_the_next_wait_seconds_but_not_a_browser_that_is_known(pool: PgPool) {
    let mut known = Browser::logged_in(pool.clone()).await;
    let mut browser = Browser::new(pool).await;
    for _ in 0..5 {
        assert_eq!(browser.log_in("admin", "nonsense", "/").await.status, StatusCode::UNAUTHORIZED);
    }
    // On a slow machine the wait may be over before the next attempt; it grows, so one of a few is early enough.
    let mut answer = browser.log_in("admin", "nonsense", "/").await;
    for _ in 0..10 {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        answer = browser.log_in("admin", "nonsense", "/").await;
    }
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    let page = known.get("/configuration/server").await;
    assert!(page.texts(".tw-rows li").iter().any(|line| line.starts_with("admin from unknown at the login page: ")), "{:?}", page.texts(".tw-rows"));
    known.cookies.remove("tidewaiter_session");
    assert_eq!(known.log_in("admin", PASSWORD, "/").await.status, StatusCode::SEE_OTHER);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn no_next_page_breaks_the_login(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    for next in ["/%00", "/%0D%0ASet-Cookie:a=b", "/%7F", "/%C2%85", "/%1B", "//away.example", "/%5Caway.example", "%00"] {
        let answer = browser.get(&format!("/login?next={next}")).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"), "{next}");
        for (path, field) in [("/theme", "back"), ("/providers/refresh", "back"), ("/login", "next")] {
            let value: String = url::form_urlencoded::parse(format!("x={next}").as_bytes()).map(|(_, value)| value.into_owned()).collect();
            let answer = browser.post_from("/", path, &[(field, &value), ("theme", "dark")]).await;
            assert!(!answer.status.is_server_error(), "{path} {next}: {}", answer.status);
        }
    }
    for path in ["/images/1/scans/1/arf/%00", "/providers/%00", "/images?q=%00", "/static/%00"] {
        assert!(!browser.get(path).await.status.is_server_error(), "{path}");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_got_the_password_from_somebody_else_chooses_another_first(pool: PgPool) {
    let mut browser = Browser::new(pool).await;
    sqlx::query("UPDATE users SET must_change_password = TRUE").execute(&browser.pool).await.unwrap();
    assert_eq!(browser.log_in("admin", PASSWORD, "/tasks").await.location(), "/settings");
    for path in ["/", "/tasks", "/providers/new"] {
        assert_eq!(browser.get(path).await.location(), "/settings", "{path}");
    }
    let page = browser.get("/settings").await;
    assert!(page.texts(".pf-v6-c-alert__title")[0].contains("Choose a password of your own"));
    let change = async |browser: &mut Browser, current: &str, new: &str, again: &str| {
        browser.post_from("/settings", "/settings/password", &[("current", current), ("new", new), ("again", again)]).await
    };
    for (current, new, again, status, text) in [
        (PASSWORD, "battery staple", "battery stable", StatusCode::BAD_REQUEST, "differ"),
        (PASSWORD, "short", "short", StatusCode::BAD_REQUEST, "at least 8"),
        (PASSWORD, PASSWORD, PASSWORD, StatusCode::BAD_REQUEST, "is the old one"),
        ("wrong", "battery staple", "battery staple", StatusCode::FORBIDDEN, "not your current password"),
    ] {
        let answer = change(&mut browser, current, new, again).await;
        assert_eq!(answer.status, status);
        assert!(answer.texts("[role=alert]")[0].contains(text), "{:?}", answer.texts("[role=alert]"));
    }
    let before = browser.cookies.clone();
    assert_eq!(change(&mut browser, PASSWORD, "battery staple", "battery staple").await.location(), "/");
    assert_eq!(browser.get("/tasks").await.status, StatusCode::OK);
    browser.cookies = before;
    assert!(browser.get("/tasks").await.location().starts_with("/login"), "the session of before has ended");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn ones_own_sessions_are_listed_and_ended(pool: PgPool) {
    let mut here = Browser::logged_in(pool.clone()).await;
    let mut there = Browser::logged_in(pool.clone()).await;
    let mut elsewhere = Browser::logged_in(pool).await;
    let page = here.get("/settings").await;
    assert_eq!(page.texts(".tw-switches li").len(), 3);
    assert!(page.texts(".tw-switches li")[0].contains("This one"));
    let one = page.attribute("button[name=session]", "value");
    here.post_from("/settings", "/settings/sessions/end", &[("session", &one)]).await;
    let ended = [there.get("/").await.location().starts_with("/login"), elsewhere.get("/").await.location().starts_with("/login")];
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1);
    here.post_from("/settings", "/settings/sessions/end", &[("session", "others")]).await;
    assert!(there.get("/").await.location().starts_with("/login") && elsewhere.get("/").await.location().starts_with("/login"));
    assert_eq!(here.get("/settings").await.texts(".tw-switches li").len(), 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn over_https_cookies_are_this_hosts_alone_and_browsers_are_told(pool: PgPool) {
    let mut state = support::state(&pool).await;
    let mut settings = (*state.settings).clone();
    settings.secure_cookies = true;
    state.settings = settings.into();
    let mut browser = Browser { router: web::ui(state), pool, cookies: Default::default() };
    let login = browser.log_in("admin", PASSWORD, "/").await;
    let theme = browser.post_from("/", "/theme", &[("theme", "dark"), ("back", "/")]).await;
    let flash = browser.post_from("/", "/providers/refresh", &[]).await;
    for answer in [&login, &theme, &flash] {
        assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-tidewaiter_") && cookie.ends_with("; Path=/; Secure"), "{cookie}");
        }
    }
    assert!(browser.get("/").await.body.contains("pf-v6-theme-dark"));
    let planted = browser.cookies["__Host-tidewaiter_session"].clone();
    browser.cookies = [("tidewaiter_session".to_owned(), planted)].into();
    assert_eq!(browser.get("/").await.location(), "/login", "a cookie that plain http could have set does not count");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn stored_documents_are_downloaded_as_they_were(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let document = "<arf/>".repeat(100_000);
    let packed = zstd::encode_all(document.as_bytes(), 1).unwrap();
    sqlx::query(
        "INSERT INTO scan_artifacts (scan_id, layer, kind, body, size_bytes) SELECT 1, 'benchmark', kind, $1, $2 FROM UNNEST(ARRAY['arf', 'html']) AS kind",
    )
    .bind(packed)
    .bind(document.len() as i64)
    .execute(&browser.pool)
    .await
    .unwrap();
    let arf = browser.get("/images/1/scans/1/arf/benchmark").await;
    assert!(arf.body == document && arf.headers[header::CONTENT_DISPOSITION].to_str().unwrap().ends_with(".arf.xml\""));
    let html = browser.get("/images/1/scans/1/html/benchmark").await;
    assert!(html.body == document && html.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox"));
    assert_eq!(browser.get("/images/1/scans/1/arf/guide").await.status, StatusCode::NOT_FOUND);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_form_without_the_sessions_token_changes_nothing(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    for fields in [&[][..], &[("csrf_token", "")], &[("csrf_token", "guessed")]] {
        let answer = browser.post("/configuration/server", &[fields, &[("server", "1"), ("role", "smartproxy"), ("on", "false")]].concat()).await;
        assert_eq!((answer.status, answer.texts("h1")), (StatusCode::FORBIDDEN, vec!["Not allowed".to_owned()]));
    }
    let off = "SELECT COUNT(*) FROM server_roles WHERE NOT enabled";
    assert_eq!(sqlx::query_scalar::<_, i64>(off).fetch_one(&browser.pool).await.unwrap(), 0);
    let token = browser.token("/").await;
    let request = Request::post("/configuration/server").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").header("x-csrf-token", token);
    let answer = browser.send(request.body(Body::from("server=1&role=smartproxy&on=false")).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(sqlx::query_scalar::<_, i64>(off).fetch_one(&browser.pool).await.unwrap(), 1);
    let page = browser.get(answer.location().to_owned().as_str()).await;
    assert!(page.texts(".tw-toasts")[0].contains("SmartProxy was switched off on here"));
    assert!(browser.get("/configuration/server").await.texts(".tw-toasts li").is_empty(), "a message is shown once");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn every_answer_forbids_what_pages_do_not_need(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    for path in ["/", "/login", "/no-such-page", "/projects/99"] {
        let answer = browser.get(path).await;
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'; frame-src 'self'; object-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            (&answer.headers[header::CACHE_CONTROL], &answer.headers[header::X_CONTENT_TYPE_OPTIONS]),
            (&"no-store".parse().unwrap(), &"nosniff".parse().unwrap())
        );
        assert!(!answer.body.contains("style=\"") && !answer.body.contains(" onclick="), "{path} has inline style or script");
    }
    let style = browser.get("/").await.attribute("link[rel=stylesheet][href$='app.css']", "href");
    let style = browser.get(&style).await;
    assert_eq!((style.status, style.headers[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "public, max-age=31536000, immutable"));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn every_page_shows_what_it_is_about(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let expected = [
        ("/", ".tw-rows a", "shop/cart:1.2"),
        ("/help", "h2", "Keys"),
        ("/providers", "#provider-1", "lab Unreachable Nobody answers."),
        ("/providers?q=nothing", ".pf-v6-c-empty-state", "Nothing matches"),
        ("/providers/1", ".pf-v6-c-alert", "Nobody answers."),
        ("/providers/new", "button[value=validate]", "Validate"),
        ("/providers/1/delete", ".pf-v6-c-card", "1 projects, 1 nodes, 1 pods, 1 containers and 1 images"),
        ("/projects", "#project-1", "shop"),
        ("/projects/1", ".tw-labels", "team=a"),
        ("/nodes?ready=yes", "#node-1", "node-1 Ready Cordoned lab"),
        ("/nodes/1", "[aria-label=Conditions]", "KubeletReady"),
        ("/pods?project=1&node=1&image=1&phase=Running", "#pod-1", "cart-0 Running"),
        ("/pods?project=1", ".tw-chips", "Project: shop"),
        ("/pods/1", "[aria-label=Containers]", "cart Terminated"),
        ("/containers", ".tw-tiles", "1 Container Images"),
        ("/containers/all?pod=1", "#container-1", "cart Terminated"),
        ("/containers/1", ".pf-v6-c-description-list", "Exit code 137"),
        ("/registries", "#registry-1", "registry.example:5000 registry.example 5000 lab 1 1"),
        ("/registries/1", ".pf-v6-c-card", "registry.example:5000"),
        ("/images", "#image-1", "shop/cart:1.2 aaaaaaaaaaaa 3 high Not verified"),
        ("/images?pod=1&node=1&project=1&provider=1&registry=1&failed=high&scan=incomplete", "#image-1", "shop/cart:1.2"),
        ("/images?failed=high", ".tw-chips", "Failed rules: With critical or high failures"),
        ("/images?failed=critical", ".pf-v6-c-empty-state", "Nothing matches"),
        ("/images/1", ".tw-failures li:nth-child(2)", "3 High"),
        ("/images/1", ".pf-v6-c-description-list", "1"),
        ("/images/1/openscap", ".pf-v6-c-empty-state", "No rule was evaluated"),
        ("/images/1/packages", ".pf-v6-c-empty-state", "No packages"),
        ("/images/1/scans", "#scan-1", "Scan 1 Finished: Error"),
        ("/images/1/scans/1", ".pf-v6-c-description-list", "Requested by admin"),
        ("/providers/1/delete", "h1", "Remove lab?"),
        ("/tasks?tab=all", "#task-1", "Analysis of 2 images 1 of 2 finished Active"),
        ("/tasks?tab=my&status=error&period=hour", "#task-2", "Finished: Error"),
        ("/tasks/1", "[aria-label=Parts]", "Analysis of shop/cart The registry refused the login. Finished: Error"),
        ("/tasks/2", ".pf-v6-c-alert", "Check the pull secret. Reason: access_denied"),
        ("/tasks/2", ".tw-timeline", "Pod started"),
        ("/tasks/2", ".tw-log", "last words"),
        ("/configuration/server", ".tw-switches", "SmartState Analysis On"),
    ];
    for (path, selector, text) in expected {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.texts("h1"));
        assert!(answer.texts(selector).iter().any(|found| found.contains(text)), "{path} {selector}: {text:?} is not in {:?}", answer.texts(selector));
        assert_eq!(answer.texts("h1").len(), 1, "{path} has one h1");
    }
    assert_eq!(browser.get("/tasks?tab=all").await.texts("#task-2").len(), 0, "parts of a bulk task are on its page");
    for path in ["/providers/9", "/projects/9", "/nodes/9", "/pods/9", "/containers/9", "/registries/9", "/tasks/9", "/nowhere"] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let fragment = browser.send(Request::get("/tasks?tab=all").header("hx-request", "true").body(Body::empty()).unwrap()).await;
    assert!(fragment.body.contains("task-1") && !fragment.body.contains("<html"), "a live page asks for its content alone");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn empty_pages_say_the_next_step(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    for (path, href) in [("/", "/providers/new"), ("/providers", "/providers/new"), ("/pods", "/providers"), ("/nodes", "/providers"), ("/tasks", "/images")] {
        assert_eq!(browser.get(path).await.attribute(".pf-v6-c-empty-state a", "href"), href, "{path}");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn pages_of_a_list_hold_every_row_once_in_order_forth_and_back(pool: PgPool) {
    inventory(&pool).await;
    sqlx::query("INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) SELECT 1, 'u' || n, 'same-' || n % 3, NOW() - n * INTERVAL '1 hour', NOW() FROM generate_series(1, 49) n").execute(&pool).await.unwrap();
    let mut browser = Browser::logged_in(pool).await;
    for order in ["", "&sort=name&dir=desc", "&sort=created&dir=asc", "&sort=created&dir=desc"] {
        let mut page = browser.get(&format!("/projects?per=20{order}")).await;
        assert_eq!(page.texts("h1"), ["Projects 50"]);
        let mut forth = vec![rows(&page)];
        while page.body.contains("rel=\"next\"") {
            let next = page.attribute("a[rel=next]", "href");
            page = browser.get(&next).await;
            forth.push(rows(&page));
        }
        let all: Vec<String> = forth.concat();
        let expected: Vec<String> = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql_order(order)))
            .fetch_all(&browser.pool)
            .await
            .unwrap()
            .iter()
            .map(|id| format!("project-{id}"))
            .collect();
        assert_eq!(all, expected, "{order}");
        let mut back = vec![rows(&page)];
        while page.body.contains("rel=\"prev\"") {
            let previous = page.attribute("a[rel=prev]", "href");
            page = browser.get(&previous).await;
            back.push(rows(&page));
        }
        back.reverse();
        assert_eq!(back, forth, "{order}");
    }
}

fn sql_order(order: &str) -> String {
    let column = if order.contains("created") { "created_at" } else { "name" };
    let direction = if order.contains("desc") { "DESC" } else { "ASC" };
    format!("SELECT id FROM projects ORDER BY {column} {direction}, id {direction}")
}

fn rows(page: &support::Answer) -> Vec<String> {
    let html = scraper::Html::parse_document(&page.body);
    html.select(&scraper::Selector::parse("tr[data-row]").unwrap()).map(|row| row.value().attr("id").unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_may_only_look_changes_nothing(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    sqlx::query("UPDATE users SET role = 'auditor'").execute(&browser.pool).await.unwrap();
    assert_eq!(browser.get("/tasks/1").await.status, StatusCode::OK);
    for path in
        ["/providers/1/refresh", "/providers/1/validate", "/providers/1/delete", "/tasks/1/cancel", "/tasks/2/retry", "/providers/refresh", "/tasks/cancel"]
    {
        assert_eq!(browser.post_from("/", path, &[]).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn values_that_look_like_secrets_are_shown_to_administrators_alone(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    for sql in [
        r#"UPDATE inspections SET config = config || '{"env": ["DB_PASSWORD=Kq7xT2mN", "URL=redis://:Kq7xT2mN@redis", "LANG=C.UTF-8"], "entrypoint": ["app"],
           "cmd": ["--token", "Kq7xT2mN"], "labels": {"source": "https://r:Kq7xT2mN@git.test/a"}}'"#,
        r#"UPDATE containers SET command = ARRAY['sh', '-c', 'exec app --password Kq7xT2mN'], message = 'cannot reach https://r:Kq7xT2mN@api.test'"#,
        r#"UPDATE pods SET annotations = '{"app/api-key": "Kq7xT2mN", "app/config": "{\"password\": \"Kq7xT2mN\"}", "team": "shop"}'"#,
    ] {
        sqlx::query(sql).execute(&browser.pool).await.unwrap();
    }
    let pages = ["/images/1", "/containers/1", "/pods/1"];
    for page in pages {
        assert!(browser.get(page).await.body.contains("Kq7xT2mN"), "{page}: an administrator may see it");
    }
    for role in ["auditor", "operator"] {
        sqlx::query("UPDATE users SET role = $1").bind(role).execute(&browser.pool).await.unwrap();
        for page in pages {
            let answer = browser.get(page).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(!answer.body.contains("Kq7xT2mN") && answer.body.contains("••••••"), "{role}: {page}");
        }
        assert!(browser.get("/images/1").await.body.contains("LANG=C.UTF-8"));
        let csv = browser.get("/images.csv").await;
        assert!(csv.status == StatusCode::OK && !csv.body.contains("Kq7xT2mN"));
    }
}
