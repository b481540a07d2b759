//! `/api/tasks`.

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
use model::ids::TaskId;
use serde_json::{Value, json};
use std::collections::HashMap;

/// All tasks. `state` and `status` are in ManageIQ's words (`Queued`, `Active`, `Finished`; `Ok`, `Warn`, `Error`), and `Waiting` and `Cancelled` of ours.
pub(crate) const TASKS: Collection = Collection {
    name: "tasks",
    from: "FROM tasks t",
    base: "TRUE",
    lifted_by: &[],
    id: "t.id",
    attributes: &[
        Attribute::extra("id", "t.id", Kind::Integer),
        Attribute::plain("name", "t.name", Kind::Text),
        Attribute::plain("state", "INITCAP(t.state)", Kind::Text),
        Attribute::plain("status", "INITCAP(COALESCE(t.status, 'ok'))", Kind::Text),
        Attribute::plain("message", "t.message", Kind::Text),
        Attribute::plain("reason_code", "t.reason_code", Kind::Text),
        Attribute::plain("advice", "t.advice", Kind::Text),
        Attribute::plain("pct_complete", "t.progress", Kind::Integer),
        Attribute::plain("userid", "t.userid", Kind::Text),
        Attribute::plain("kind", "t.kind", Kind::Text),
        Attribute::plain("parent_id", "t.parent_id::TEXT", Kind::Text),
        Attribute::plain("target_kind", "t.target_kind", Kind::Text),
        Attribute::plain("target_id", "t.target_id::TEXT", Kind::Text),
        Attribute::plain("target_name", "t.target_name", Kind::Text),
        Attribute::plain("created_on", "t.created_at", Kind::Time),
        Attribute::plain("started_on", "t.started_at", Kind::Time),
        Attribute::plain("updated_on", "t.updated_at", Kind::Time),
        Attribute::plain("finished_on", "t.finished_at", Kind::Time),
        Attribute::extra("task_results", "FROM task_events e WHERE e.task_id = t.id ORDER BY e.id", Kind::Many(EVENT)),
    ],
    actions: &["cancel"],
    collection_actions: &["cancel"],
};

const EVENT: &[Attribute] = &[Attribute::plain("at", "e.at", Kind::Time), Attribute::plain("message", "e.message", Kind::Text)];

/// `GET /api/tasks`.
pub(super) async fn list(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Json<Value>, ApiError> {
    caller.list(&state, &TASKS, &headers, query).await
}

/// `GET /api/tasks/{id}`.
pub(super) async fn show(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, ApiError> {
    caller.show(&state, &TASKS, &headers, &id, query).await
}

/// `POST /api/tasks/{id}` with `{"action": "cancel"}`.
pub(super) async fn act_on_one(
    state: axum::extract::State<State>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
    Sent(request): Sent,
) -> Result<Json<Value>, ApiError> {
    body::expect_action(&request, &["cancel"])?;
    caller.must(Permission::ManageTasks)?;
    let id = body::id(&id, &TASKS)?;
    match cancel(&state, &host(&headers), &[id]).await?.pop() {
        Some(Ok(answer)) => Ok(Json(answer)),
        Some(Err(why)) if why == TASKS.missing(id) => Err(ApiError::NotFound(why)),
        Some(Err(why)) => Err(ApiError::BadRequest(why)),
        None => Err(ApiError::NotFound(TASKS.missing(id))),
    }
}

/// `POST /api/tasks` with `{"action": "cancel", "resources": [{"id": …} | {"href": …}]}`: an answer for each, in the order asked.
pub(super) async fn act_on_many(state: axum::extract::State<State>, caller: Caller, headers: HeaderMap, Sent(request): Sent) -> Result<Json<Value>, ApiError> {
    caller.must(Permission::ManageTasks)?;
    body::expect_action(&request, &["cancel"])?;
    let answers = cancel(&state, &host(&headers), &body::resources(&request, &TASKS)?).await?;
    let results: Vec<Value> = answers.into_iter().map(|answer| answer.unwrap_or_else(|why| json!({"success": false, "message": why}))).collect();
    Ok(Json(json!({ "results": results })))
}

/// One answer per id, in order; or why there is nothing to cancel. A task of several is cancelled with its parts.
async fn cancel(state: &State, host: &str, ids: &[i64]) -> Result<Vec<Result<Value, String>>, ApiError> {
    let mut tx = state.pool.begin().await?;
    let open = sqlx::query!(r#"SELECT id, state <> 'finished' AS "open!" FROM tasks WHERE id = ANY($1)"#, ids).fetch_all(&mut *tx).await?;
    let open: HashMap<i64, bool> = open.into_iter().map(|row| (row.id, row.open)).collect();
    let tasks: Vec<TaskId> = open.iter().filter(|(_, open)| **open).map(|(id, _)| TaskId(*id)).collect();
    queue::task::request_cancel(&mut tx, &state.clock, &tasks).await?;
    tx.commit().await?;
    Ok(ids
        .iter()
        .map(|id| match open.get(id) {
            None => Err(TASKS.missing(id)),
            Some(false) => Err(format!("Task {id} is finished; there is nothing to cancel")),
            Some(true) => Ok(json!({"success": true, "message": format!("Cancelling task {id}"), "href": format!("{host}{}", TASKS.path(&id.to_string()))})),
        })
        .collect())
}
