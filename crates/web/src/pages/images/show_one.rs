//! The summary of one image.

use super::no_server;
use crate::State;
use crate::error::{Error, Result};
use crate::extract::Path;
use crate::masking;
use crate::page::{Page, respond};
use crate::session::Visit;
use crate::show;
use access::Permission;
use askama::Template;
use axum::extract;
use axum::response::Response;
use chrono::{DateTime, Utc};
use scap::report::ImageConfig;
use sqlx::PgConnection;

/// What every page about an image shows at its top.
#[derive(Debug)]
pub struct Head {
    pub id: i64,
    pub name: String,
    pub tag: String,
    pub digest: String,
    pub registry_id: i64,
    pub registry: String,
    pub provider_id: i64,
    pub provider: String,
    pub archived_at: Option<DateTime<Utc>>,
    pub first_seen_at: DateTime<Utc>,
    /// The inspection that counts now, and its scan.
    pub inspection_id: Option<i64>,
    pub scan_id: Option<i64>,
    /// When none counts: providers that inspected its content, but whose results count for their own images alone, or it is kept apart itself.
    pub uncounted: Option<String>,
}

/// Where and when a scan was made.
#[derive(Debug)]
pub struct Place {
    /// `None`: the provider was removed.
    pub provider_id: Option<i64>,
    pub provider: String,
    pub at: DateTime<Utc>,
}

impl Place {
    /// Of the scan `scan`; `None` when there is no such scan.
    ///
    /// # Errors
    /// The database.
    pub async fn find(conn: &mut PgConnection, scan: Option<i64>) -> Result<Option<Self>> {
        Ok(sqlx::query_as!(
            Self,
            r#"SELECT s.provider_id, COALESCE(p.name, n.provider_name, 'a removed provider') AS "provider!",
                      COALESCE(n.inspected_at, s.finished_at, s.requested_at) AS "at!"
               FROM scans s
               LEFT JOIN providers p ON p.id = s.provider_id
               LEFT JOIN inspections n ON n.scan_id = s.id
               WHERE s.id = $1"#,
            scan
        )
        .fetch_optional(conn)
        .await?)
    }
}

impl Head {
    /// Name with tag, as people say it.
    pub fn title(&self) -> String {
        if self.tag.is_empty() { self.name.clone() } else { format!("{}:{}", self.name, self.tag) }
    }

    /// The tag, or a word for its absence.
    pub fn tag_word(&self) -> &str {
        if self.tag.is_empty() { "none" } else { &self.tag }
    }

    /// Reads one image, archived or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(conn: &mut PgConnection, id: i64) -> Result<Self> {
        let head = sqlx::query_as!(
            Self,
            r#"SELECT i.id, i.name, i.tag, i.digest, i.registry_id, r.name AS registry, i.provider_id, p.name AS provider,
                      i.archived_at, i.first_seen_at, i.inspection_id, n.scan_id AS "scan_id?",
                      CASE WHEN i.inspection_id IS NULL THEN (
                        SELECT STRING_AGG(o.name, ', ') FROM (
                          SELECT o.name FROM inspections x JOIN providers o ON o.id = x.provider_id WHERE x.digest = i.digest ORDER BY o.name LIMIT 3) o
                      ) END AS uncounted
               FROM container_images i
               JOIN image_registries r ON r.id = i.registry_id
               JOIN providers p ON p.id = i.provider_id
               LEFT JOIN inspections n ON n.id = i.inspection_id
               WHERE i.id = $1"#,
            id
        )
        .fetch_optional(conn)
        .await?;
        head.ok_or(Error::NotFound("This image"))
    }
}

/// Why the user cannot have this image analysed now; `None`: it can be asked for.
pub async fn blocked(conn: &mut PgConnection, state: &State, visit: &Visit, head: &Head) -> Result<Option<String>> {
    if head.archived_at.is_some() {
        return Ok(Some("It is gone from the cluster".to_owned()));
    }
    if let Some(denied) = visit.page("", "").denied(Permission::ScanImages) {
        return Ok(Some(denied));
    }
    Ok(no_server(conn, state).await?.map(str::to_owned))
}

/// What the last analysis with a report found.
#[derive(Debug)]
struct Inspection {
    scan_id: i64,
    os_name: String,
    architecture: String,
    media_type: String,
    compressed_size_bytes: i64,
    unpacked_size_bytes: i64,
    config: ImageConfig,
    package_database: serde_json::Value,
    package_count: i32,
    failed_critical: i32,
    failed_high: i32,
    failed_medium: i32,
    failed_low: i32,
    failed_unknown: i32,
    fully_checked: bool,
}

impl Inspection {
    fn failures(&self) -> i32 {
        self.failed_critical + self.failed_high + self.failed_medium + self.failed_low + self.failed_unknown
    }

    fn os_word(&self) -> &str {
        if self.os_name.is_empty() { "none found" } else { &self.os_name }
    }

    /// Why the packages could not be read; empty when they could.
    fn unreadable(&self) -> &str {
        self.package_database["reason"].as_str().unwrap_or_default()
    }

    fn labels(&self) -> Vec<(&str, &str)> {
        self.config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    /// Severity and count of failed rules, worst first.
    fn by_severity(&self) -> [(&'static str, i32); 5] {
        [
            ("critical", self.failed_critical),
            ("high", self.failed_high),
            ("medium", self.failed_medium),
            ("low", self.failed_low),
            ("unknown", self.failed_unknown),
        ]
    }
}

async fn inspection(conn: &mut PgConnection, head: &Head) -> Result<Option<Inspection>> {
    let row = sqlx::query!(
        "SELECT scan_id, os_name, architecture, media_type, compressed_size_bytes, unpacked_size_bytes, config, package_database,
                package_count, failed_critical, failed_high, failed_medium, failed_low, failed_unknown, fully_checked
         FROM inspections
         WHERE id = $1",
        head.inspection_id
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Inspection {
        scan_id: row.scan_id,
        os_name: row.os_name,
        architecture: row.architecture,
        media_type: row.media_type,
        compressed_size_bytes: row.compressed_size_bytes,
        unpacked_size_bytes: row.unpacked_size_bytes,
        config: serde_json::from_value(row.config)?,
        package_database: row.package_database,
        package_count: row.package_count,
        failed_critical: row.failed_critical,
        failed_high: row.failed_high,
        failed_medium: row.failed_medium,
        failed_low: row.failed_low,
        failed_unknown: row.failed_unknown,
        fully_checked: row.fully_checked,
    }))
}

/// How one layer of content ended in the scan that counts.
#[derive(Debug)]
pub struct LayerEnd {
    pub layer: String,
    pub state: String,
    pub reason: String,
    pub profile: String,
    pub content: String,
    pub html_reason: String,
    pub rules: i32,
    pub failed: i32,
    pub duration_millis: i64,
    pub has_html: bool,
    pub has_arf: bool,
    /// Of the feed; `None`: the content is no feed, whose rules all have rows.
    pub definitions: Option<i32>,
    pub definitions_evaluated: Option<i32>,
    pub definitions_undecided: Option<i32>,
}

impl LayerEnd {
    /// How much of the content was evaluated, for people.
    pub fn extent(&self) -> String {
        let (Some(all), Some(evaluated)) = (self.definitions, self.definitions_evaluated) else {
            return format!("{} rules, {} failed", show::thousands(i64::from(self.rules)), show::thousands(i64::from(self.failed)));
        };
        let undecided = match self.definitions_undecided.unwrap_or_default() {
            0 => String::new(),
            count => format!(", {} undecided", show::thousands(i64::from(count))),
        };
        let others = if evaluated < all { "; the others concern packages that are not installed" } else { "" };
        format!(
            "{} of {} definitions evaluated, {} failed{undecided}{others}",
            show::thousands(i64::from(evaluated)),
            show::thousands(i64::from(all)),
            show::thousands(i64::from(self.failed))
        )
    }

    /// The layer's name for people.
    pub fn word(&self) -> &'static str {
        layer_word(&self.layer)
    }

    /// What oscap's own result of this layer is called.
    pub fn raw_word(&self) -> &'static str {
        if self.layer == "vulnerabilities" { "OVAL results" } else { "ARF" }
    }
}

/// The name of a layer of content for people.
pub fn layer_word(layer: &str) -> &'static str {
    match layer {
        "benchmark" => "Tidewaiter image benchmark",
        "guide" => "SCAP Security Guide",
        _ => "Vulnerability definitions",
    }
}

/// The layers of `scan`, in the order benchmark, guide, vulnerabilities.
pub async fn layers(conn: &mut PgConnection, scan: i64) -> Result<Vec<LayerEnd>> {
    Ok(sqlx::query_as!(
        LayerEnd,
        r#"SELECT l.layer, l.state, l.reason, l.profile, l.content, l.html_reason, l.rules, l.failed, l.duration_millis,
                  l.definitions, l.definitions_evaluated, l.definitions_undecided,
                  EXISTS (SELECT FROM scan_artifacts a WHERE a.scan_id = l.scan_id AND a.layer = l.layer AND a.kind = 'html') AS "has_html!",
                  EXISTS (SELECT FROM scan_artifacts a WHERE a.scan_id = l.scan_id AND a.layer = l.layer AND a.kind = 'arf') AS "has_arf!"
           FROM scan_layers l
           WHERE l.scan_id = $1
           ORDER BY l.layer"#,
        scan
    )
    .fetch_all(conn)
    .await?)
}

/// One line of the scan history.
#[derive(Debug)]
pub struct PastScan {
    pub id: i64,
    pub state: String,
    pub outcome: Option<String>,
    pub message: String,
    pub advice: String,
    pub reason_code: String,
    pub userid: String,
    pub task_id: Option<i64>,
    pub requested_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// The name of the provider that it ran on.
    pub provider: String,
}

impl PastScan {
    /// The kind of the alert that shows how it ended.
    fn alert(&self) -> &'static str {
        alert_kind(self.outcome.as_deref())
    }
}

/// The kind of the alert for a scan's outcome; `None`: it runs.
pub fn alert_kind(outcome: Option<&str>) -> &'static str {
    match outcome {
        Some("ok") => "success",
        Some("warn") => "warning",
        Some("error") => "danger",
        _ => "info",
    }
}

/// The scans of an image, by its own provider and by those whose results count for it, newest first, at most `limit`.
pub async fn history(conn: &mut PgConnection, image: i64, limit: i64) -> Result<Vec<PastScan>> {
    Ok(sqlx::query_as!(
        PastScan,
        r#"SELECT s.id, s.state, s.outcome, s.message, s.advice, s.reason_code, s.userid, s.task_id, s.requested_at, s.finished_at,
                  COALESCE(p.name, n.provider_name, 'a removed provider') AS "provider!"
           FROM image_scans v
           JOIN scans s ON s.id = v.scan_id
           LEFT JOIN providers p ON p.id = s.provider_id
           LEFT JOIN inspections n ON n.scan_id = s.id
           WHERE v.image_id = $1
           ORDER BY s.id DESC
           LIMIT $2"#,
        image,
        limit
    )
    .fetch_all(conn)
    .await?)
}

#[derive(Debug)]
struct Used {
    projects: i64,
    pods: i64,
    containers: i64,
    nodes: i64,
    elsewhere: i64,
}

async fn used(conn: &mut PgConnection, head: &Head) -> Result<Used> {
    Ok(sqlx::query_as!(
        Used,
        r#"SELECT COUNT(DISTINCT d.project_id) AS "projects!", COUNT(DISTINCT d.id) AS "pods!", COUNT(c.id) AS "containers!", COUNT(DISTINCT d.node_id) AS "nodes!",
                  (SELECT COUNT(*) FROM container_images WHERE digest = $2 AND id <> $1 AND archived_at IS NULL) AS "elsewhere!"
           FROM containers c JOIN pods d ON d.id = c.pod_id
           WHERE c.image_id = $1 AND c.archived_at IS NULL"#,
        head.id,
        head.digest
    )
    .fetch_one(conn)
    .await?)
}

#[derive(Template)]
#[template(path = "images/show.html")]
struct ShowPage {
    page: Page,
    head: Head,
    tab: &'static str,
    inspection: Option<Inspection>,
    place: Option<Place>,
    layers: Vec<LayerEnd>,
    scans: Vec<PastScan>,
    used: Used,
    blocked: Option<String>,
}

pub(super) async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let head = Head::get(&mut conn, id).await?;
    let mut inspection = inspection(&mut conn, &head).await?;
    if let Some(inspection) = &mut inspection {
        masking::configuration(&visit.user, &mut inspection.config);
    }
    let layers = match &inspection {
        Some(inspection) => layers(&mut conn, inspection.scan_id).await?,
        None => Vec::new(),
    };
    let place = Place::find(&mut conn, head.scan_id).await?;
    let scans = history(&mut conn, head.id, 5).await?;
    let used = used(&mut conn, &head).await?;
    let blocked = blocked(&mut conn, &state, &visit, &head).await?;
    let page = visit.page("images", head.title()).crumb("Container Images", "/images").live("inspections scans container_images");
    respond(&visit, &ShowPage { page, head, tab: "summary", inspection, place, layers, scans, used, blocked })
}
