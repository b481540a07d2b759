//! Compute → Containers → Nodes.

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
    Router::new().route("/nodes", get(list)).route("/nodes/{id}", get(show_one))
}

static SPEC: Spec = Spec {
    path: "/nodes",
    sorts: &["name", "os", "memory"],
    falling: &["memory"],
    filters: &[("provider", "Provider"), ("ready", "Ready"), ("image", "Image")],
};

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    provider_id: i64,
    provider: String,
    ready: Option<bool>,
    schedulable: bool,
    os_image: String,
    runtime: String,
    cpu_millis: i64,
    memory_bytes: i64,
    pods: i64,
}

#[derive(Template)]
#[template(path = "nodes/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let ready = list.filter("ready").map(|ready| ready == "yes");
    let mut conn = state.pool.acquire().await?;
    let rows = keyset!(list, conn, Row, { "name" => "n.name", "TEXT"; "os" => "n.os_image", "TEXT"; "memory" => "n.memory_bytes", "BIGINT" }, "n.id",
        r#"nodes n
           WHERE n.archived_at IS NULL
             AND ($4::TEXT IS NULL OR n.name ILIKE $4 OR n.os_image ILIKE $4)
             AND ($5::BIGINT IS NULL OR n.provider_id = $5)
             AND ($6::BOOLEAN IS NULL OR n.ready = $6)
             AND ($7::BIGINT IS NULL OR n.id = ANY(ARRAY(SELECT o.node_id FROM containers c JOIN pods o ON o.id = c.pod_id WHERE c.image_id = $7 AND c.archived_at IS NULL)))"#,
        r#"n.name, n.provider_id, v.name AS provider, n.ready, n.schedulable, n.os_image, n.runtime, n.cpu_millis, n.memory_bytes,
           (SELECT COUNT(*) FROM (SELECT FROM pods WHERE node_id = n.id AND archived_at IS NULL LIMIT 10001) o) AS "pods!"
           FROM picked k JOIN nodes n ON n.id = k.id JOIN providers v ON v.id = n.provider_id"#,
        list.pattern(), list.filter_id("provider"), ready, list.filter_id("image")
    );
    let count = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM nodes n
                 WHERE n.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR n.name ILIKE $1 OR n.os_image ILIKE $1)
                   AND ($2::BIGINT IS NULL OR n.provider_id = $2)
                   AND ($3::BOOLEAN IS NULL OR n.ready = $3)
                   AND ($4::BIGINT IS NULL OR n.id = ANY(ARRAY(SELECT o.node_id FROM containers c JOIN pods o ON o.id = c.pod_id WHERE c.image_id = $4 AND c.archived_at IS NULL)))
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        ready,
        list.filter_id("image")
    )
    .fetch_one(&mut *conn)
    .await?;
    provider_name(&mut conn, &mut list).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    respond(&visit, &ListPage { page: visit.page("nodes", "Nodes").live("pods providers").fresh(fresh), list, rows, count: show::bounded(count) })
}

#[derive(Debug)]
struct Node {
    name: String,
    provider_id: i64,
    provider: String,
    ready: Option<bool>,
    schedulable: bool,
    architecture: String,
    os_image: String,
    kernel: String,
    runtime: String,
    kubelet: String,
    address: String,
    cpu_millis: i64,
    memory_bytes: i64,
    pods_max: i64,
    labels: Value,
    conditions: Value,
    created_at: DateTime<Utc>,
    archived_at: Option<DateTime<Utc>>,
    pods: i64,
    containers: i64,
    images: i64,
    id: i64,
}

#[derive(Template)]
#[template(path = "nodes/show.html")]
struct ShowPage {
    page: Page,
    node: Node,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let node = sqlx::query_as!(
        Node,
        r#"SELECT n.id, n.name, n.provider_id, v.name AS provider, n.ready, n.schedulable, n.architecture, n.os_image, n.kernel, n.runtime, n.kubelet, n.address,
                  n.cpu_millis, n.memory_bytes, n.pods_max, n.labels, n.conditions, n.created_at, n.archived_at,
                  (SELECT COUNT(*) FROM pods WHERE node_id = n.id AND archived_at IS NULL) AS "pods!",
                  (SELECT COUNT(*) FROM containers c JOIN pods o ON o.id = c.pod_id WHERE o.node_id = n.id AND o.archived_at IS NULL AND c.archived_at IS NULL) AS "containers!",
                  (SELECT COUNT(DISTINCT c.image_id) FROM containers c JOIN pods o ON o.id = c.pod_id WHERE o.node_id = n.id AND o.archived_at IS NULL AND c.archived_at IS NULL) AS "images!"
           FROM nodes n JOIN providers v ON v.id = n.provider_id
           WHERE n.id = $1"#,
        id
    )
    .fetch_optional(&mut *conn)
    .await?
    .ok_or(Error::NotFound("This node"))?;
    let page = visit.page("nodes", &node.name).crumb("Nodes", "/nodes").live("pods");
    respond(&visit, &ShowPage { page, node })
}
