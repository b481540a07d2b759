//! Compute → Containers → Image Registries.

use crate::error::{Error, Result};
use crate::extract::Path;
use crate::list::{List, Spec};
use crate::page::{Page, respond};
use crate::pages::provider_name;
use crate::session::Visit;
use crate::{State, freshness, keyset, show};
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Utc};

pub fn routes() -> Router<State> {
    Router::new().route("/registries", get(list)).route("/registries/{id}", get(show_one))
}

static SPEC: Spec = Spec { path: "/registries", sorts: &["name"], falling: &[], filters: &[("provider", "Provider")] };

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    host: String,
    port: Option<i32>,
    provider_id: i64,
    provider: String,
    images: i64,
    images_inspected: i64,
}

#[derive(Template)]
#[template(path = "registries/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    let rows = keyset!(list, conn, Row, { "name" => "r.name", "TEXT" }, "r.id",
        r#"image_registries r
           WHERE ($4::TEXT IS NULL OR r.name ILIKE $4)
             AND ($5::BIGINT IS NULL OR r.provider_id = $5)"#,
        r#"r.name, r.host, r.port, r.provider_id, v.name AS provider,
           (SELECT COUNT(*) FROM (SELECT FROM container_images WHERE registry_id = r.id AND archived_at IS NULL LIMIT 10001) i) AS "images!",
           (SELECT COUNT(*) FROM (SELECT FROM container_images WHERE registry_id = r.id AND archived_at IS NULL AND found_rank >= 0 LIMIT 10001) i) AS "images_inspected!"
           FROM picked k JOIN image_registries r ON r.id = k.id JOIN providers v ON v.id = r.provider_id"#,
        list.pattern(), list.filter_id("provider")
    );
    let count = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM image_registries r
                 WHERE ($1::TEXT IS NULL OR r.name ILIKE $1)
                   AND ($2::BIGINT IS NULL OR r.provider_id = $2)
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider")
    )
    .fetch_one(&mut *conn)
    .await?;
    provider_name(&mut conn, &mut list).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    let page = visit.page("registries", "Image Registries").live("container_images inspections providers").fresh(fresh);
    respond(&visit, &ListPage { page, list, rows, count: show::bounded(count) })
}

#[derive(Debug)]
struct Registry {
    id: i64,
    name: String,
    host: String,
    port: Option<i32>,
    provider_id: i64,
    provider: String,
    first_seen_at: DateTime<Utc>,
    images: i64,
    images_inspected: i64,
    images_failing: i64,
}

#[derive(Template)]
#[template(path = "registries/show.html")]
struct ShowPage {
    page: Page,
    registry: Registry,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let registry = sqlx::query_as!(
        Registry,
        r#"SELECT r.id, r.name, r.host, r.port, r.provider_id, v.name AS provider, r.first_seen_at,
                  of.images AS "images!", of.inspected AS "images_inspected!", of.failing AS "images_failing!"
           FROM image_registries r JOIN providers v ON v.id = r.provider_id
           CROSS JOIN LATERAL (
               SELECT COUNT(*) AS images, COUNT(*) FILTER (WHERE found_rank >= 0) AS inspected, COUNT(*) FILTER (WHERE found_rank >= 1::BIGINT << 36) AS failing
               FROM container_images
               WHERE registry_id = r.id AND archived_at IS NULL) AS of
           WHERE r.id = $1"#,
        id
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::NotFound("This registry"))?;
    let page = visit.page("registries", &registry.name).crumb("Image Registries", "/registries").live("container_images inspections");
    respond(&visit, &ShowPage { page, registry })
}
