//! Tasks: My Tasks, and All VM and Container Analysis Tasks.

mod show_one;

use crate::error::{Error, Result};
use crate::extract::{Form, Path, Selected};
use crate::list::{List, Spec, plan_for_values};
use crate::page::{Flash, Page, local, redirect, respond};
use crate::session::Visit;
use crate::{State, keyset, show};
use access::Permission;
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Duration, Utc};
use model::ids::{ProviderId, TaskId};
use queue::task::{TaskKind, TaskState};
use sqlx::PgConnection;

pub fn routes() -> Router<State> {
    Router::new()
        .route("/tasks", get(list))
        .route("/tasks/cancel", post(cancel_selected))
        .route("/tasks/{id}", get(show_one::show_one))
        .route("/tasks/{id}/cancel", post(cancel))
        .route("/tasks/{id}/retry", post(retry))
}

static SPEC: Spec = Spec {
    path: "/tasks",
    sorts: &["created", "updated", "name"],
    falling: &["created", "updated"],
    filters: &[("tab", "Tab"), ("state", "State"), ("status", "Status"), ("user", "User"), ("period", "Period"), ("kind", "Kind"), ("parent", "Part of")],
};

/// Periods to filter by: key, words, hours.
const PERIODS: [(&str, &str, i64); 4] = [("hour", "Last hour", 1), ("day", "Last 24 hours", 24), ("week", "Last 7 days", 168), ("month", "Last 30 days", 720)];

#[derive(Debug)]
struct Row {
    id: i64,
    cursor: String,
    name: String,
    state: String,
    status: String,
    message: String,
    progress: i16,
    userid: String,
    children_total: i32,
    children_finished: i32,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    updated_at: DateTime<Utc>,
}

/// The list's conditions as the queries take them.
struct Wanted {
    user: Option<String>,
    since: Option<DateTime<Utc>>,
    /// Parts of bulk tasks are listed too: something narrower than the tab was asked for.
    parts: bool,
}

impl Wanted {
    fn new(list: &List, visit: &Visit) -> Self {
        let hours = list.filter("period").and_then(|key| PERIODS.iter().find(|(name, ..)| *name == key)).map(|(_, _, hours)| *hours);
        let user = if is_all(list) { list.filter("user").map(str::to_owned) } else { Some(visit.user.userid.clone()) };
        let parts = ["state", "status", "parent", "kind"].iter().any(|key| list.filter(key).is_some()) || !list.q.is_empty();
        Self { user, since: hours.map(|hours| visit.now - Duration::hours(hours)), parts }
    }
}

fn is_all(list: &List) -> bool {
    list.filter("tab") == Some("all")
}

#[derive(Template)]
#[template(path = "tasks/list.html")]
struct ListPage {
    page: Page,
    list: List,
    rows: Vec<Row>,
    count: String,
    all: bool,
    users: Vec<String>,
    /// Why the user may not cancel.
    denied: Option<String>,
}

async fn list(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut list = List::new(&SPEC, &visit);
    list.chips.retain(|chip| chip.key != "tab");
    if let Some((_, words, _)) = list.filter("period").and_then(|key| PERIODS.iter().find(|(name, ..)| *name == key)) {
        list.name_chip("period", *words);
    }
    let mut conn = state.pool.acquire().await?;
    let wanted = Wanted::new(&list, &visit);
    plan_for_values(&mut conn).await?;
    let count = count(&mut conn, &list, &wanted).await?;
    list.found(count);
    let rows = read(&mut conn, &mut list, &wanted).await?;
    let users = if is_all(&list) { sqlx::query_scalar!("SELECT userid FROM users ORDER BY userid LIMIT 50").fetch_all(&mut *conn).await? } else { Vec::new() };
    let all = is_all(&list);
    let page = visit.page("tasks", if all { "All VM and Container Analysis Tasks" } else { "My Tasks" }).live("tasks");
    let denied = page.denied(Permission::ManageTasks);
    respond(&visit, &ListPage { page, list, rows, count: show::bounded(count), all, users, denied })
}

async fn read(conn: &mut PgConnection, list: &mut List, wanted: &Wanted) -> Result<Vec<Row>> {
    Ok(keyset!(list, conn, Row, { "created" => "t.created_at", "TIMESTAMPTZ"; "updated" => "t.updated_at", "TIMESTAMPTZ"; "name" => "t.name", "TEXT" }, "t.id",
        r#"tasks t
           WHERE ($4::TEXT IS NULL OR t.name ILIKE $4 OR t.message ILIKE $4)
             AND ($5::TEXT IS NULL OR t.state = $5)
             AND ($6::TEXT IS NULL OR t.status = $6)
             AND ($7::TEXT IS NULL OR t.userid = $7)
             AND ($8::TIMESTAMPTZ IS NULL OR t.created_at >= $8)
             AND ($9::TEXT IS NULL OR t.kind = $9)
             AND ($10::BIGINT IS NULL OR t.parent_id = $10)
             AND ($11 OR t.parent_id IS NULL)"#,
        r#"t.name, t.state, COALESCE(t.status, '') AS "status!", t.message, t.progress, t.userid, t.children_total, t.children_finished,
           t.created_at, t.started_at, t.updated_at
           FROM picked k JOIN tasks t ON t.id = k.id"#,
        list.pattern(), list.filter("state"), list.filter("status"), wanted.user, wanted.since, list.filter("kind"), list.filter_id("parent"), wanted.parts
    ))
}

async fn count(conn: &mut PgConnection, list: &List, wanted: &Wanted) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!"
           FROM (SELECT FROM tasks t
                 WHERE ($1::TEXT IS NULL OR t.name ILIKE $1 OR t.message ILIKE $1)
                   AND ($2::TEXT IS NULL OR t.state = $2)
                   AND ($3::TEXT IS NULL OR t.status = $3)
                   AND ($4::TEXT IS NULL OR t.userid = $4)
                   AND ($5::TIMESTAMPTZ IS NULL OR t.created_at >= $5)
                   AND ($6::TEXT IS NULL OR t.kind = $6)
                   AND ($7::BIGINT IS NULL OR t.parent_id = $7)
                   AND ($8 OR t.parent_id IS NULL)
                 LIMIT 10001) AS counted"#,
        list.pattern(),
        list.filter("state"),
        list.filter("status"),
        wanted.user,
        wanted.since,
        list.filter("kind"),
        list.filter_id("parent"),
        wanted.parts
    )
    .fetch_one(conn)
    .await?)
}

async fn cancel_selected(visit: Visit, extract::State(state): extract::State<State>, Form(selected): Form<Selected>) -> Result<Response> {
    visit.must(Permission::ManageTasks)?;
    let list = List::parse(&SPEC, &selected.query);
    let wanted = Wanted::new(&list, &visit);
    let mut tx = state.pool.begin().await?;
    let ids = sqlx::query_scalar!(
        r#"SELECT t.id AS "id: TaskId"
           FROM tasks t
           WHERE t.state <> 'finished'
             AND CASE WHEN $9 THEN ($1::TEXT IS NULL OR t.name ILIKE $1 OR t.message ILIKE $1)
                               AND ($2::TEXT IS NULL OR t.state = $2)
                               AND ($3::TEXT IS NULL OR t.status = $3)
                               AND ($4::TEXT IS NULL OR t.userid = $4)
                               AND ($5::TIMESTAMPTZ IS NULL OR t.created_at >= $5)
                               AND ($6::TEXT IS NULL OR t.kind = $6)
                               AND ($7::BIGINT IS NULL OR t.parent_id = $7)
                               AND ($8 OR t.parent_id IS NULL)
                 ELSE t.id = ANY($10) END"#,
        list.pattern(),
        list.filter("state"),
        list.filter("status"),
        wanted.user,
        wanted.since,
        list.filter("kind"),
        list.filter_id("parent"),
        wanted.parts,
        selected.all.is_some(),
        &selected.id
    )
    .fetch_all(&mut *tx)
    .await?;
    let asked = queue::task::request_cancel(&mut tx, &state.clock, &ids).await?;
    tx.commit().await?;
    let flash = if asked == 0 {
        Flash::warning("Nothing to cancel: none of the selected tasks was open.")
    } else {
        Flash::success(format!("Cancellation of {asked} {} requested.", plural(asked)))
    };
    Ok(redirect(local(&selected.back), flash))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "task" } else { "tasks" }
}

async fn cancel(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageTasks)?;
    let mut tx = state.pool.begin().await?;
    let asked = queue::task::request_cancel(&mut tx, &state.clock, &[TaskId(id)]).await?;
    tx.commit().await?;
    let flash =
        if asked == 0 { Flash::warning("The task is finished, or its cancellation was requested before.") } else { Flash::success("Cancellation requested.") };
    Ok(redirect(&format!("/tasks/{id}"), flash))
}

async fn retry(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageTasks)?;
    let mut tx = state.pool.begin().await?;
    let task = queue::task::find(&mut tx, TaskId(id)).await?.ok_or(Error::NotFound("This task"))?;
    if task.state != TaskState::Finished {
        return Err(Error::Conflict("This task is not finished yet; cancel it first.".to_owned()));
    }
    let again = match (task.kind, task.provider) {
        (TaskKind::ProviderRefresh, Some(ProviderId(provider))) if is_there(&mut tx, provider).await? => {
            Some(inventory::provider::request_refresh(&mut tx, &state.clock, &visit.user.userid, ProviderId(provider)).await?)
        }
        (TaskKind::ProviderRefresh, _) => None,
        _ => smartstate::retry(&mut tx, &state.clock, &visit.user.userid, task.id).await?,
    };
    tx.commit().await?;
    match again {
        Some(task) => Ok(redirect(&format!("/tasks/{task}"), Flash::success("Asked for again; this is the new task."))),
        None => Ok(redirect(&format!("/tasks/{id}"), Flash::warning("There is nothing left to do again: it ended well, or its target is gone or paused."))),
    }
}

/// Whether anything can be asked of it.
async fn is_there(conn: &mut PgConnection, provider: i64) -> Result<bool> {
    let there =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM providers WHERE id = $1 AND removing_at IS NULL AND paused_at IS NULL) AS "there!""#, provider);
    Ok(there.fetch_one(conn).await?)
}
