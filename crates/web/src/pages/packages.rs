//! The packages inside an image.

use super::images::show_one::{Head, Place, blocked};
use crate::error::Result;
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
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new().route("/images/{id}/packages", get(list))
}

static SPEC: Spec = Spec { path: "/images", sorts: &["name"], falling: &[], filters: &[("kind", "Kind")] };

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    kind: String,
    name: String,
    version: String,
    architecture: String,
    source: String,
    vendor: String,
    summary: String,
}

#[derive(Template)]
#[template(path = "images/packages.html")]
struct ListPage {
    page: Page,
    head: Head,
    tab: &'static str,
    list: List,
    rows: Vec<Row>,
    count: String,
    /// Why the package database could not be read; empty when it could.
    unreadable: String,
    place: Option<Place>,
    blocked: Option<String>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let mut list = List::at(&SPEC, format!("/images/{id}/packages"), &visit.query);
    let scan = head.scan_id.unwrap_or(-1);
    let rows = read(&mut conn, &mut list, scan).await?;
    let count = count(&mut conn, &list, scan).await?;
    let unreadable = sqlx::query_scalar!("SELECT package_database ->> 'reason' FROM inspections WHERE id = $1", head.inspection_id);
    let unreadable = unreadable.fetch_optional(&mut *conn).await?;
    let place = Place::find(&mut conn, head.scan_id).await?;
    let blocked = blocked(&mut conn, &state, &visit, &head).await?;
    let page = visit
        .page("images", format!("Packages of {}", head.title()))
        .crumb("Container Images", "/images")
        .crumb(head.title(), format!("/images/{id}"))
        .live("inspections");
    respond(
        &visit,
        &ListPage {
            page,
            head,
            tab: "packages",
            list,
            rows,
            count: show::bounded(count),
            unreadable: unreadable.flatten().unwrap_or_default(),
            place,
            blocked,
        },
    )
}

async fn read(conn: &mut PgConnection, list: &mut List, scan: i64) -> Result<Vec<Row>> {
    Ok(keyset!(list, conn, Row, {
        "name" => "g.ordinal::BIGINT", "BIGINT";
    }, "g.ordinal::BIGINT",
        "packages g
         WHERE g.scan_id = $4
           AND ($5::TEXT IS NULL OR g.name ILIKE $5 OR g.version ILIKE $5 OR g.source ILIKE $5)
           AND ($6::TEXT IS NULL OR g.kind = $6)",
        "g.kind, g.name, g.version, g.architecture, g.source, g.vendor, g.summary
         FROM picked k JOIN packages g ON g.scan_id = $4 AND g.ordinal = k.id",
        scan, list.pattern(), list.filter("kind")
    ))
}

async fn count(conn: &mut PgConnection, list: &List, scan: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM packages k
                 WHERE k.scan_id = $1
                   AND ($2::TEXT IS NULL OR k.name ILIKE $2 OR k.version ILIKE $2 OR k.source ILIKE $2)
                   AND ($3::TEXT IS NULL OR k.kind = $3)
                 LIMIT 10001) AS counted"#,
        scan,
        list.pattern(),
        list.filter("kind"),
    )
    .fetch_one(conn)
    .await?)
}
