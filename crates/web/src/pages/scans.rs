//! The scan history of an image, one scan, and its documents.

use super::images::show_one::{Head, LayerEnd, PastScan, alert_kind, blocked, history, layers};
use super::openscap::of_image;
use crate::error::{Error, Result};
use crate::extract::Path;
use crate::page::{Page, respond};
use crate::session::Visit;
use crate::{State, show, unpack};
use anyhow::Context;
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract;
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Utc};
use http::{HeaderValue, header};

/// How many scans the history shows.
const HISTORY: i64 = 100;
/// The report of oscap needs its own inline script and style; it runs in a sandbox without our origin and reaches nothing.
const REPORT_POLICY: &str =
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; font-src data:; frame-ancestors 'self'";

pub fn routes() -> Router<State> {
    Router::new()
        .route("/images/{id}/scans", get(list))
        .route("/images/{id}/scans/{scan}", get(show_one))
        .route("/images/{id}/scans/{scan}/html/{layer}", get(html))
        .route("/images/{id}/scans/{scan}/arf/{layer}", get(arf))
}

#[derive(Template)]
#[template(path = "images/scans.html")]
struct ListPage {
    page: Page,
    head: Head,
    tab: &'static str,
    scans: Vec<PastScan>,
    count: String,
    blocked: Option<String>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let scans = history(&mut conn, head.id, HISTORY).await?;
    let of_image = sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM (SELECT FROM image_scans WHERE image_id = $1 LIMIT 10001) AS counted"#, head.id);
    let count = show::bounded(of_image.fetch_one(&mut *conn).await?);
    let blocked = blocked(&mut conn, &state, &visit, &head).await?;
    let page = visit
        .page("images", format!("Scans of {}", head.title()))
        .crumb("Container Images", "/images")
        .crumb(head.title(), format!("/images/{id}"))
        .live("scans");
    respond(&visit, &ListPage { page, head, tab: "scans", scans, count, blocked })
}

#[derive(Debug)]
struct Scan {
    id: i64,
    state: String,
    outcome: Option<String>,
    reason_code: String,
    message: String,
    advice: String,
    userid: String,
    task_id: Option<i64>,
    reference: String,
    provider: String,
    namespace: String,
    pod_name: String,
    node_name: String,
    attempt: i16,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    timings: serde_json::Value,
    os_name: String,
    warnings: Vec<String>,
    pod_log: String,
}

/// The steps of a scan in order, as `scans.timings` names them, with words for people.
const STEPS: [(&str, &str); 11] = [
    ("waiting", "Waiting"),
    ("pod_start", "Pod start"),
    ("pull", "Pull"),
    ("unpack", "Unpack"),
    ("packages", "Packages"),
    ("choose", "Choosing vulnerability definitions"),
    ("benchmark", "Tidewaiter image benchmark"),
    ("guide", "SCAP Security Guide"),
    ("vulnerabilities", "Vulnerability definitions"),
    ("fetch", "Fetch"),
    ("save", "Save"),
];

impl Scan {
    /// The kind of the alert that shows how it stands.
    fn alert(&self) -> &'static str {
        alert_kind(self.outcome.as_deref())
    }

    fn steps(&self) -> Vec<(&'static str, String)> {
        STEPS.into_iter().filter_map(|(key, word)| Some((word, show::millis(self.timings.get(key)?.as_i64()?)))).collect()
    }
}

#[derive(Template)]
#[template(path = "images/scan.html")]
struct ShowPage {
    page: Page,
    head: Head,
    tab: &'static str,
    scan: Scan,
    layers: Vec<LayerEnd>,
}

async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path((id, scan)): Path<(i64, i64)>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let scan = of_image(&mut conn, &head, scan).await?;
    let layers = layers(&mut conn, scan).await?;
    let scan = sqlx::query_as!(
        Scan,
        r#"SELECT s.id, s.state, s.outcome, s.reason_code, s.message, s.advice, s.userid, s.task_id, s.reference, COALESCE(p.name, n.provider_name, 'a removed provider') AS "provider!", s.namespace, s.pod_name, s.node_name,
                s.attempt, s.requested_at, s.started_at, s.finished_at, s.timings, s.os_name, s.warnings, s.pod_log
         FROM scans s LEFT JOIN providers p ON p.id = s.provider_id LEFT JOIN inspections n ON n.scan_id = s.id
         WHERE s.id = $1"#,
        scan
    )
    .fetch_one(&mut *conn)
    .await?;
    let page = visit
        .page("images", format!("Scan {}", scan.id))
        .crumb("Container Images", "/images")
        .crumb(head.title(), format!("/images/{id}"))
        .crumb("Scan History", format!("/images/{id}/scans"))
        .live("scans");
    respond(&visit, &ShowPage { page, head, tab: "scans", scan, layers })
}

/// One stored document, unpacked while it is sent.
async fn document(state: &State, id: i64, scan: i64, layer: &str, kind: &str) -> Result<(Head, Body)> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let scan = of_image(&mut conn, &head, scan).await?;
    let stored = sqlx::query!("SELECT body, size_bytes FROM scan_artifacts WHERE scan_id = $1 AND layer = $2 AND kind = $3", scan, layer, kind)
        .fetch_optional(&mut *conn)
        .await?
        .ok_or(Error::NotFound("This document"))?;
    Ok((head, unpack::body(stored.body, stored.size_bytes.try_into()?).context("unpacking a stored document")?))
}

/// A file name of letters, digits, dots and dashes.
fn file_name(head: &Head, layer: &str, extension: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
    let name: String = format!("{}-{}-{}", head.title(), show::short_digest(&head.digest), layer).chars().map(plain).collect();
    format!("{name}.{extension}")
}

async fn html(visit: Visit, extract::State(state): extract::State<State>, Path((id, scan, layer)): Path<(i64, i64, String)>) -> Result<Response> {
    let (head, body) = document(&state, id, scan, &layer, "html").await?;
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    if visit.query.contains("download=1") {
        headers.insert(header::CONTENT_DISPOSITION, attachment(&file_name(&head, &layer, "html"))?);
    }
    Ok(response)
}

async fn arf(_visit: Visit, extract::State(state): extract::State<State>, Path((id, scan, layer)): Path<(i64, i64, String)>) -> Result<Response> {
    let (head, body) = document(&state, id, scan, &layer, "arf").await?;
    let mut response = Response::new(body);
    let extension = if layer == "vulnerabilities" { "oval-results.xml" } else { "arf.xml" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(&file_name(&head, &layer, extension))?);
    Ok(response)
}

fn attachment(name: &str) -> Result<HeaderValue> {
    Ok(HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))?)
}
