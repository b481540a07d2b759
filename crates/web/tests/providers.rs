//! Providers over HTTP: what is done with those selected, how one is removed, paused and resumed, what a wrong connection says.

#![allow(clippy::unwrap_used)]

mod support;

use axum::body::Body;
use http::{Request, StatusCode, header};
use sqlx::PgPool;
use support::{Browser, inventory};

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn selected_providers_are_refreshed_and_open_tasks_cancelled(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let nothing = browser.post_from("/providers", "/providers/refresh", &[]).await;
    assert!(browser.get(nothing.location().to_owned().as_str()).await.texts(".tw-toasts")[0].contains("No provider was selected"));
    for fields in [&[("id", "1"), ("id", "99")][..], &[("all", "1"), ("query", "q=la")], &[("all", "1"), ("query", "q=elsewhere")]] {
        browser.post_from("/providers", "/providers/refresh", fields).await;
    }
    let asked: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM tasks WHERE kind = 'provider_refresh' AND userid = 'admin'").fetch_one(&browser.pool).await.unwrap();
    assert_eq!(asked, 2);
    let cancelled = browser.post_from("/tasks", "/tasks/cancel", &[("all", "1"), ("query", "kind=provider_refresh")]).await;
    assert!(browser.get(cancelled.location().to_owned().as_str()).await.texts(".tw-toasts")[0].contains("Cancellation of 2 tasks requested"));
    let again = browser.post_from("/tasks/2", "/tasks/2/retry", &[]).await;
    assert!(again.location().starts_with("/tasks/") && again.location() != "/tasks/2", "{}", again.location());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_is_removed_by_a_job_and_shows_that_until_then(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    let mistyped = browser.post_from("/", "/providers/1/delete", &[("name", "lap")]).await;
    assert!(mistyped.texts("[role=alert]")[0].contains("Type the name lab exactly"));
    assert_eq!(browser.post_from("/", "/providers/1/delete", &[("name", "lab")]).await.location(), "/providers");
    assert!(browser.get("/providers").await.texts("#provider-1")[0].contains("lab Being removed"));
    assert!(browser.get("/providers/1").await.texts(".pf-v6-c-alert")[0].contains("This provider is being removed"));
    assert_eq!(browser.post_from("/", "/providers/1/refresh", &[]).await.status, StatusCode::CONFLICT);
    assert_eq!(browser.post_from("/", "/images/1/scan", &[]).await.status, StatusCode::CONFLICT);
    let jobs: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM apalis.jobs WHERE job_type = 'control'").fetch_one(&browser.pool).await.unwrap();
    assert_eq!(jobs, 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_is_paused_and_shows_that_until_it_is_resumed(pool: PgPool) {
    inventory(&pool).await;
    let mut browser = Browser::logged_in(pool).await;
    assert_eq!(browser.post_from("/", "/providers/1/pause", &[]).await.location(), "/providers/1");
    for list in ["/providers", "/providers?status=paused"] {
        assert!(browser.get(list).await.texts("#provider-1")[0].contains("lab Paused"), "{list}");
    }
    assert!(browser.get("/providers/1").await.texts(".pf-v6-c-alert")[0].contains("This provider is paused"));
    assert_eq!(browser.post_from("/", "/providers/1/refresh", &[]).await.status, StatusCode::CONFLICT);
    assert_eq!(browser.post_from("/", "/images/1/scan", &[]).await.status, StatusCode::CONFLICT);
    assert_eq!(browser.post_from("/", "/providers/1/resume", &[]).await.location(), "/providers/1");
    assert!(!browser.get("/providers").await.texts("#provider-1")[0].contains("Paused"));
    browser.post_from("/", "/providers/1/refresh", &[]).await;
    let refreshes: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM tasks WHERE kind = 'provider_refresh' AND state <> 'finished'").fetch_one(&browser.pool).await.unwrap();
    assert!(refreshes > 0);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_wrong_connection_is_explained_and_the_form_is_kept(pool: PgPool) {
    let mut browser = Browser::logged_in(pool).await;
    let token = browser.token("/providers/new").await;
    let boundary = "frontier";
    let fields = [
        ("csrf_token", token.as_str()),
        ("name", "prod"),
        ("kind", "kubernetes"),
        ("method", "token"),
        ("endpoint", "https://127.0.0.1:1"),
        ("token", "abc"),
        ("ca", ""),
        ("action", "save"),
    ];
    let body: String =
        fields.iter().map(|(name, value)| format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")).collect();
    let request = Request::post("/providers/new").header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"));
    let answer = browser.send(request.body(Body::from(format!("{body}--{boundary}--\r\n"))).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.texts(".pf-v6-c-alert")[0].contains("unreachable"), "{:?}", answer.texts(".pf-v6-c-alert"));
    assert_eq!((answer.attribute("#name", "value"), answer.attribute("#endpoint", "value")), ("prod".to_owned(), "https://127.0.0.1:1".to_owned()));
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM providers").fetch_one(&browser.pool).await.unwrap(), 0);
}
