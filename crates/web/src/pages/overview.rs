//! Overview: what there is, how it is, what was done last; the help page; the theme.

use crate::error::Result;
use crate::page::{Page, THEME, local, respond};
use crate::pages::containers::{Counts, count_all};
use crate::session::Visit;
use crate::{State, show};
use askama::Template;
use axum::Form;
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

/// Failed rules over all images that run, by severity.
#[derive(Debug)]
struct Failures {
    critical: i64,
    high: i64,
    medium: i64,
    low: i64,
    unknown: i64,
}

impl Failures {
    /// Key, word and number of each severity, worst first.
    fn rows(&self) -> [(&'static str, &'static str, i64); 5] {
        [
            ("critical", "Critical", self.critical),
            ("high", "High", self.high),
            ("medium", "Medium", self.medium),
            ("low", "Low", self.low),
            ("unknown", "Unknown", self.unknown),
        ]
    }

    /// The largest number, for the bars; at least 1.
    fn most(&self) -> i64 {
        self.rows().into_iter().map(|(.., number)| number).fold(1, i64::max)
    }
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
    failures: Failures,
    worst: Vec<Worst>,
}

async fn overview(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let counts = count_all(&mut conn).await?;
    let providers = sqlx::query_as!(
        Provider,
        r#"SELECT id, name, status, status_message, refreshed_at,
                  (SELECT COUNT(*) FROM container_images WHERE provider_id = p.id AND archived_at IS NULL) AS "images!"
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
    let failures = sqlx::query_as!(
        Failures,
        r#"SELECT COALESCE(SUM(failed_critical), 0)::BIGINT AS "critical!", COALESCE(SUM(failed_high), 0)::BIGINT AS "high!",
                  COALESCE(SUM(failed_medium), 0)::BIGINT AS "medium!", COALESCE(SUM(failed_low), 0)::BIGINT AS "low!",
                  COALESCE(SUM(failed_unknown), 0)::BIGINT AS "unknown!"
           FROM inspections
           WHERE EXISTS (SELECT FROM container_images i WHERE i.digest = inspections.digest AND archived_at IS NULL)"#
    )
    .fetch_one(&mut *conn)
    .await?;
    let worst = sqlx::query_as!(
        Worst,
        "SELECT i.id, i.name, i.tag, i.digest, failed_critical AS critical, failed_high AS high, failed_medium AS medium
         FROM container_images i JOIN inspections USING (digest)
         WHERE i.archived_at IS NULL
           AND failed_critical + failed_high > 0
         ORDER BY failed_critical DESC, failed_high DESC, failed_medium DESC, i.name
         LIMIT 6"
    )
    .fetch_all(&mut *conn)
    .await?;
    let page = visit.page("overview", "Overview").live("tasks providers inspections container_images");
    respond(&visit, &OverviewPage { page, counts, providers, tasks, failures, worst })
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

async fn theme(_visit: Visit, extract::State(state): extract::State<State>, Form(form): Form<ThemeForm>) -> Response {
    let theme = if form.theme == "dark" { "dark" } else { "light" };
    let cookie = Cookie::build((THEME, theme)).path("/").http_only(true).same_site(SameSite::Lax).secure(state.settings.secure_cookies).permanent();
    (CookieJar::new().add(cookie), Redirect::to(local(&form.back))).into_response()
}
