//! One task: its timeline, why it waits or failed, and what its scan pod did.

use crate::State;
use crate::error::{Error, Result};
use crate::extract::Path;
use crate::page::{Page, respond};
use crate::session::Visit;
use crate::show;
use access::Permission;
use askama::Template;
use axum::extract;
use axum::response::Response;
use chrono::{DateTime, Utc};
use model::ids::TaskId;
use queue::task::{TargetKind, Task, TaskEvent, TaskState, TaskStatus};
use serde_json::Value;
use sqlx::PgConnection;

/// Children shown on the page; the rest is in the list.
const CHILDREN: i64 = 50;

#[derive(Debug)]
struct Child {
    id: i64,
    name: String,
    state: String,
    status: String,
    message: String,
    progress: i16,
    updated_at: DateTime<Utc>,
}

#[derive(Debug)]
struct Scan {
    id: i64,
    state: String,
    namespace: String,
    pod_name: String,
    node_name: String,
    pod_log: String,
    pod_events: Value,
    timings: Value,
    os_name: String,
    warnings: Vec<String>,
}

/// A Kubernetes event of the scan pod.
struct PodEvent {
    at: Option<DateTime<Utc>>,
    reason: String,
    message: String,
}

impl Scan {
    fn events(&self) -> Vec<PodEvent> {
        let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = |event: &Value| PodEvent { at: text(event, "at").parse().ok(), reason: text(event, "reason"), message: text(event, "message") };
        self.pod_events.as_array().into_iter().flatten().map(read).collect()
    }

    /// Steps with their milliseconds, in the order in which they happen.
    fn steps(&self) -> Vec<(&'static str, i64)> {
        let known = [
            ("waiting", "Waiting"),
            ("pod_start", "Pod start"),
            ("pull", "Pull"),
            ("unpack", "Unpack"),
            ("packages", "Packages"),
            ("benchmark", "Image benchmark"),
            ("guide", "Security guide"),
            ("vulnerabilities", "Vulnerabilities"),
            ("fetch", "Fetch"),
            ("save", "Save"),
        ];
        known.into_iter().filter_map(|(key, word)| self.timings.get(key).and_then(Value::as_i64).map(|millis| (word, millis))).collect()
    }
}

#[derive(Template)]
#[template(path = "tasks/show.html")]
struct ShowPage {
    page: Page,
    task: Task,
    /// The state and the status in the table's words; the status empty while open.
    state: &'static str,
    status: &'static str,
    parent: Option<(i64, String)>,
    timeline: Vec<TaskEvent>,
    children: Vec<Child>,
    scan: Option<Scan>,
    /// The page of what the task is about, when that is still there.
    target: Option<String>,
    /// Why the user may not cancel or retry.
    denied: Option<String>,
}

impl ShowPage {
    fn open(&self) -> bool {
        self.task.state != TaskState::Finished
    }

    /// The colour of the reason's box.
    fn tone(&self) -> &'static str {
        match self.task.status {
            Some(TaskStatus::Error) => "danger",
            Some(TaskStatus::Warn) => "warning",
            _ => "info",
        }
    }

    fn took(&self) -> Option<i64> {
        Some((self.task.finished_at? - self.task.started_at?).num_milliseconds())
    }
}

pub async fn show_one(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let task = queue::task::find(&mut conn, TaskId(id)).await?.ok_or(Error::NotFound("This task"))?;
    let parent = match task.parent {
        Some(TaskId(parent)) => {
            sqlx::query_scalar!("SELECT name FROM tasks WHERE id = $1", parent).fetch_optional(&mut *conn).await?.map(|name| (parent, name))
        }
        None => None,
    };
    let mut page = visit.page("tasks", &task.name).crumb("Tasks", "/tasks?tab=all").live("tasks scans");
    if let Some((parent, name)) = &parent {
        page = page.crumb(name, format!("/tasks/{parent}"));
    }
    let view = ShowPage {
        denied: page.denied(Permission::ManageTasks),
        page,
        state: task.state.as_str(),
        status: task.status.map_or("", TaskStatus::as_str),
        timeline: queue::task::timeline(&mut conn, task.id).await?,
        children: if task.children_total > 0 { children(&mut conn, id).await? } else { Vec::new() },
        scan: scan(&mut conn, id).await?,
        target: target(&mut conn, &task).await?,
        parent,
        task,
    };
    respond(&visit, &view)
}

/// What needs a look first: open ones, then those that ended badly.
async fn children(conn: &mut PgConnection, id: i64) -> Result<Vec<Child>> {
    Ok(sqlx::query_as!(
        Child,
        r#"SELECT t.id AS "id!", t.name AS "name!", t.state AS "state!", COALESCE(t.status, '') AS "status!", t.message AS "message!",
                  t.progress AS "progress!", t.updated_at AS "updated_at!"
           FROM (VALUES (0, 'active', ''), (1, 'finished', 'error'), (2, 'waiting', ''), (3, 'queued', ''), (4, 'finished', 'warn'),
                        (5, 'finished', 'cancelled'), (5, 'finished', 'ok')) AS groups (place, state, status)
           CROSS JOIN LATERAL (
               SELECT id, name, state, status, message, progress, updated_at
               FROM tasks
               WHERE parent_id = $1
                 AND state = groups.state
                 AND COALESCE(status, '') = groups.status
               ORDER BY id
               LIMIT $2) AS t
           ORDER BY groups.place, t.id
           LIMIT $2"#,
        id,
        CHILDREN
    )
    .fetch_all(conn)
    .await?)
}

async fn scan(conn: &mut PgConnection, task: i64) -> Result<Option<Scan>> {
    Ok(sqlx::query_as!(
        Scan,
        "SELECT id, state, namespace, pod_name, node_name, pod_log, pod_events, timings, os_name, warnings
         FROM scans
         WHERE task_id = $1
         ORDER BY id DESC
         LIMIT 1",
        task
    )
    .fetch_optional(conn)
    .await?)
}

async fn target(conn: &mut PgConnection, task: &Task) -> Result<Option<String>> {
    let Some(id) = task.target_id else { return Ok(None) };
    Ok(match task.target_kind {
        TargetKind::Provider => {
            sqlx::query_scalar!("SELECT id FROM providers WHERE id = $1", id).fetch_optional(conn).await?.map(|id| format!("/providers/{id}"))
        }
        TargetKind::ContainerImage => {
            sqlx::query_scalar!("SELECT id FROM container_images WHERE id = $1", id).fetch_optional(conn).await?.map(|id| format!("/images/{id}"))
        }
        TargetKind::None => None,
    })
}
