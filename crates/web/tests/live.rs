//! Open pages: what they hear of changes, and what they ask by themselves.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::{Request, StatusCode, header};
use sqlx::PgPool;
use std::time::Duration;
use support::{Browser, inventory};
use tower::ServiceExt;

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_an_open_page_asks_by_itself_is_no_use_of_the_session(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    sqlx::query("UPDATE sessions SET last_used_at = NOW() - INTERVAL '10 minutes'").execute(&browser.pool).await.unwrap();
    let used = "SELECT COUNT(*) FROM sessions WHERE last_used_at > NOW() - INTERVAL '5 minutes'";
    for (path, name, value) in [("/tasks", "x-tidewaiter-background", "1"), ("/tasks", "accept", "text/event-stream")] {
        let answer = browser.send(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.texts("h1").len()), (StatusCode::OK, 1));
        assert_eq!(sqlx::query_scalar::<_, i64>(used).fetch_one(&browser.pool).await.unwrap(), 0, "{name}");
    }
    assert_eq!(browser.get("/tasks").await.status, StatusCode::OK);
    assert_eq!(sqlx::query_scalar::<_, i64>(used).fetch_one(&browser.pool).await.unwrap(), 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_page_hears_of_changes(pool: PgPool) {
    let browser = Browser::logged_in(pool).await;
    let mut events = events(&browser).await;
    let first = next_hint(&mut events).await;
    assert!(first.contains("tasks"), "listening begins with a hint for all: {first}");
    inventory(&browser.pool).await;
    let mut heard = String::new();
    while !(heard.contains("tasks") && heard.contains("pods")) {
        heard += &next_hint(&mut events).await;
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_page_hears_of_what_changed_while_it_was_on_its_way(pool: PgPool) {
    let browser = Browser::logged_in(pool).await;
    let mut before = events(&browser).await;
    inventory(&browser.pool).await;
    while !next_hint(&mut before).await.contains("pods") {}
    assert!(next_hint(&mut events(&browser).await).await.contains("pods"), "nothing changes any more, and it is told nevertheless");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_pages_hints_end_with_its_session(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    let mut events = events(&browser).await;
    next_hint(&mut events).await;
    browser.post_from("/", "/logout", &[]).await;
    let end = async {
        use http_body_util::BodyExt;
        while events.frame().await.is_some() {}
    };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("the stream ends, long before it would by itself");
}

async fn events(browser: &Browser) -> Body {
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = Request::get("/events").header(header::COOKIE, cookies.join("; ")).body(Body::empty()).unwrap();
    browser.router.clone().oneshot(request).await.unwrap().into_body()
}

async fn next_hint(body: &mut Body) -> String {
    use http_body_util::BodyExt;
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await.expect("a hint comes within 20 s").unwrap().unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        if text.contains("event: changed") {
            return text;
        }
    }
}
