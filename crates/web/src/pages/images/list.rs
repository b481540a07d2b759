//! The list of images.

use super::no_server;
use crate::error::Result;
use crate::extract::Selected;
use crate::list::{List, Spec, plan_for_values};
use crate::page::{Page, respond};
use crate::session::Visit;
use crate::{State, freshness, keyset, show};
use access::Permission;
use askama::Template;
use axum::extract;
use axum::response::Response;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

static SPEC: Spec = Spec {
    path: "/images",
    sorts: &["name", "scanned", "seen", "failed"],
    falling: &["scanned", "seen", "failed"],
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

/// Values of the filter `failed`: key, words, and the rank (`inspections.failed_rank`) from which it holds.
pub(crate) const FAILED: [(&str, &str, i64); 3] =
    [("critical", "With critical failures", 1 << 50), ("high", "With critical or high failures", 1 << 36), ("any", "With any failure", 1)];
/// Values of the filter `scan`: key and words.
pub(crate) const SCAN: [(&str, &str); 3] = [("never", "Never analysed"), ("complete", "Fully checked"), ("incomplete", "Not fully checked")];
/// Filters by provider, registry and project have a menu when there are at most so many to choose from.
const CHOICES: i64 = 20;

#[derive(Debug)]
pub(super) struct Row {
    pub id: i64,
    pub cursor: String,
    pub name: String,
    pub tag: String,
    pub digest: String,
    pub registry_id: i64,
    pub registry: String,
    pub provider_id: i64,
    pub provider: String,
    pub projects: i64,
    pub pods: i64,
    pub size_bytes: Option<i64>,
    pub os_id: Option<String>,
    pub os_name: Option<String>,
    pub inspected_at: Option<DateTime<Utc>>,
    /// Number (`None`: it was removed) and name of the provider that looked.
    pub inspected_on_id: Option<i64>,
    pub inspected_on: Option<String>,
    pub fully_checked: Option<bool>,
    pub failed_critical: i32,
    pub failed_high: i32,
    pub failed_medium: i32,
    pub failed_low: i32,
    pub failed_unknown: i32,
    pub open: Option<String>,
    pub last_outcome: Option<String>,
    pub last_message: Option<String>,
}

impl Row {
    /// The operating system as people say it: "Debian 12" for "Debian GNU/Linux 12 (bookworm)".
    fn os_short(&self) -> String {
        let name = self.os_name.as_deref().unwrap_or_default();
        let name = name.split(" (").next().unwrap_or_default();
        name.replace(" GNU/Linux", "").replace("Red Hat Enterprise Linux", "RHEL").replace(" Linux ", " ")
    }

    /// Another provider than its own looked.
    fn inspected_elsewhere(&self) -> Option<&str> {
        self.inspected_on.as_deref().filter(|_| self.inspected_on_id != Some(self.provider_id))
    }

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
    /// Why the user may not analyse.
    denied: Option<String>,
    menus: Vec<Menu>,
    download: String,
}

/// A menu of few values of a filter: title, and id and name of each.
struct Menu {
    key: &'static str,
    title: &'static str,
    choices: Vec<(i64, String)>,
}

pub(super) async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    let mut conn = state.pool.acquire().await?;
    plan_for_values(&mut conn).await?;
    let count = matching(&mut conn, &list).await?;
    list.found(count);
    let rows = read(&mut conn, &mut list).await?;
    name_chips(&mut conn, &mut list).await?;
    let menus = menus(&mut conn).await?;
    let scannable = no_server(&mut conn, &state).await?;
    let fresh = freshness::read(&mut conn, list.filter_id("provider")).await?;
    let page = visit.page("images", "Container Images").live("container_images inspections scans").fresh(fresh);
    let (denied, download) = (page.denied(Permission::ScanImages), list.download_url());
    respond(&visit, &ListPage { page, list, rows, count: show::bounded(count), scannable, denied, menus, download })
}

/// The list that an address' query asks for.
pub(super) fn parse(query: &str) -> List {
    List::parse(&SPEC, query)
}

async fn menus(conn: &mut PgConnection) -> Result<Vec<Menu>> {
    let found = sqlx::query!(
        r#"(SELECT 'provider' AS "key!", id AS "id!", name AS "name!" FROM providers ORDER BY name, id LIMIT $1)
           UNION ALL
           (SELECT 'registry', r.id, r.name || ' (' || p.name || ')' FROM image_registries r JOIN providers p ON p.id = r.provider_id ORDER BY r.name, r.id LIMIT $1)
           UNION ALL
           (SELECT 'project', o.id, o.name || ' (' || p.name || ')'
            FROM (SELECT id, name, provider_id FROM projects WHERE archived_at IS NULL ORDER BY name, id LIMIT $1) o JOIN providers p ON p.id = o.provider_id
            ORDER BY o.name, o.id)"#,
        CHOICES + 1
    )
    .fetch_all(conn)
    .await?;
    let mut menus = Vec::new();
    for (key, title) in [("provider", "Provider"), ("registry", "Registry"), ("project", "Project")] {
        let choices: Vec<_> = found.iter().filter(|row| row.key == key).map(|row| (row.id, row.name.clone())).collect();
        if (2..=CHOICES as usize).contains(&choices.len()) {
            menus.push(Menu { key, title, choices });
        }
    }
    Ok(menus)
}

/// Words in place of numbers and keys on the chips.
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
    let failed = FAILED.iter().find(|(key, ..)| list.filter("failed") == Some(key)).map(|(_, words, _)| (*words).to_owned());
    let scan = SCAN.iter().find(|(key, _)| list.filter("scan") == Some(key)).map(|(_, words)| (*words).to_owned());
    let found = [
        ("provider", names.provider),
        ("registry", names.registry),
        ("project", names.project),
        ("pod", names.pod),
        ("node", names.node),
        ("failed", failed),
        ("scan", scan),
    ];
    for (key, name) in found {
        if let Some(name) = name {
            list.name_chip(key, name);
        }
    }
    Ok(())
}

/// The rank from which the filter `failed` holds; a value that does not exist holds for none.
fn least_rank(list: &List) -> Option<i64> {
    let asked = list.filter("failed")?;
    Some(FAILED.iter().find(|(key, ..)| *key == asked).map_or(i64::MAX, |(.., rank)| *rank))
}

// The conditions stand three times in this file, since a checked query is one literal: here, in `matching`, in `selected`. They are of one table, so
// that the planner can weigh its indexes: what was found is read from the image's copy, and what uses it is looked up first.
pub(super) async fn read(conn: &mut PgConnection, list: &mut List) -> Result<Vec<Row>> {
    let rank = least_rank(list);
    Ok(keyset!(list, conn, Row, {
        "name" => "i.name", "TEXT";
        "seen" => "i.first_seen_at", "TIMESTAMPTZ";
        "scanned" => "i.found_at", "TIMESTAMPTZ";
        "failed" => "i.found_rank", "BIGINT";
    }, "i.id",
        r#"container_images i
           WHERE i.archived_at IS NULL
             AND ($4::TEXT IS NULL OR i.name ILIKE $4 OR i.tag ILIKE $4 OR i.digest ILIKE $4)
             AND ($5::BIGINT IS NULL OR i.provider_id = $5)
             AND ($6::BIGINT IS NULL OR i.registry_id = $6)
             AND ($7::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.project_id = $7 AND c.archived_at IS NULL)))
             AND ($8::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c WHERE c.pod_id = $8 AND c.archived_at IS NULL)))
             AND ($9::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.node_id = $9 AND c.archived_at IS NULL)))
             AND ($10::TEXT IS NULL OR i.found_os_id = $10)
             AND ($11::BIGINT IS NULL OR i.found_rank >= $11)
             AND ($12::TEXT IS NULL OR ($12 = 'never' AND i.found_rank < 0) OR ($12 = 'complete' AND i.found_complete) OR ($12 = 'incomplete' AND NOT i.found_complete))"#,
        r#"i.name, i.tag, i.digest, i.registry_id, r.name AS registry, i.provider_id, p.name AS provider,
           used.projects AS "projects!", used.pods AS "pods!",
           n.compressed_size_bytes AS "size_bytes?", n.os_id AS "os_id?", n.os_name AS "os_name?", n.inspected_at AS "inspected_at?",
           n.provider_id AS inspected_on_id, COALESCE(o.name, n.provider_name) AS inspected_on,
           n.fully_checked AS "fully_checked?", COALESCE(n.failed_critical, 0) AS "failed_critical!", COALESCE(n.failed_high, 0) AS "failed_high!",
           COALESCE(n.failed_medium, 0) AS "failed_medium!", COALESCE(n.failed_low, 0) AS "failed_low!", COALESCE(n.failed_unknown, 0) AS "failed_unknown!",
           (SELECT s.state FROM image_scans v JOIN scans s ON s.id = v.scan_id
            WHERE v.image_id = i.id AND s.digest = i.digest AND s.state <> 'finished' ORDER BY s.id DESC LIMIT 1) AS open,
           last.outcome AS "last_outcome?", last.message AS "last_message?"
           FROM picked k
           JOIN container_images i ON i.id = k.id
           JOIN image_registries r ON r.id = i.registry_id
           JOIN providers p ON p.id = i.provider_id
           LEFT JOIN inspections n ON n.id = i.inspection_id
           LEFT JOIN providers o ON o.id = n.provider_id
           CROSS JOIN LATERAL (
               SELECT COUNT(DISTINCT d.project_id) AS projects, COUNT(DISTINCT d.id) AS pods
               FROM (SELECT pod_id FROM containers c WHERE c.image_id = i.id AND c.archived_at IS NULL LIMIT 10001) c JOIN pods d ON d.id = c.pod_id) AS used
           LEFT JOIN LATERAL (
               SELECT s.outcome, s.message FROM image_scans v JOIN scans s ON s.id = v.scan_id
               WHERE v.image_id = i.id AND s.digest = i.digest AND s.state = 'finished' ORDER BY s.id DESC LIMIT 1) AS last ON TRUE"#,
        list.pattern(), list.filter_id("provider"), list.filter_id("registry"), list.filter_id("project"), list.filter_id("pod"), list.filter_id("node"),
        list.filter("os"), rank, list.filter("scan")
    ))
}

async fn matching(conn: &mut PgConnection, list: &List) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM container_images i
                 WHERE i.archived_at IS NULL
                   AND ($1::TEXT IS NULL OR i.name ILIKE $1 OR i.tag ILIKE $1 OR i.digest ILIKE $1)
                   AND ($2::BIGINT IS NULL OR i.provider_id = $2)
                   AND ($3::BIGINT IS NULL OR i.registry_id = $3)
                   AND ($4::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.project_id = $4 AND c.archived_at IS NULL)))
                   AND ($5::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c WHERE c.pod_id = $5 AND c.archived_at IS NULL)))
                   AND ($6::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.node_id = $6 AND c.archived_at IS NULL)))
                   AND ($7::TEXT IS NULL OR i.found_os_id = $7)
                   AND ($8::BIGINT IS NULL OR i.found_rank >= $8)
                   AND ($9::TEXT IS NULL OR ($9 = 'never' AND i.found_rank < 0) OR ($9 = 'complete' AND i.found_complete) OR ($9 = 'incomplete' AND NOT i.found_complete))
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("registry"),
        list.filter_id("project"),
        list.filter_id("pod"),
        list.filter_id("node"),
        list.filter("os"),
        least_rank(list),
        list.filter("scan"),
    )
    .fetch_one(conn)
    .await?)
}

/// The ids of the ticked images, or of all that match.
pub(super) async fn selected(conn: &mut PgConnection, selected: &Selected) -> Result<Vec<i64>> {
    let list = parse(&selected.query);
    Ok(sqlx::query_scalar!(
        "SELECT i.id
         FROM container_images i
         WHERE i.archived_at IS NULL
           AND ($11 OR i.id = ANY($10))
           AND (NOT $11 OR (
               ($1::TEXT IS NULL OR i.name ILIKE $1 OR i.tag ILIKE $1 OR i.digest ILIKE $1)
               AND ($2::BIGINT IS NULL OR i.provider_id = $2)
               AND ($3::BIGINT IS NULL OR i.registry_id = $3)
               AND ($4::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.project_id = $4 AND c.archived_at IS NULL)))
               AND ($5::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c WHERE c.pod_id = $5 AND c.archived_at IS NULL)))
               AND ($6::BIGINT IS NULL OR i.id = ANY(ARRAY(SELECT c.image_id FROM containers c JOIN pods d ON d.id = c.pod_id WHERE d.node_id = $6 AND c.archived_at IS NULL)))
               AND ($7::TEXT IS NULL OR i.found_os_id = $7)
               AND ($8::BIGINT IS NULL OR i.found_rank >= $8)
               AND ($9::TEXT IS NULL OR ($9 = 'never' AND i.found_rank < 0) OR ($9 = 'complete' AND i.found_complete) OR ($9 = 'incomplete' AND NOT i.found_complete))))
         ORDER BY i.id",
        list.pattern(),
        list.filter_id("provider"),
        list.filter_id("registry"),
        list.filter_id("project"),
        list.filter_id("pod"),
        list.filter_id("node"),
        list.filter("os"),
        least_rank(&list),
        list.filter("scan"),
        &selected.id,
        selected.all.is_some(),
    )
    .fetch_all(conn)
    .await?)
}
