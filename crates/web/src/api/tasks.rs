//! `/api/tasks`.

use super::collection::{Attribute, Collection, Kind};
use super::error::ApiError;
use super::{Caller, body, host};
use crate::State;
use access::Permission;
use axum::Json;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use model::ids::TaskId;
use serde_json::{Value, json};

const fn plain(name: &'static str, sql: &'static str, kind: Kind) -> Attribute {
    Attribute { name, sql, kind, default: true }
}

/// All tasks. `state` and `status` are in ManageIQ's words (`Queued`, `Active`, `Finished`; `Ok`, `Warn`, `Error`), and `Waiting` and `Cancelled` of ours.
pub(crate) const TASKS: Collection = Collection {
    name: "tasks",
    from: "FROM tasks t",
    base: "TRUE",
    id: "t.id",
    attributes: &[
        Attribute { name: "id", sql: "t.id", kind: Kind::Integer, default: false },
        plain("name", "t.name", Kind::Text),
        plain("state", "INITCAP(t.state)", Kind::Text),
        plain("status", "INITCAP(COALESCE(t.status, 'ok'))", Kind::Text),
        plain("message", "t.message", Kind::Text),
        plain("reason_code", "t.reason_code", Kind::Text),
        plain("advice", "t.advice", Kind::Text),
        plain("pct_complete", "t.progress", Kind::Integer),
        plain("userid", "t.userid", Kind::Text),
        plain("kind", "t.kind", Kind::Text),
        plain("parent_id", "t.parent_id::TEXT", Kind::Text),
        plain("target_kind", "t.target_kind", Kind::Text),
        plain("target_id", "t.target_id::TEXT", Kind::Text),
        plain("target_name", "t.target_name", Kind::Text),
        plain("created_on", "t.created_at", Kind::Time),
        plain("started_on", "t.started_at", Kind::Time),
        plain("updated_on", "t.updated_at", Kind::Time),
        plain("finished_on", "t.finished_at", Kind::Time),
        Attribute {
            name: "task_results",
            sql: "(SELECT jsonb_agg(jsonb_build_object('at', e.at, 'message', e.message) ORDER BY e.id) FROM task_events e WHERE e.task_id = t.id)",
            kind: Kind::Document,
            default: false,
        },
    ],
    actions: &["cancel"],
};

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
    bytes: axum::body::Bytes,
) -> Result<Json<Value>, ApiError> {
    body::expect_action(&body::read(&bytes)?, &["cancel"])?;
    caller.must(Permission::ManageTasks)?;
    let id = body::id(&id, &TASKS)?;
    let mut tx = state.pool.begin().await?;
    let exists = sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM tasks WHERE id = $1) AS "exists!""#, id).fetch_one(&mut *tx).await?;
    if !exists {
        return Err(ApiError::NotFound(format!("Couldn't find a resource with id {id} in tasks")));
    }
    let open = queue::task::request_cancel(&mut tx, &state.clock, &[TaskId(id)]).await?;
    tx.commit().await?;
    let message = if open > 0 { "Cancelling the task" } else { "The task is finished already" };
    Ok(Json(json!({"success": open > 0, "message": message, "href": format!("{}{}", host(&headers), TASKS.path(&id.to_string()))})))
}
