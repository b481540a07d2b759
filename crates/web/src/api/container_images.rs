//! `/api/container_images`.

use super::collection::{Attribute, Collection, Kind};
use super::error::ApiError;
use super::{Caller, body, host};
use crate::State;
use access::Permission;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use model::ids::ImageId;
use serde_json::{Value, json};

const fn plain(name: &'static str, sql: &'static str, kind: Kind) -> Attribute {
    Attribute { name, sql, kind, default: true }
}

const fn extra(name: &'static str, sql: &'static str) -> Attribute {
    Attribute { name, sql, kind: Kind::Document, default: false }
}

/// Images that run somewhere now, with what their last scan found.
pub(crate) const IMAGES: Collection = Collection {
    name: "container_images",
    from: "FROM container_images i JOIN image_registries r ON r.id = i.registry_id JOIN providers p ON p.id = i.provider_id \
           LEFT JOIN inspections n ON n.digest = i.digest",
    base: "i.archived_at IS NULL",
    id: "i.id",
    attributes: &[
        Attribute { name: "id", sql: "i.id", kind: Kind::Integer, default: false },
        plain("name", "i.name", Kind::Text),
        plain("tag", "i.tag", Kind::Text),
        plain("digest", "i.digest", Kind::Text),
        plain("image_ref", "r.name || '/' || i.name || '@' || i.digest", Kind::Text),
        plain("ems_id", "i.provider_id::TEXT", Kind::Text),
        plain("provider", "p.name", Kind::Text),
        plain("container_image_registry_id", "i.registry_id::TEXT", Kind::Text),
        plain("registry", "r.name", Kind::Text),
        plain("created_on", "i.first_seen_at", Kind::Time),
        plain("last_seen_on", "i.last_seen_at", Kind::Time),
        plain("last_sync_on", "n.inspected_at", Kind::Time),
        plain("architecture", "n.architecture", Kind::Text),
        plain("os_distribution", "n.os_id", Kind::Text),
        plain("size", "n.compressed_size_bytes", Kind::Integer),
        plain("guest_applications_count", "n.package_count", Kind::Integer),
        plain("fully_checked", "n.fully_checked", Kind::Boolean),
        plain("failed_critical", "n.failed_critical", Kind::Integer),
        plain("failed_high", "n.failed_high", Kind::Integer),
        plain("failed_medium", "n.failed_medium", Kind::Integer),
        plain("failed_low", "n.failed_low", Kind::Integer),
        plain("failed_unknown", "n.failed_unknown", Kind::Integer),
        extra(
            "openscap_failed_rules_summary",
            "CASE WHEN n.digest IS NOT NULL THEN jsonb_build_object('Critical', n.failed_critical, 'High', n.failed_high, \
             'Medium', n.failed_medium, 'Low', n.failed_low, 'Unknown', n.failed_unknown) END",
        ),
        extra(
            "operating_system",
            "CASE WHEN n.os_id <> '' THEN jsonb_build_object('distribution', n.os_id, 'version', n.os_version, 'product_name', n.os_name) END",
        ),
        extra(
            "last_scan_result",
            "(SELECT jsonb_build_object('id', s.id::TEXT, 'scan_type', 'OpenSCAP', 'scan_status', s.outcome, 'scan_message', s.message, \
             'reason_code', s.reason_code, 'advice', s.advice, 'requested_on', s.requested_at, 'created_on', s.finished_at, \
             'layers', (SELECT jsonb_agg(jsonb_build_object('layer', l.layer, 'state', l.state, 'reason', l.reason, 'profile', l.profile, \
             'content', l.content, 'rules', l.rules, 'failed', l.failed) ORDER BY l.layer) FROM scan_layers l WHERE l.scan_id = s.id)) \
             FROM scans s WHERE s.digest = i.digest AND s.state = 'finished' ORDER BY s.id DESC LIMIT 1)",
        ),
        extra(
            "openscap_rule_results",
            "(SELECT jsonb_agg(jsonb_build_object('name', u.rule_id, 'result', o.outcome, 'severity', o.severity, 'title', u.title, \
             'cves', (SELECT string_agg(e ->> 'text', ',') FROM jsonb_array_elements(u.identifiers) e WHERE e ->> 'text' LIKE 'CVE-%'), \
             'identifiers', u.identifiers, 'description', u.description, 'fix', u.fix, 'layer', o.layer) ORDER BY o.ordinal) \
             FROM rule_results o JOIN rules u ON u.id = o.rule_key WHERE o.scan_id = n.scan_id)",
        ),
        extra(
            "guest_applications",
            "(SELECT jsonb_agg(jsonb_build_object('name', k.name, 'version', k.version, 'arch', k.architecture, 'typename', k.kind, \
             'vendor', k.vendor, 'description', k.summary, 'source', k.source) ORDER BY k.ordinal) FROM packages k WHERE k.scan_id = n.scan_id)",
        ),
        extra(
            "container_groups",
            "(SELECT jsonb_agg(DISTINCT jsonb_build_object('id', d.id::TEXT, 'name', d.name, 'project', j.name)) FROM containers c \
             JOIN pods d ON d.id = c.pod_id JOIN projects j ON j.id = d.project_id WHERE c.image_id = i.id AND c.archived_at IS NULL)",
        ),
        extra("configuration", "n.config"),
        extra("labels", "n.config -> 'labels'"),
    ],
    actions: &["scan"],
};

/// `GET /api/container_images`.
pub(super) async fn list(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    caller.list(&state, &IMAGES, &headers, query).await
}

/// `GET /api/container_images/{id}`.
pub(super) async fn show(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    caller.show(&state, &IMAGES, &headers, &id, query).await
}

/// `POST /api/container_images` with `{"action": "scan", "resources": [{"id": …} | {"href": …}]}`: one task for all of them.
pub(super) async fn act_on_many(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    bytes: axum::body::Bytes,
) -> Result<Json<Value>, ApiError> {
    let request = body::read(&bytes)?;
    body::expect_action(&request, &["scan"])?;
    let ids = body::resources(&request, &IMAGES)?;
    if ids.is_empty() {
        return Err(ApiError::BadRequest("\"resources\" names no image: give [{\"id\": \"42\"}] or [{\"href\": \"…/api/container_images/42\"}]".into()));
    }
    let results = scan(&state, &caller, &headers, &ids).await?;
    Ok(Json(json!({ "results": results })))
}

/// `POST /api/container_images/{id}` with `{"action": "scan"}`.
pub(super) async fn act_on_one(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    bytes: axum::body::Bytes,
) -> Result<Json<Value>, ApiError> {
    body::expect_action(&body::read(&bytes)?, &["scan"])?;
    let id = body::id(&id, &IMAGES)?;
    let mut results = scan(&state, &caller, &headers, &[id]).await?;
    match results.pop() {
        Some(result) if result["success"] == json!(true) => Ok(Json(result)),
        _ => Err(ApiError::NotFound(format!("Couldn't find a resource with id {id} in container_images"))),
    }
}

/// One answer per id, in order: `{success, message, task_id, task_href, href}`; ids that are no image are told apart.
async fn scan(state: &State, caller: &Caller, headers: &HeaderMap, ids: &[i64]) -> Result<Vec<Value>, ApiError> {
    caller.must(Permission::ScanImages)?;
    let host = host(headers);
    let mut tx = state.pool.begin().await?;
    let found = sqlx::query!(
        r#"SELECT i.id, r.name || '/' || i.name AS "name!"
        FROM container_images i
        JOIN image_registries r ON r.id = i.registry_id
        WHERE i.id = ANY($1) AND i.archived_at IS NULL"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let images: Vec<ImageId> = found.iter().map(|row| ImageId(row.id)).collect();
    let task = match images.is_empty() {
        true => None,
        false => Some(control::request_scan(&mut tx, &state.clock, &caller.user.userid, &images).await.map_err(denied)?),
    };
    tx.commit().await?;
    Ok(ids
        .iter()
        .map(|id| match (found.iter().find(|row| row.id == *id), task) {
            (Some(row), Some(task)) => json!({
                "success": true,
                "message": format!("Scanning container image {}", row.name),
                "task_id": task.to_string(),
                "task_href": format!("{host}/api/tasks/{task}"),
                "href": format!("{host}{}", IMAGES.path(&id.to_string())),
            }),
            _ => json!({"success": false, "message": format!("Couldn't find a resource with id {id} in container_images")}),
        })
        .collect())
}

fn denied(denied: control::Denied) -> ApiError {
    match denied {
        control::Denied::Prevented(reason) => ApiError::Conflict(reason),
        control::Denied::Failed(error) => ApiError::Internal(error),
    }
}
