//! Compute → Containers → Container Images: what runs, what its last analysis found, and the button that analyses.

pub mod show_one;

use crate::error::{Error, Result};
use crate::list::{List, Spec};
use crate::page::{Flash, Page, redirect, respond};
use crate::session::Visit;
use crate::{State, keyset, show};
use access::Permission;
use askama::Template;
use axum::Router;
use axum::extract::{self, Path};
use axum::response::Response;
use axum::routing::{get, post};
use axum_extra::extract::Form;
use chrono::{DateTime, Utc};
use model::ids::{ImageId, TaskId};
use serde::Deserialize;
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/images", get(list))
        .route("/images/scan", post(scan_selected))
        .route("/images/{id}", get(show_one::show_one))
        .route("/images/{id}/scan", post(scan))
}

static SPEC: Spec = Spec {
    path: "/images",
    sorts: &["name", "scanned", "seen", "failed"],
    descending: false,
    filters: &[
        ("provider", "Provider"),
        ("registry", "Registry"),
        ("project", "Project"),
        ("pod", "Pod"),
        ("node", "Node"),
        ("os", "Operating system"),
        ("failed", "Failed rules"),
        ("scan", "Last analysis"),
    ],
};

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    tag: String,
    digest: String,
    registry_id: i64,
    registry: String,
    provider_id: i64,
    provider: String,
    projects: i64,
    pods: i64,
    size_bytes: Option<i64>,
    os_id: Option<String>,
    os_name: Option<String>,
    inspected_at: Option<DateTime<Utc>>,
    fully_checked: Option<bool>,
    failed_critical: i32,
    failed_high: i32,
    failed_medium: i32,
    failed_low: i32,
    failed_unknown: i32,
    open: Option<String>,
    last_outcome: Option<String>,
    last_message: Option<String>,
}

impl Row {
    fn failures(&self) -> i32 {
        self.failed_critical + self.failed_high + self.failed_medium + self.failed_low + self.failed_unknown
    }
}

#[derive(Template)]
#[template(path = "images/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
    scannable: Option<&'static str>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    name_chips(&mut conn, &mut list).await?;
    let rows = read(&mut conn, &mut list).await?;
    let count = matching(&mut conn, &list).await?;
    let scannable = no_server(&mut conn, &state).await?;
    let page = visit.page("images", "Container Images").live("container_images inspections scans");
    respond(&visit, &ListPage { page, list, rows, count: show::bounded(count), scannable })
}

/// Why nobody would do an analysis now; `None` when a server has the roles.
pub(super) async fn no_server(conn: &mut PgConnection, state: &State) -> Result<Option<&'static str>> {
    for (role, why) in [
        (queue::role::Role::SmartState, "No running server has the role SmartState Analysis"),
        (queue::role::Role::SmartProxy, "No running server has the role SmartProxy"),
    ] {
        if !queue::role::any_server_has(conn, &state.clock, role).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

async fn name_chips(conn: &mut PgConnection, list: &mut List) -> Result<()> {
    let names = sqlx::query!(
        "SELECT (SELECT name FROM providers WHERE id = $1) AS provider,
                (SELECT name FROM image_registries WHERE id = $2) AS registry,
                (SELECT name FROM projects WHERE id = $3) AS project,
                (SELECT name FROM pods WHERE id = $4) AS pod,
                (SELECT name FROM nodes WHERE id = $5) AS node",
        list.filter_id("provider"),
        list.filter_id("registry"),
        list.filter_id("project"),
        list.filter_id("pod"),
        list.filter_id("node"),
    )
    .fetch_one(conn)
    .await?;
    let found = [("provider", names.provider), ("registry", names.registry), ("project", names.project), ("pod", names.pod), ("node", names.node)];
    for (key, name) in found {
        if let Some(name) = name {
            list.name_chip(key, name);
        }
    }
    Ok(())
}

// The conditions stand three times in this file, since a checked query is one literal: here, in `matching`, in `selected`.
async fn read(conn: &mut PgConnection, list: &mut List) -> Result<Vec<Row>> {
    Ok(keyset!(list, conn, Row, {
        "name" => "i.name", "TEXT";
        "seen" => "i.first_seen_at", "TIMESTAMPTZ";
        "scanned" => "COALESCE(n.inspected_at, 'epoch')", "TIMESTAMPTZ";
        "failed" => "COALESCE(n.failed_critical * 1000000::BIGINT + n.failed_high * 10000 + n.failed_medium * 100 + n.failed_low, -1)", "BIGINT";
    }, "i.id",
        r#"i.id, i.name, i.tag, i.digest, i.registry_id, r.name AS registry, i.provider_id, p.name AS provider,
           used.projects AS "projects!", used.pods AS "pods!",
           n.compressed_size_bytes AS "size_bytes?", n.os_id AS "os_id?", n.os_name AS "os_name?", n.inspected_at AS "inspected_at?",
           n.fully_checked AS "fully_checked?", COALESCE(n.failed_critical, 0) AS "failed_critical!", COALESCE(n.failed_high, 0) AS "failed_high!",
           COALESCE(n.failed_medium, 0) AS "failed_medium!", COALESCE(n.failed_low, 0) AS "failed_low!", COALESCE(n.failed_unknown, 0) AS "failed_unknown!",
           (SELECT s.state FROM scans s WHERE s.digest = i.digest AND s.state <> 'finished') AS open,
           last.outcome AS "last_outcome?", last.message AS "last_message?"
           FROM container_images i
           JOIN image_registries r ON r.id = i.registry_id
           JOIN providers p ON p.id = i.provider_id
           LEFT JOIN inspections n ON n.digest = i.digest
           CROSS JOIN LATERAL (
               SELECT COUNT(DISTINCT d.project_id) AS projects, COUNT(DISTINCT d.id) AS pods
               FROM containers c JOIN pods d ON d.id = c.pod_id
               WHERE c.image_id = i.id AND c.archived_at IS NULL) AS used
           LEFT JOIN LATERAL (
               SELECT s.outcome, s.message FROM scans s WHERE s.digest = i.digest AND s.state = 'finished' ORDER BY s.id DESC LIMIT 1) AS last ON TRUE
           WHERE i.archived_at IS NULL
             AND ($4::TEXT IS NULL OR i.name ILIKE $4 OR i.tag ILIKE $4 OR i.digest ILIKE $4)
             AND ($5::BIGINT IS NULL OR i.provider_id = $5)
             AND ($6::BIGINT IS NULL OR i.registry_id = $6)
             AND ($7::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.project_id = $7))
             AND ($8::BIGINT IS NULL OR EXISTS (SELECT FROM containers c WHERE c.image_id = i.id AND c.archived_at IS NULL AND c.pod_id = $8))
             AND ($9::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.node_id = $9))
             AND ($10::TEXT IS NULL OR n.os_id = $10)
             AND ($11::TEXT IS NULL OR ($11 = 'critical' AND n.failed_critical > 0) OR ($11 = 'high' AND n.failed_critical + n.failed_high > 0)
                  OR ($11 = 'any' AND n.failed_critical + n.failed_high + n.failed_medium + n.failed_low + n.failed_unknown > 0))
             AND ($12::TEXT IS NULL OR ($12 = 'never' AND n.digest IS NULL) OR ($12 = 'complete' AND n.fully_checked) OR ($12 = 'incomplete' AND NOT n.fully_checked))"#,
        list.pattern(), list.filter_id("provider"), list.filter_id("registry"), list.filter_id("project"), list.filter_id("pod"), list.filter_id("node"),
        list.filter("os"), list.filter("failed"), list.filter("scan")
    ))
}

async fn matching(conn: &mut PgConnection, list: &List) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM container_images i LEFT JOIN inspections n ON n.digest = i.digest
                 WHERE i.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR i.name ILIKE $1 OR i.tag ILIKE $1 OR i.digest ILIKE $1)
                   AND ($2::BIGINT IS NULL OR i.provider_id = $2)
                   AND ($3::BIGINT IS NULL OR i.registry_id = $3)
                   AND ($4::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.project_id = $4))
                   AND ($5::BIGINT IS NULL OR EXISTS (SELECT FROM containers c WHERE c.image_id = i.id AND c.archived_at IS NULL AND c.pod_id = $5))
                   AND ($6::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.node_id = $6))
                   AND ($7::TEXT IS NULL OR n.os_id = $7)
                   AND ($8::TEXT IS NULL OR ($8 = 'critical' AND n.failed_critical > 0) OR ($8 = 'high' AND n.failed_critical + n.failed_high > 0)
                        OR ($8 = 'any' AND n.failed_critical + n.failed_high + n.failed_medium + n.failed_low + n.failed_unknown > 0))
                   AND ($9::TEXT IS NULL OR ($9 = 'never' AND n.digest IS NULL) OR ($9 = 'complete' AND n.fully_checked) OR ($9 = 'incomplete' AND NOT n.fully_checked))
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("registry"),
        list.filter_id("project"),
        list.filter_id("pod"),
        list.filter_id("node"),
        list.filter("os"),
        list.filter("failed"),
        list.filter("scan"),
    )
    .fetch_one(conn)
    .await?)
}

/// Rows ticked in the list.
#[derive(Debug, Deserialize)]
struct Selected {
    #[serde(default)]
    id: Vec<i64>,
    all: Option<String>,
    #[serde(default)]
    query: String,
}

async fn selected(conn: &mut PgConnection, selected: &Selected) -> Result<Vec<i64>> {
    let list = List::parse(&SPEC, &selected.query);
    Ok(sqlx::query_scalar!(
        "SELECT i.id
         FROM container_images i LEFT JOIN inspections n ON n.digest = i.digest
         WHERE i.archived_at IS NULL
           AND ($11 OR i.id = ANY($10))
           AND (NOT $11 OR (
               ($1::TEXT IS NULL OR i.name ILIKE $1 OR i.tag ILIKE $1 OR i.digest ILIKE $1)
               AND ($2::BIGINT IS NULL OR i.provider_id = $2)
               AND ($3::BIGINT IS NULL OR i.registry_id = $3)
               AND ($4::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.project_id = $4))
               AND ($5::BIGINT IS NULL OR EXISTS (SELECT FROM containers c WHERE c.image_id = i.id AND c.archived_at IS NULL AND c.pod_id = $5))
               AND ($6::BIGINT IS NULL OR EXISTS (SELECT FROM containers c JOIN pods d ON d.id = c.pod_id WHERE c.image_id = i.id AND c.archived_at IS NULL AND d.node_id = $6))
               AND ($7::TEXT IS NULL OR n.os_id = $7)
               AND ($8::TEXT IS NULL OR ($8 = 'critical' AND n.failed_critical > 0) OR ($8 = 'high' AND n.failed_critical + n.failed_high > 0)
                    OR ($8 = 'any' AND n.failed_critical + n.failed_high + n.failed_medium + n.failed_low + n.failed_unknown > 0))
               AND ($9::TEXT IS NULL OR ($9 = 'never' AND n.digest IS NULL) OR ($9 = 'complete' AND n.fully_checked) OR ($9 = 'incomplete' AND NOT n.fully_checked))))
         ORDER BY i.id",
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("registry"),
        list.filter_id("project"),
        list.filter_id("pod"),
        list.filter_id("node"),
        list.filter("os"),
        list.filter("failed"),
        list.filter("scan"),
        &selected.id,
        selected.all.is_some(),
    )
    .fetch_all(conn)
    .await?)
}

async fn scan_selected(visit: Visit, extract::State(state): extract::State<State>, Form(form): Form<Selected>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let images: Vec<ImageId> = selected(&mut tx, &form).await?.into_iter().map(ImageId).collect();
    if images.is_empty() {
        return Ok(redirect("/images", Flash::warning("No image was selected: tick the images to analyse first.")));
    }
    let task = request(&mut tx, &state, &visit, &images).await?;
    tx.commit().await?;
    let what = if images.len() == 1 { "1 image".to_owned() } else { format!("{} images", images.len()) };
    let flash = Flash::success(format!("SmartState Analysis of {what} requested.")).link("Open its task", format!("/tasks/{task}"));
    Ok(redirect("/tasks?tab=all", flash))
}

async fn scan(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let known = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM container_images WHERE id = $1 AND archived_at IS NULL) AS "known!""#, id)
        .fetch_one(&mut *tx)
        .await?;
    if !known {
        return Err(Error::NotFound("This image"));
    }
    let task = request(&mut tx, &state, &visit, &[ImageId(id)]).await?;
    tx.commit().await?;
    let flash = Flash::success("SmartState Analysis requested.").link("Follow its task", format!("/tasks/{task}"));
    Ok(redirect(&format!("/images/{id}"), flash))
}

async fn request(conn: &mut PgConnection, state: &State, visit: &Visit, images: &[ImageId]) -> Result<TaskId> {
    control::request_scan(conn, &state.clock, &visit.user.userid, images).await.map_err(|denied| match denied {
        control::Denied::Prevented(why) => Error::Conflict(why),
        control::Denied::Failed(error) => Error::Internal(error),
    })
}
