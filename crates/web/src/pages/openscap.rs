//! OpenSCAP results of an image: every rule with its result, and the standard HTML report in a sandboxed frame.

use super::images::show_one::{Head, LayerEnd, Place, blocked, layer_word, layers};
use crate::error::{Error, Result};
use crate::extract::Path;
use crate::list::{List, Spec};
use crate::page::{Page, respond};
use crate::session::Visit;
use crate::{State, keyset, show};
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::get;
use scap::report::Identifier;
use sqlx::PgConnection;
use url::form_urlencoded;

pub fn routes() -> Router<State> {
    Router::new().route("/images/{id}/openscap", get(list)).route("/images/{id}/openscap/report/{layer}", get(report))
}

static SPEC: Spec = Spec {
    path: "/images",
    sorts: &["result", "severity", "title"],
    falling: &[],
    filters: &[("result", "Result"), ("severity", "Severity"), ("layer", "Content"), ("scan", "Scan")],
};

/// One rule with its result.
#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    layer: String,
    outcome: String,
    severity: String,
    rule_id: String,
    title: String,
    description: String,
    rationale: String,
    fix: String,
    identifiers: sqlx::types::Json<Vec<Identifier>>,
    message: String,
}

impl Row {
    fn layer_word(&self) -> &'static str {
        layer_word(&self.layer)
    }
}

#[derive(Template)]
#[template(path = "images/openscap.html")]
struct ListPage {
    page: Page,
    head: Head,
    tab: &'static str,
    list: List,
    rows: Vec<Row>,
    count: String,
    layers: Vec<LayerEnd>,
    scan: Option<i64>,
    /// Where and when that scan was, and whether other results count now.
    place: Option<Place>,
    past: bool,
    blocked: Option<String>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let mut list = List::at(&SPEC, format!("/images/{id}/openscap"), &visit.query);
    let scan = match list.filter_id("scan") {
        Some(scan) => Some(of_image(&mut conn, &head, scan).await?),
        None => head.scan_id,
    };
    let rows = read(&mut conn, &mut list, scan.unwrap_or(-1)).await?;
    let count = count(&mut conn, &list, scan.unwrap_or(-1)).await?;
    let layers = layers(&mut conn, scan.unwrap_or(-1)).await?;
    let place = Place::find(&mut conn, scan).await?;
    let past = scan != head.scan_id;
    let blocked = blocked(&mut conn, &state, &visit, &head).await?;
    let page = visit
        .page("images", title("results", &head, place.as_ref().filter(|_| past), scan))
        .crumb("Container Images", "/images")
        .crumb(head.title(), format!("/images/{id}"))
        .live("inspections");
    respond(&visit, &ListPage { page, head, tab: "openscap", list, rows, count: show::bounded(count), layers, scan, place, past, blocked })
}

/// The title of a page of results; an earlier scan is named with its day.
fn title(what: &str, head: &Head, of_past: Option<&Place>, scan: Option<i64>) -> String {
    let when = of_past.map(|place| format!(", scan {} of {}", scan.unwrap_or_default(), place.at.format("%Y-%m-%d"))).unwrap_or_default();
    format!("OpenSCAP {what} of {}{when}", head.title())
}

/// `scan`, when it is one of the image's: one that does not count for its provider is not.
pub(super) async fn of_image(conn: &mut PgConnection, head: &Head, scan: i64) -> Result<i64> {
    sqlx::query_scalar!(r#"SELECT scan_id AS "scan!" FROM image_scans WHERE scan_id = $1 AND image_id = $2"#, scan, head.id)
        .fetch_optional(conn)
        .await?
        .ok_or(Error::NotFound("This analysis"))
}

async fn read(conn: &mut PgConnection, list: &mut List, scan: i64) -> Result<Vec<Row>> {
    Ok(keyset!(list, conn, Row, {
        "result" => "o.ordinal::BIGINT", "BIGINT";
        "severity" => "COALESCE(ARRAY_POSITION(ARRAY['critical', 'high', 'medium', 'low'], o.severity), 5)", "INTEGER";
        "title" => "u.title", "TEXT";
    }, "o.ordinal::BIGINT",
        r#"rule_results o JOIN rules u ON u.id = o.rule_key
           WHERE o.scan_id = $4
             AND ($5::TEXT IS NULL OR u.title ILIKE $5 OR u.rule_id ILIKE $5 OR u.identifiers::TEXT ILIKE $5)
             AND ($6::TEXT IS NULL OR CASE o.outcome WHEN 'unknown' THEN 'error' WHEN 'fixed' THEN 'pass' ELSE o.outcome END = $6)
             AND ($7::TEXT IS NULL OR o.severity = $7)
             AND ($8::TEXT IS NULL OR o.layer = $8)"#,
        r#"o.layer, o.outcome, o.severity, u.rule_id, u.title, u.description, u.rationale, u.fix,
           u.identifiers AS "identifiers: sqlx::types::Json<Vec<Identifier>>", o.message
           FROM picked k JOIN rule_results o ON o.scan_id = $4 AND o.ordinal = k.id JOIN rules u ON u.id = o.rule_key"#,
        scan, list.pattern(), list.filter("result"), list.filter("severity"), list.filter("layer")
    ))
}

async fn count(conn: &mut PgConnection, list: &List, scan: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM rule_results o JOIN rules u ON u.id = o.rule_key
                 WHERE o.scan_id = $1
                   AND ($2::TEXT IS NULL OR u.title ILIKE $2 OR u.rule_id ILIKE $2 OR u.identifiers::TEXT ILIKE $2)
                   AND ($3::TEXT IS NULL OR CASE o.outcome WHEN 'unknown' THEN 'error' WHEN 'fixed' THEN 'pass' ELSE o.outcome END = $3)
                   AND ($4::TEXT IS NULL OR o.severity = $4)
                   AND ($5::TEXT IS NULL OR o.layer = $5)
                 LIMIT 10001) AS counted"#,
        scan,
        list.pattern(),
        list.filter("result"),
        list.filter("severity"),
        list.filter("layer"),
    )
    .fetch_one(conn)
    .await?)
}

#[derive(Template)]
#[template(path = "images/report.html")]
struct ReportPage {
    page: Page,
    head: Head,
    tab: &'static str,
    layer: LayerEnd,
    layers: Vec<LayerEnd>,
    scan: i64,
    place: Option<Place>,
    /// `?scan=…` for an earlier scan, else empty.
    which: String,
}

async fn report(visit: Visit, extract::State(state): extract::State<State>, Path((id, layer)): Path<(i64, String)>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let asked = form_urlencoded::parse(visit.query.as_bytes()).find(|(key, _)| key == "scan").map(|(_, value)| value.into_owned());
    let scan = match asked {
        Some(scan) => of_image(&mut conn, &head, scan.parse().unwrap_or(-1)).await?,
        None => head.scan_id.ok_or(Error::NotFound("A report of this image"))?,
    };
    let place = Place::find(&mut conn, Some(scan)).await?;
    let past = head.scan_id != Some(scan);
    let which = if past { format!("?scan={scan}") } else { String::new() };
    let mut layers = layers(&mut conn, scan).await?;
    let index = layers.iter().position(|end| end.layer == layer).ok_or(Error::NotFound("This report"))?;
    let layer = layers.remove(index);
    let page = visit
        .page("images", title("HTML report", &head, place.as_ref().filter(|_| past), Some(scan)))
        .crumb("Container Images", "/images")
        .crumb(head.title(), format!("/images/{id}"))
        .crumb("OpenSCAP Results", format!("/images/{id}/openscap{which}"));
    respond(&visit, &ReportPage { page, head, tab: "openscap", layer, layers, scan, place, which })
}
