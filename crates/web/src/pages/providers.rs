//! Compute → Containers → Providers: the clusters that Tidewaiter manages.

mod actions;
mod form;

use crate::error::{Error, Result};
use crate::extract::{Form, Path};
use crate::list::{List, Spec};
use crate::page::{Flash, Page, redirect, respond};
use crate::session::Visit;
use crate::{State, freshness, keyset, show};
use access::Permission;
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use model::ids::ProviderId;
use serde::Deserialize;
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/providers", get(list))
        .route("/providers/new", get(form::new).post(form::create))
        .route("/providers/refresh", post(actions::refresh_selected))
        .route("/providers/{id}", get(show_one))
        .route("/providers/{id}/edit", get(form::edit).post(form::update))
        .route("/providers/{id}/refresh", post(actions::refresh))
        .route("/providers/{id}/validate", post(actions::validate))
        .route("/providers/{id}/pause", post(actions::pause))
        .route("/providers/{id}/resume", post(actions::resume))
        .route("/providers/{id}/results/share", post(actions::share))
        .route("/providers/{id}/results/keep-apart", post(actions::keep_apart))
        .route("/providers/{id}/delete", get(confirm_delete).post(delete))
}

static SPEC: Spec =
    Spec { path: "/providers", sorts: &["name", "status", "refreshed"], falling: &["refreshed"], filters: &[("kind", "Type"), ("status", "Status")] };

/// The statuses of a provider, as [`STATUS`] spells them, with the words of `label::provider`.
pub(crate) const STATUSES: [(&str, &str); 10] = [
    ("ok", "Connected"),
    ("unknown", "Not yet connected"),
    ("unreachable", "Unreachable"),
    ("wrong_address", "Wrong address"),
    ("tls", "TLS problem"),
    ("login", "Login refused"),
    ("permissions", "Permissions missing"),
    ("too_large", "Sends too much"),
    ("error", "Error"),
    ("paused", "Paused"),
];

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    kind: String,
    endpoint: String,
    status: String,
    status_message: String,
    refreshed_at: Option<DateTime<Utc>>,
    shares_results: bool,
    nodes: i64,
    pods: i64,
    images: i64,
}

#[derive(Template)]
#[template(path = "providers/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
    /// Why the user may not refresh, and not add.
    refresh: Option<String>,
    add: Option<String>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    let rows = read(&mut conn, &mut list).await?;
    let count = count(&mut conn, &list).await?;
    if let Some((_, words)) = STATUSES.iter().find(|(key, _)| list.filter("status") == Some(key)) {
        list.name_chip("status", *words);
    }
    let page = visit.page("providers", "Container Providers").live("providers").fresh(freshness::read(&mut conn, None).await?);
    let (refresh, add) = (page.denied(Permission::ScanImages), page.denied(Permission::ManageProviders));
    respond(&visit, &ListPage { page, list, rows, count: show::bounded(count), refresh, add })
}

async fn read(conn: &mut PgConnection, list: &mut List) -> Result<Vec<Row>> {
    Ok(keyset!(list, conn, Row, {
        "name" => "p.name", "TEXT";
        "status" => "p.status", "TEXT";
        "refreshed" => "COALESCE(p.refreshed_at, 'epoch')", "TIMESTAMPTZ";
    }, "p.id",
        r#"providers p
           WHERE ($4::TEXT IS NULL OR p.name ILIKE $4 OR p.endpoint ILIKE $4)
             AND ($5::TEXT IS NULL OR p.kind = $5)
             AND ($6::TEXT IS NULL OR p.removing_at IS NULL AND CASE WHEN p.paused_at IS NULL THEN p.status ELSE 'paused' END = $6)"#,
        r#"p.name, p.kind, p.endpoint, CASE WHEN p.removing_at IS NOT NULL THEN 'removing' WHEN p.paused_at IS NOT NULL THEN 'paused' ELSE p.status END AS "status!", p.status_message, p.refreshed_at, p.shares_results,
           (SELECT COUNT(*) FROM (SELECT FROM nodes WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "nodes!",
           (SELECT COUNT(*) FROM (SELECT FROM pods WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "pods!",
           (SELECT COUNT(*) FROM (SELECT FROM container_images WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "images!"
           FROM picked k JOIN providers p ON p.id = k.id"#,
        list.pattern(), list.filter("kind"), list.filter("status")
    ))
}

async fn count(conn: &mut PgConnection, list: &List) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM providers p
                 WHERE ($1::TEXT IS NULL OR p.name ILIKE $1 OR p.endpoint ILIKE $1)
                   AND ($2::TEXT IS NULL OR p.kind = $2)
                   AND ($3::TEXT IS NULL OR p.removing_at IS NULL AND CASE WHEN p.paused_at IS NULL THEN p.status ELSE 'paused' END = $3)
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter("kind"),
        list.filter("status")
    )
    .fetch_one(conn)
    .await?)
}

#[derive(Debug)]
struct Provider {
    id: i64,
    name: String,
    kind: String,
    endpoint: String,
    api_version: String,
    status: String,
    status_message: String,
    checked_at: Option<DateTime<Utc>>,
    removing_at: Option<DateTime<Utc>>,
    paused_at: Option<DateTime<Utc>>,
    openshift_version: String,
    refresh_started_at: Option<DateTime<Utc>>,
    refreshed_at: Option<DateTime<Utc>>,
    refresh_millis: Option<i64>,
    refresh_error: String,
    seen_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    shares_results: bool,
    projects: i64,
    nodes: i64,
    pods: i64,
    containers: i64,
    registries: i64,
    images: i64,
    images_inspected: i64,
    images_failing: i64,
    cpu_millis: i64,
    memory_bytes: i64,
    task: Option<i64>,
}

impl Provider {
    fn kind_label(&self) -> &'static str {
        inventory::Kind::parse(&self.kind).map_or("Unknown", inventory::Kind::label)
    }

    fn version_label(&self) -> String {
        match inventory::Kind::parse(&self.kind) {
            Some(kind) if !self.api_version.is_empty() => {
                inventory::Versions { kubernetes: self.api_version.clone(), openshift: self.openshift_version.clone(), kind }.to_string()
            }
            _ => "not known yet".to_owned(),
        }
    }

    fn results_word(&self) -> &'static str {
        if self.shares_results { "For the same images at other providers, too" } else { "For its own images alone" }
    }

    /// A refresh runs, or was cut off.
    fn refreshing(&self) -> bool {
        self.paused_at.is_none()
            && self.refresh_started_at.is_some_and(|started| self.refreshed_at.is_none_or(|refreshed| refreshed < started))
            && self.refresh_error.is_empty()
    }

    /// Share of its images that were inspected, 0 to 100.
    fn coverage(&self) -> i64 {
        if self.images == 0 { 0 } else { self.images_inspected * 100 / self.images }
    }
}

#[derive(Template)]
#[template(path = "providers/show.html")]
struct ShowPage {
    page: Page,
    provider: Provider,
    /// Why the user may not refresh, and not change it.
    refresh: Option<String>,
    change: Option<String>,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let provider = get_provider(&mut conn, id).await?;
    let page = visit.page("providers", &provider.name).crumb("Container Providers", "/providers").live("providers inspections");
    let (refresh, change) = (page.denied(Permission::ScanImages), page.denied(Permission::ManageProviders));
    respond(&visit, &ShowPage { page, provider, refresh, change })
}

async fn get_provider(conn: &mut PgConnection, id: i64) -> Result<Provider> {
    let provider = sqlx::query_as!(
        Provider,
        r#"SELECT p.id, name, kind, endpoint, api_version, CASE WHEN removing_at IS NOT NULL THEN 'removing' WHEN paused_at IS NOT NULL THEN 'paused' ELSE status END AS "status!", status_message, checked_at, removing_at, paused_at, openshift_version,
                  refresh_started_at, refreshed_at, refresh_millis, refresh_error,
                  seen_at, created_at, shares_results,
                  (SELECT COUNT(*) FROM (SELECT FROM projects WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "projects!",
                  (SELECT COUNT(*) FROM (SELECT FROM nodes WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "nodes!",
                  (SELECT COUNT(*) FROM (SELECT FROM pods WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "pods!",
                  (SELECT COUNT(*) FROM (SELECT FROM containers WHERE provider_id = p.id AND archived_at IS NULL LIMIT 10001) c) AS "containers!",
                  (SELECT COUNT(*) FROM (SELECT FROM image_registries WHERE provider_id = p.id LIMIT 10001) c) AS "registries!",
                  of.images AS "images!", of.inspected AS "images_inspected!", of.failing AS "images_failing!",
                  (SELECT COALESCE(SUM(cpu_millis), 0)::BIGINT FROM nodes WHERE provider_id = p.id AND archived_at IS NULL) AS "cpu_millis!",
                  (SELECT COALESCE(SUM(memory_bytes), 0)::BIGINT FROM nodes WHERE provider_id = p.id AND archived_at IS NULL) AS "memory_bytes!",
                  (SELECT id FROM tasks WHERE kind = 'provider_refresh' AND provider_id = p.id ORDER BY created_at DESC LIMIT 1) AS task
           FROM providers p
           CROSS JOIN LATERAL (
               SELECT COUNT(*) AS images, COUNT(*) FILTER (WHERE found_rank >= 0) AS inspected, COUNT(*) FILTER (WHERE found_rank >= 1::BIGINT << 36) AS failing
               FROM container_images
               WHERE provider_id = p.id AND archived_at IS NULL) AS of
           WHERE p.id = $1"#,
        id
    )
    .fetch_optional(conn)
    .await?;
    provider.ok_or(Error::NotFound("This provider"))
}

#[derive(Template)]
#[template(path = "providers/delete.html")]
struct DeletePage {
    page: Page,
    provider: Provider,
    problem: String,
}

async fn confirm_delete(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    delete_page(&visit, &state, id, String::new()).await
}

async fn delete_page(visit: &Visit, state: &State, id: i64, problem: String) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let provider = get_provider(&mut conn, id).await?;
    let page = visit.page("providers", "Remove").crumb("Container Providers", "/providers").crumb(&provider.name, format!("/providers/{id}"));
    respond(visit, &DeletePage { page, provider, problem })
}

#[derive(Debug, Deserialize)]
struct Confirmation {
    #[serde(default)]
    name: String,
}

async fn delete(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>, Form(confirmation): Form<Confirmation>) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let mut tx = state.pool.begin().await?;
    let provider = get_provider(&mut tx, id).await?;
    if confirmation.name.trim() != provider.name {
        drop(tx);
        return delete_page(&visit, &state, id, format!("Type the name {} exactly as it is written.", provider.name)).await;
    }
    inventory::removal::request(&mut tx, &state.clock, ProviderId(id)).await?;
    tx.commit().await?;
    access::audit::provider_removed(visit.by(), &provider.name);
    Ok(redirect("/providers", Flash::success(format!("The provider {} is being removed; its analyses are ended first.", provider.name))))
}
