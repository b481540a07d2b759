//! Compute → Containers → Projects: namespaces of Kubernetes, projects of OpenShift.

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
use serde_json::Value;

pub fn routes() -> Router<State> {
    Router::new().route("/projects", get(list)).route("/projects/{id}", get(show_one))
}

static SPEC: Spec = Spec { path: "/projects", sorts: &["name", "created"], falling: &["created"], filters: &[("provider", "Provider"), ("image", "Image")] };

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    display_name: String,
    phase: String,
    provider_id: i64,
    provider: String,
    pods: i64,
    containers: i64,
    images: i64,
    created_at: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "projects/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    let rows = keyset!(list, conn, Row, { "name" => "p.name", "TEXT"; "created" => "p.created_at", "TIMESTAMPTZ" }, "p.id",
        r#"projects p
           WHERE p.archived_at IS NULL
             AND ($4::TEXT IS NULL OR p.name ILIKE $4 OR p.display_name ILIKE $4)
             AND ($5::BIGINT IS NULL OR p.provider_id = $5)
             AND ($6::BIGINT IS NULL OR p.id = ANY(ARRAY(SELECT o.project_id FROM containers c JOIN pods o ON o.id = c.pod_id WHERE c.image_id = $6 AND c.archived_at IS NULL)))"#,
        r#"p.name, p.display_name, p.phase, p.provider_id, v.name AS provider, p.created_at,
           (SELECT COUNT(*) FROM (SELECT FROM pods WHERE project_id = p.id AND archived_at IS NULL LIMIT 10001) o) AS "pods!",
           used.containers AS "containers!", used.images AS "images!"
           FROM picked k JOIN projects p ON p.id = k.id JOIN providers v ON v.id = p.provider_id
           CROSS JOIN LATERAL (
               SELECT COUNT(*) AS containers, COUNT(DISTINCT c.image_id) AS images
               FROM (SELECT c.image_id FROM pods o JOIN containers c ON c.pod_id = o.id
                     WHERE o.project_id = p.id AND o.archived_at IS NULL AND c.archived_at IS NULL LIMIT 10001) c) AS used"#,
        list.pattern(), list.filter_id("provider"), list.filter_id("image")
    );
    let count = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM projects p
                 WHERE p.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR p.name ILIKE $1 OR p.display_name ILIKE $1)
                   AND ($2::BIGINT IS NULL OR p.provider_id = $2)
                   AND ($3::BIGINT IS NULL OR p.id = ANY(ARRAY(SELECT o.project_id FROM containers c JOIN pods o ON o.id = c.pod_id WHERE c.image_id = $3 AND c.archived_at IS NULL)))
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("image")
    )
    .fetch_one(&mut *conn)
    .await?;
    provider_name(&mut conn, &mut list).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    respond(&visit, &ListPage { page: visit.page("projects", "Projects").live("pods providers").fresh(fresh), list, rows, count: show::bounded(count) })
}

#[derive(Debug)]
struct Project {
    id: i64,
    name: String,
    display_name: String,
    phase: String,
    labels: Value,
    provider_id: i64,
    provider: String,
    created_at: DateTime<Utc>,
    first_seen_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
    pods: i64,
    containers: i64,
    images: i64,
    images_inspected: i64,
    images_failing: i64,
}

#[derive(Template)]
#[template(path = "projects/show.html")]
struct ShowPage {
    page: Page,
    project: Project,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let project = sqlx::query_as!(
        Project,
        r#"WITH used AS (
             SELECT DISTINCT c.image_id FROM containers c JOIN pods o ON o.id = c.pod_id
             WHERE o.project_id = $1 AND o.archived_at IS NULL AND c.archived_at IS NULL AND c.image_id IS NOT NULL
           )
           SELECT p.id, p.name, p.display_name, p.phase, p.labels, p.provider_id, v.name AS provider, p.created_at, p.first_seen_at, p.archived_at,
                  (SELECT COUNT(*) FROM pods WHERE project_id = p.id AND archived_at IS NULL) AS "pods!",
                  (SELECT COUNT(*) FROM containers c JOIN pods o ON o.id = c.pod_id WHERE o.project_id = p.id AND o.archived_at IS NULL AND c.archived_at IS NULL) AS "containers!",
                  (SELECT COUNT(*) FROM used) AS "images!",
                  (SELECT COUNT(*) FROM used JOIN container_images i ON i.id = image_id WHERE found_rank >= 0) AS "images_inspected!",
                  (SELECT COUNT(*) FROM used JOIN container_images i ON i.id = image_id WHERE found_rank >= 1::BIGINT << 36) AS "images_failing!"
           FROM projects p JOIN providers v ON v.id = p.provider_id
           WHERE p.id = $1"#,
        id
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::NotFound("This project"))?;
    let page = visit.page("projects", &project.name).crumb("Projects", "/projects").live("pods container_images");
    respond(&visit, &ShowPage { page, project })
}
