//! Compute → Containers → Pods.

use crate::error::{Error, Result};
use crate::extract::Path;
use crate::list::{List, Spec, plan_for_values};
use crate::masking;
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
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new().route("/pods", get(list)).route("/pods/{id}", get(show_one))
}

static SPEC: Spec = Spec {
    path: "/pods",
    sorts: &["name", "created", "phase"],
    falling: &["created"],
    filters: &[("provider", "Provider"), ("project", "Project"), ("node", "Node"), ("image", "Image"), ("phase", "Phase")],
};

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    phase: String,
    ready: bool,
    reason: String,
    project_id: i64,
    project: String,
    node_id: Option<i64>,
    node: Option<String>,
    provider_id: i64,
    provider: String,
    containers: i64,
    created_at: DateTime<Utc>,
}

#[derive(Template)]
#[template(path = "pods/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    let projects = projects_found(&mut conn, &list).await?;
    plan_for_values(&mut conn).await?;
    let count = count(&mut conn, &list, projects.as_deref()).await?;
    list.found(count);
    let rows = keyset!(list, conn, Row, { "name" => "o.name", "TEXT"; "created" => "o.created_at", "TIMESTAMPTZ"; "phase" => "o.phase", "TEXT" }, "o.id",
        r#"pods o
           WHERE o.archived_at IS NULL
             AND ($4::TEXT IS NULL OR o.name ILIKE $4 OR o.project_id = ANY($10))
             AND ($5::BIGINT IS NULL OR o.provider_id = $5)
             AND ($6::BIGINT IS NULL OR o.project_id = $6)
             AND ($7::BIGINT IS NULL OR o.node_id = $7)
             AND ($8::BIGINT IS NULL OR o.id = ANY(ARRAY(SELECT pod_id FROM containers WHERE image_id = $8 AND archived_at IS NULL)))
             AND ($9::TEXT IS NULL OR o.phase = $9)"#,
        r#"o.name, o.phase, o.ready, o.reason, o.project_id, p.name AS project, o.node_id, n.name AS "node?", o.provider_id, v.name AS provider, o.created_at,
           (SELECT COUNT(*) FROM containers WHERE pod_id = o.id AND archived_at IS NULL) AS "containers!"
           FROM picked k
           JOIN pods o ON o.id = k.id JOIN projects p ON p.id = o.project_id JOIN providers v ON v.id = o.provider_id LEFT JOIN nodes n ON n.id = o.node_id"#,
        list.pattern(), list.filter_id("provider"), list.filter_id("project"), list.filter_id("node"), list.filter_id("image"), list.filter("phase"), projects.as_deref() as _
    );
    name_chips(&mut conn, &mut list).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    respond(&visit, &ListPage { page: visit.page("pods", "Pods").live("pods providers").fresh(fresh), list, rows, count: show::bounded(count) })
}

/// Projects whose name the search text finds, if any. They are looked up first: the planner weighs known ids, not a condition on another table.
async fn projects_found(conn: &mut PgConnection, list: &List) -> Result<Option<Vec<i64>>> {
    let Some(pattern) = list.pattern() else { return Ok(None) };
    let ids = sqlx::query_scalar!("SELECT id FROM projects WHERE archived_at IS NULL AND name ILIKE $1", pattern).fetch_all(conn).await?;
    Ok(Some(ids).filter(|ids| !ids.is_empty()))
}

async fn count(conn: &mut PgConnection, list: &List, projects: Option<&[i64]>) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM pods o
                 WHERE o.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR o.name ILIKE $1 OR o.project_id = ANY($7))
                   AND ($2::BIGINT IS NULL OR o.provider_id = $2)
                   AND ($3::BIGINT IS NULL OR o.project_id = $3)
                   AND ($4::BIGINT IS NULL OR o.node_id = $4)
                   AND ($5::BIGINT IS NULL OR o.id = ANY(ARRAY(SELECT pod_id FROM containers WHERE image_id = $5 AND archived_at IS NULL)))
                   AND ($6::TEXT IS NULL OR o.phase = $6)
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("project"),
        list.filter_id("node"),
        list.filter_id("image"),
        list.filter("phase"),
        projects as _
    )
    .fetch_one(conn)
    .await?)
}

/// Names in place of numbers on the chips of this list and of the containers'.
pub async fn name_chips(conn: &mut PgConnection, list: &mut List) -> Result<()> {
    provider_name(conn, list).await?;
    if let Some(id) = list.filter_id("project")
        && let Some(name) = sqlx::query_scalar!("SELECT name FROM projects WHERE id = $1", id).fetch_optional(&mut *conn).await?
    {
        list.name_chip("project", name);
    }
    if let Some(id) = list.filter_id("node")
        && let Some(name) = sqlx::query_scalar!("SELECT name FROM nodes WHERE id = $1", id).fetch_optional(&mut *conn).await?
    {
        list.name_chip("node", name);
    }
    if let Some(id) = list.filter_id("pod")
        && let Some(name) = sqlx::query_scalar!("SELECT name FROM pods WHERE id = $1", id).fetch_optional(&mut *conn).await?
    {
        list.name_chip("pod", name);
    }
    Ok(())
}

#[derive(Debug)]
struct Pod {
    id: i64,
    name: String,
    phase: String,
    ready: bool,
    reason: String,
    message: String,
    restart_policy: String,
    dns_policy: String,
    service_account: String,
    address: String,
    owner_kind: String,
    owner_name: String,
    labels: Value,
    annotations: Value,
    conditions: Value,
    created_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
    project_id: i64,
    project: String,
    node_id: Option<i64>,
    node: Option<String>,
    provider_id: i64,
    provider: String,
    images: i64,
    /// Containers of it that are there, as the list of containers counts them.
    running: i64,
}

#[derive(Debug)]
struct Container {
    id: i64,
    name: String,
    kind: String,
    state: String,
    reason: String,
    exit_code: Option<i32>,
    restart_count: i32,
    image_reference: String,
    image_id: Option<i64>,
}

#[derive(Template)]
#[template(path = "pods/show.html")]
struct ShowPage {
    page: Page,
    pod: Pod,
    containers: Vec<Container>,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let mut pod = sqlx::query_as!(
        Pod,
        r#"SELECT o.id, o.name, o.phase, o.ready, o.reason, o.message, o.restart_policy, o.dns_policy, o.service_account, o.address, o.owner_kind, o.owner_name,
                  o.labels, o.annotations, o.conditions, o.created_at, o.archived_at, o.project_id, p.name AS project, o.node_id, n.name AS "node?",
                  o.provider_id, v.name AS provider,
                  (SELECT COUNT(DISTINCT image_id) FROM containers WHERE pod_id = o.id AND archived_at IS NULL) AS "images!",
                  (SELECT COUNT(*) FROM containers WHERE pod_id = o.id AND archived_at IS NULL) AS "running!"
           FROM pods o JOIN projects p ON p.id = o.project_id JOIN providers v ON v.id = o.provider_id LEFT JOIN nodes n ON n.id = o.node_id
           WHERE o.id = $1"#,
        id
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::NotFound("This pod"))?;
    masking::pairs(&visit.user, &mut pod.labels);
    masking::pairs(&visit.user, &mut pod.annotations);
    let containers = sqlx::query_as!(
        Container,
        r#"SELECT id, name, CASE WHEN sidecar THEN 'sidecar' ELSE kind END AS "kind!", state, reason, exit_code, restart_count, image_reference, image_id
         FROM containers
         WHERE pod_id = $1
         ORDER BY kind, name"#,
        id
    )
    .fetch_all(&mut *conn)
    .await?;
    let page = visit.page("pods", &pod.name).crumb("Pods", "/pods").live("pods");
    respond(&visit, &ShowPage { page, pod, containers })
}
