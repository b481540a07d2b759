//! `/api/container_images`.

mod related;

use super::attribute::{Attribute, Kind};
use super::body::{self, Sent};
use super::collection::Collection;
use super::error::ApiError;
use super::{Caller, host};
use crate::State;
use access::Permission;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use model::ids::{ImageId, TaskId};
use related::{FAILED, OPERATING_SYSTEM, PACKAGE, POD, PROVIDER, REGISTRY, RULE_RESULT, SCAN_RESULT};
use serde_json::{Value, json};
use smartstate::{Accepted, Requested};
use std::collections::HashMap;

/// Images that run somewhere now, with what their last scan found. A filter by `archived` or `deleted_on` reaches those that are gone.
pub(crate) const IMAGES: Collection = Collection {
    name: "container_images",
    from: "FROM container_images i JOIN image_registries r ON r.id = i.registry_id JOIN providers p ON p.id = i.provider_id \
           LEFT JOIN inspections n ON n.id = i.inspection_id LEFT JOIN providers v ON v.id = n.provider_id",
    base: "i.archived_at IS NULL",
    lifted_by: &["archived", "deleted_on"],
    id: "i.id",
    attributes: &[
        Attribute::extra("id", "i.id", Kind::Integer),
        Attribute::plain("name", "i.name", Kind::Text),
        Attribute::plain("tag", "i.tag", Kind::Text),
        Attribute::plain("digest", "i.digest", Kind::Text),
        Attribute::plain("image_ref", "r.name || '/' || i.name || '@' || i.digest", Kind::Text),
        Attribute::plain("ems_id", "i.provider_id::TEXT", Kind::Text),
        Attribute::plain("provider", "p.name", Kind::Text),
        Attribute::plain("container_image_registry_id", "i.registry_id::TEXT", Kind::Text),
        Attribute::plain("registry", "r.name", Kind::Text),
        Attribute::plain("created_on", "i.first_seen_at", Kind::Time),
        Attribute::plain("last_seen_on", "i.last_seen_at", Kind::Time),
        Attribute::plain("archived", "i.archived_at IS NOT NULL", Kind::Boolean),
        Attribute::plain("deleted_on", "i.archived_at", Kind::Time),
        Attribute::plain("last_sync_on", "n.inspected_at", Kind::Time),
        Attribute::plain("inspected_on", "COALESCE(v.name, n.provider_name)", Kind::Text),
        Attribute::plain("inspected_on_ems_id", "n.provider_id::TEXT", Kind::Text),
        Attribute::plain("architecture", "n.architecture", Kind::Text),
        Attribute::plain("os_distribution", "n.os_id", Kind::Text),
        Attribute::plain("size", "n.compressed_size_bytes", Kind::Integer),
        Attribute::plain("guest_applications_count", "n.package_count", Kind::Integer),
        Attribute::plain("fully_checked", "n.fully_checked", Kind::Boolean),
        Attribute::plain("failed_critical", "n.failed_critical", Kind::Integer),
        Attribute::plain("failed_high", "n.failed_high", Kind::Integer),
        Attribute::plain("failed_medium", "n.failed_medium", Kind::Integer),
        Attribute::plain("failed_low", "n.failed_low", Kind::Integer),
        Attribute::plain("failed_unknown", "n.failed_unknown", Kind::Integer),
        Attribute::extra("openscap_failed_rules_summary", "WHERE n.id IS NOT NULL", Kind::One(FAILED)),
        Attribute::extra("operating_system", "WHERE n.os_id <> ''", Kind::One(OPERATING_SYSTEM)),
        Attribute::extra("ext_management_system", "", Kind::One(PROVIDER)),
        Attribute::extra("container_image_registry", "", Kind::One(REGISTRY)),
        Attribute::extra(
            "last_scan_result",
            "FROM image_scans x JOIN scans s ON s.id = x.scan_id LEFT JOIN providers q ON q.id = s.provider_id \
             LEFT JOIN inspections m ON m.scan_id = s.id \
             WHERE x.image_id = i.id AND s.state = 'finished' ORDER BY s.id DESC LIMIT 1",
            Kind::One(SCAN_RESULT),
        ),
        Attribute::heavy(
            "openscap_rule_results",
            "FROM rule_results o JOIN rules u ON u.id = o.rule_key WHERE o.scan_id = n.scan_id ORDER BY o.ordinal",
            Kind::Many(RULE_RESULT),
        ),
        Attribute::heavy("guest_applications", "FROM packages k WHERE k.scan_id = n.scan_id ORDER BY k.ordinal", Kind::Many(PACKAGE)),
        Attribute::extra(
            "container_groups",
            "FROM pods d JOIN projects j ON j.id = d.project_id \
             WHERE d.id IN (SELECT c.pod_id FROM containers c WHERE c.image_id = i.id AND c.archived_at IS NULL) ORDER BY d.id",
            Kind::Many(POD),
        ),
        Attribute::extra("configuration", "n.config", Kind::Json),
        Attribute::extra("labels", "n.config -> 'labels'", Kind::Json),
    ],
    actions: &["scan"],
    collection_actions: &["scan"],
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

/// `POST /api/container_images` with `{"action": "scan", "resources": [{"id": …} | {"href": …}]}`: an answer for each, in the order asked.
pub(super) async fn act_on_many(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, Sent(request): Sent) -> Result<Json<Value>, ApiError> {
    caller.must(Permission::ScanImages)?;
    body::expect_action(&request, &["scan"])?;
    let ids = body::resources(&request, &IMAGES)?;
    let answers = scan(&state, &caller, &host(&headers), &ids).await?;
    let results: Vec<Value> = answers.into_iter().map(|answer| answer.unwrap_or_else(|why| json!({"success": false, "message": why}))).collect();
    Ok(Json(json!({ "results": results })))
}

/// `POST /api/container_images/{id}` with `{"action": "scan"}`.
pub(super) async fn act_on_one(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Sent(request): Sent,
) -> Result<Json<Value>, ApiError> {
    body::expect_action(&request, &["scan"])?;
    let id = body::id(&id, &IMAGES)?;
    let mut answers = scan(&state, &caller, &host(&headers), &[id]).await?;
    match answers.pop() {
        Some(Ok(answer)) => Ok(Json(answer)),
        Some(Err(why)) if why == IMAGES.missing(id) => Err(ApiError::NotFound(why)),
        Some(Err(why)) => Err(ApiError::Conflict(why)),
        None => Err(ApiError::NotFound(IMAGES.missing(id))),
    }
}

/// One answer per id, in order: `{success, message, task_id, task_href, href}`, with `parent_task_id` when the task is a part of one for several images;
/// or why there is none.
async fn scan(state: &State, caller: &Caller, host: &str, ids: &[i64]) -> Result<Vec<Result<Value, String>>, ApiError> {
    caller.must(Permission::ScanImages)?;
    let mut tx = state.pool.begin().await?;
    let found = sqlx::query!(
        r#"SELECT i.id, r.name || '/' || i.name AS "name!", i.archived_at IS NOT NULL AS "archived!"
           FROM container_images i
           JOIN image_registries r ON r.id = i.registry_id
           WHERE i.id = ANY($1)"#,
        ids,
    )
    .fetch_all(&mut *tx)
    .await?;
    let images: Vec<ImageId> = found.iter().filter(|row| !row.archived).map(|row| ImageId(row.id)).collect();
    let accepted = match images.is_empty() {
        true => Accepted::default(),
        false => control::request_scans(&mut tx, &state.clock, &caller.user.userid, &images).await.map_err(denied)?,
    };
    tx.commit().await?;
    let found: HashMap<i64, _> = found.iter().map(|row| (row.id, row)).collect();
    let requested: HashMap<i64, &Requested> = accepted.images.iter().map(|requested| (requested.image.0, requested)).collect();
    Ok(ids
        .iter()
        .map(|id| {
            let row = found.get(id).ok_or_else(|| IMAGES.missing(id))?;
            let requested =
                requested.get(id).ok_or_else(|| format!("Container image {} is gone from its cluster; it cannot be analysed any more", row.name))?;
            Ok(answer(host, *id, &row.name, requested, accepted.task))
        })
        .collect())
}

/// `whole`: the task of the whole request.
fn answer(host: &str, id: i64, name: &str, requested: &Requested, whole: Option<TaskId>) -> Value {
    let verb = if requested.existing { "Already scanning" } else { "Scanning" };
    let mut answer = json!({
        "success": true,
        "message": format!("{verb} container image {name}"),
        "href": format!("{host}{}", IMAGES.path(&id.to_string())),
    });
    if let Some(task) = requested.task {
        answer["task_id"] = json!(task.to_string());
        answer["task_href"] = json!(format!("{host}/api/tasks/{task}"));
    }
    if let Some(whole) = whole.filter(|whole| !requested.existing && Some(*whole) != requested.task) {
        answer["parent_task_id"] = json!(whole.to_string());
    }
    answer
}

fn denied(denied: control::Denied) -> ApiError {
    match denied {
        control::Denied::Prevented(reason) => ApiError::Conflict(reason),
        control::Denied::Failed(error) => ApiError::Internal(error),
    }
}
