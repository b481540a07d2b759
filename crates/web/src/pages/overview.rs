//! Overview: what there is, how it is, what was done last; the help page; the theme.

use crate::error::Result;
use crate::extract::Form;
use crate::page::{Page, THEME, local, respond};
use crate::pages::containers::{Counts, count_all};
use crate::session::Visit;
use crate::{State, freshness, show};
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use chrono::{DateTime, Utc};
use serde::Deserialize;

pub fn routes() -> Router<State> {
    Router::new().route("/", get(overview)).route("/help", get(help)).route("/theme", post(theme))
}

#[derive(Debug)]
struct Provider {
    id: i64,
    name: String,
    status: String,
    status_message: String,
    refreshed_at: Option<DateTime<Utc>>,
    images: i64,
}

#[derive(Debug)]
struct Task {
    id: i64,
    name: String,
    state: String,
    status: String,
    message: String,
    updated_at: DateTime<Utc>,
}

/// Key, word and number of failed rules of each severity, worst first.
fn failures(counts: &Counts) -> [(&'static str, &'static str, i64); 5] {
    [
        ("critical", "Critical", counts.failed_critical),
        ("high", "High", counts.failed_high),
        ("medium", "Medium", counts.failed_medium),
        ("low", "Low", counts.failed_low),
        ("unknown", "Unknown", counts.failed_unknown),
    ]
}

#[derive(Debug)]
struct Worst {
    id: i64,
    name: String,
    tag: String,
    digest: String,
    critical: i32,
    high: i32,
    medium: i32,
}

#[derive(Template)]
#[template(path = "overview/show.html")]
struct OverviewPage {
    page: Page,
    counts: Counts,
    providers: Vec<Provider>,
    tasks: Vec<Task>,
    failures: [(&'static str, &'static str, i64); 5],
    /// The largest of these numbers, for the bars; at least 1.
    most: i64,
    worst: Vec<Worst>,
}

async fn overview(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let counts = count_all(&mut conn).await?;
    let providers = sqlx::query_as!(
        Provider,
        r#"SELECT id, name, status, status_message, refreshed_at,
                  (SELECT COUNT(*) FROM (SELECT FROM container_images WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) i) AS "images!"
           FROM providers p
           ORDER BY status = 'ok', name
           LIMIT 10"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let tasks = sqlx::query_as!(
        Task,
        r#"SELECT id, name, state, COALESCE(status, '') AS "status!", message, updated_at
           FROM tasks
           WHERE parent_id IS NULL
           ORDER BY created_at DESC, id DESC
           LIMIT 6"#
    )
    .fetch_all(&mut *conn)
    .await?;
    let worst = sqlx::query_as!(
        Worst,
        "SELECT i.id, i.name, i.tag, i.digest, n.failed_critical AS critical, n.failed_high AS high, n.failed_medium AS medium
         FROM (SELECT id, name, tag, digest, found_rank, inspection_id
               FROM container_images
               WHERE archived_at IS NULL
                 AND found_rank >= 1::BIGINT << 36
               ORDER BY found_rank DESC, id DESC
               LIMIT 6) i
         JOIN inspections n ON n.id = i.inspection_id
         ORDER BY i.found_rank DESC, i.id DESC"
    )
    .fetch_all(&mut *conn)
    .await?;
    let fresh = freshness::read(&mut conn, None).await?;
    let page = visit.page("overview", "Overview").live("tasks providers inspections container_images").fresh(fresh);
    let failures = failures(&counts);
    let most = failures.iter().map(|(.., number)| *number).fold(1, i64::max);
    respond(&visit, &OverviewPage { page, counts, providers, tasks, failures, most, worst })
}

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage {
    page: Page,
}

async fn help(visit: Visit) -> Result<Response> {
    respond(&visit, &HelpPage { page: visit.page("", "Help") })
}

#[derive(Debug, Deserialize)]
struct ThemeForm {
    theme: String,
    #[serde(default)]
    back: String,
}

async fn theme(_visit: Visit, Form(form): Form<ThemeForm>) -> Response {
    let theme = if form.theme == "dark" { "dark" } else { "light" };
    let cookie = Cookie::build((THEME, theme)).path("/").http_only(true).same_site(SameSite::Lax).permanent();
    (CookieJar::new().add(cookie), Redirect::to(local(&form.back))).into_response()
}
