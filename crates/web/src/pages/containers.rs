//! Compute → Containers: the overview of all that is inventoried, and the list of containers.

use crate::error::{Error, Result};
use crate::extract::Path;
use crate::list::{List, Spec, plan_for_values};
use crate::masking;
use crate::page::{Page, respond};
use crate::pages::pods::name_chips;
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
    Router::new().route("/containers", get(overview)).route("/containers/all", get(list)).route("/containers/{id}", get(show_one))
}

/// How much of each kind there is, without what is archived. All but those of images are counted up to one over [`show::COUNTED`]; images have an
/// index of their ranks alone, and their shares need whole numbers.
#[derive(Debug)]
pub struct Counts {
    pub providers: i64,
    pub projects: i64,
    pub nodes: i64,
    pub nodes_not_ready: i64,
    pub pods: i64,
    pub pods_not_running: i64,
    pub containers: i64,
    pub registries: i64,
    pub images: i64,
    pub images_inspected: i64,
    pub images_failing: i64,
    /// Failed rules of all images, by severity.
    pub failed_critical: i64,
    pub failed_high: i64,
    pub failed_medium: i64,
    pub failed_low: i64,
    pub failed_unknown: i64,
}

impl Counts {
    pub fn nodes_note(&self) -> String {
        if self.nodes_not_ready > 0 { format!("{} not ready", show::bounded(self.nodes_not_ready)) } else { String::new() }
    }

    pub fn pods_note(&self) -> String {
        if self.pods_not_running > 0 { format!("{} not running", show::bounded(self.pods_not_running)) } else { String::new() }
    }

    /// Share of the images that were analysed, 0 to 100.
    pub fn coverage(&self) -> i64 {
        if self.images == 0 { 0 } else { self.images_inspected * 100 / self.images }
    }
}

/// Counts over all providers. The bits of `found_rank`: see `inspections.failed_rank`.
pub async fn count_all(conn: &mut PgConnection) -> Result<Counts> {
    Ok(sqlx::query_as!(
        Counts,
        r#"SELECT (SELECT COUNT(*) FROM (SELECT FROM providers LIMIT 10001) AS c) AS "providers!",
                  (SELECT COUNT(*) FROM (SELECT FROM projects WHERE archived_at IS NULL LIMIT 10001) AS c) AS "projects!",
                  (SELECT COUNT(*) FROM (SELECT FROM nodes WHERE archived_at IS NULL LIMIT 10001) AS c) AS "nodes!",
                  (SELECT COUNT(*) FROM (SELECT FROM nodes WHERE archived_at IS NULL AND NOT ready LIMIT 10001) AS c) AS "nodes_not_ready!",
                  (SELECT COUNT(*) FROM (SELECT FROM pods WHERE archived_at IS NULL LIMIT 10001) AS c) AS "pods!",
                  (SELECT COUNT(*) FROM (
                       (SELECT FROM pods WHERE archived_at IS NULL AND phase < 'Running' LIMIT 10001) UNION ALL
                       (SELECT FROM pods WHERE archived_at IS NULL AND phase > 'Running' AND phase < 'Succeeded' LIMIT 10001) UNION ALL
                       (SELECT FROM pods WHERE archived_at IS NULL AND phase > 'Succeeded' LIMIT 10001)) AS c) AS "pods_not_running!",
                  (SELECT COUNT(*) FROM (SELECT FROM containers WHERE archived_at IS NULL LIMIT 10001) AS c) AS "containers!",
                  (SELECT COUNT(*) FROM (SELECT FROM image_registries LIMIT 10001) AS c) AS "registries!",
                  COUNT(*) AS "images!",
                  COUNT(*) FILTER (WHERE found_rank >= 0) AS "images_inspected!",
                  COUNT(*) FILTER (WHERE found_rank >= 1::BIGINT << 36) AS "images_failing!",
                  COALESCE(SUM(found_rank >> 50) FILTER (WHERE found_rank > 0), 0)::BIGINT AS "failed_critical!",
                  COALESCE(SUM(found_rank >> 36 & 16383) FILTER (WHERE found_rank > 0), 0)::BIGINT AS "failed_high!",
                  COALESCE(SUM(found_rank >> 22 & 16383) FILTER (WHERE found_rank > 0), 0)::BIGINT AS "failed_medium!",
                  COALESCE(SUM(found_rank >> 8 & 16383) FILTER (WHERE found_rank > 0), 0)::BIGINT AS "failed_low!",
                  COALESCE(SUM(found_rank & 255) FILTER (WHERE found_rank > 0), 0)::BIGINT AS "failed_unknown!"
           FROM container_images
           WHERE archived_at IS NULL"#
    )
    .fetch_one(conn)
    .await?)
}

#[derive(Template)]
#[template(path = "containers/overview.html")]
struct OverviewPage {
    page: Page,
    counts: Counts,
}

async fn overview(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let counts = count_all(&mut conn).await?;
    let page = visit.page("containers", "Containers Overview").live("providers pods container_images inspections");
    respond(&visit, &OverviewPage { page: page.fresh(freshness::read(&mut conn, None).await?), counts })
}

static SPEC: Spec = Spec {
    path: "/containers/all",
    sorts: &["name", "restarts", "state"],
    falling: &["restarts"],
    filters: &[("provider", "Provider"), ("project", "Project"), ("node", "Node"), ("pod", "Pod"), ("image", "Image"), ("state", "State")],
};

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    kind: String,
    state: String,
    reason: String,
    exit_code: Option<i32>,
    restart_count: i32,
    image_reference: String,
    image_id: Option<i64>,
    pod_id: i64,
    pod: String,
    project_id: i64,
    project: String,
    provider: String,
    provider_id: i64,
}

#[derive(Template)]
#[template(path = "containers/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    plan_for_values(&mut conn).await?;
    let count = count(&mut conn, &list).await?;
    list.found(count);
    let rows = keyset!(list, conn, Row, { "name" => "c.name", "TEXT"; "restarts" => "c.restart_count", "INTEGER"; "state" => "c.state", "TEXT" }, "c.id",
        r#"containers c
           WHERE c.archived_at IS NULL
             AND ($4::TEXT IS NULL OR c.name ILIKE $4 OR c.image_reference ILIKE $4)
             AND ($5::BIGINT IS NULL OR c.provider_id = $5)
             AND ($6::BIGINT IS NULL OR c.pod_id = ANY(ARRAY(SELECT id FROM pods WHERE project_id = $6 AND archived_at IS NULL)))
             AND ($7::BIGINT IS NULL OR c.pod_id = ANY(ARRAY(SELECT id FROM pods WHERE node_id = $7 AND archived_at IS NULL)))
             AND ($8::BIGINT IS NULL OR c.pod_id = $8)
             AND ($9::BIGINT IS NULL OR c.image_id = $9)
             AND ($10::TEXT IS NULL OR c.state = $10)"#,
        r#"c.name, CASE WHEN c.sidecar THEN 'sidecar' ELSE c.kind END AS "kind!", c.state, c.reason, c.exit_code, c.restart_count, c.image_reference, c.image_id, c.pod_id, o.name AS pod,
           o.project_id, p.name AS project, c.provider_id, v.name AS provider
           FROM picked k
           JOIN containers c ON c.id = k.id JOIN pods o ON o.id = c.pod_id JOIN projects p ON p.id = o.project_id JOIN providers v ON v.id = c.provider_id"#,
        list.pattern(), list.filter_id("provider"), list.filter_id("project"), list.filter_id("node"), list.filter_id("pod"), list.filter_id("image"), list.filter("state")
    );
    name_chips(&mut conn, &mut list).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    respond(&visit, &ListPage { page: visit.page("all-containers", "Containers").live("pods providers").fresh(fresh), list, rows, count: show::bounded(count) })
}

async fn count(conn: &mut PgConnection, list: &List) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM containers c
                 WHERE c.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR c.name ILIKE $1 OR c.image_reference ILIKE $1)
                   AND ($2::BIGINT IS NULL OR c.provider_id = $2)
                   AND ($3::BIGINT IS NULL OR c.pod_id = ANY(ARRAY(SELECT id FROM pods WHERE project_id = $3 AND archived_at IS NULL)))
                   AND ($4::BIGINT IS NULL OR c.pod_id = ANY(ARRAY(SELECT id FROM pods WHERE node_id = $4 AND archived_at IS NULL)))
                   AND ($5::BIGINT IS NULL OR c.pod_id = $5)
                   AND ($6::BIGINT IS NULL OR c.image_id = $6)
                   AND ($7::TEXT IS NULL OR c.state = $7)
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("project"),
        list.filter_id("node"),
        list.filter_id("pod"),
        list.filter_id("image"),
        list.filter("state")
    )
    .fetch_one(conn)
    .await?)
}

#[derive(Debug)]
struct Container {
    name: String,
    kind: String,
    state: String,
    reason: String,
    message: String,
    exit_code: Option<i32>,
    restart_count: i32,
    ready: bool,
    command: Vec<String>,
    resources: Value,
    security: Value,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    archived_at: Option<DateTime<Utc>>,
    image_reference: String,
    image_id: Option<i64>,
    pod_id: i64,
    pod: String,
    project_id: i64,
    project: String,
    node_id: Option<i64>,
    node: Option<String>,
    provider_id: i64,
    provider: String,
}

impl Container {
    fn ready_label(&self) -> &'static str {
        if self.ready { "Yes" } else { "No" }
    }

    fn kind_label(&self) -> &'static str {
        match self.kind.as_str() {
            "init" => "Init container",
            "sidecar" => "Sidecar container",
            "ephemeral" => "Ephemeral container",
            _ => "Container",
        }
    }
}

#[derive(Template)]
#[template(path = "containers/show.html")]
struct ShowPage {
    page: Page,
    container: Container,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let mut container = sqlx::query_as!(
        Container,
        r#"SELECT c.name, CASE WHEN c.sidecar THEN 'sidecar' ELSE c.kind END AS "kind!", c.state, c.reason, c.message, c.exit_code, c.restart_count, c.ready, c.command, c.resources, c.security, c.started_at, c.finished_at,
                  c.archived_at, c.image_reference, c.image_id, c.pod_id, o.name AS pod, o.project_id, p.name AS project, o.node_id, n.name AS "node?",
                  c.provider_id, v.name AS provider
           FROM containers c JOIN pods o ON o.id = c.pod_id JOIN projects p ON p.id = o.project_id JOIN providers v ON v.id = c.provider_id LEFT JOIN nodes n ON n.id = o.node_id
           WHERE c.id = $1"#,
        id
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::NotFound("This container"))?;
    masking::command(&visit.user, &mut container.command);
    masking::text(&visit.user, &mut container.message);
    let page = visit.page("all-containers", &container.name).crumb("Containers", "/containers/all").live("pods");
    respond(&visit, &ShowPage { page, container })
}
