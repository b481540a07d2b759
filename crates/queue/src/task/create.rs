//! New tasks.

use super::{TargetKind, TaskKind};
use model::Clock;
use model::ids::{ImageId, ProviderId, TaskId};
use sqlx::PgConnection;

/// A task to be created.
#[derive(Debug, Clone)]
pub struct NewTask {
    pub kind: TaskKind,
    /// What a person reads in the list, e.g. `SmartState Analysis of library/nginx`.
    pub name: String,
    /// Who asked; `system` when nobody did.
    pub userid: String,
    pub target: Target,
    pub provider: Option<ProviderId>,
    /// The bulk task that it is a part of.
    pub parent: Option<TaskId>,
}

/// What a task is about.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: TargetKind,
    pub id: Option<i64>,
    pub name: String,
}

impl Target {
    pub fn image(id: ImageId, name: impl Into<String>) -> Self {
        Self { kind: TargetKind::ContainerImage, id: Some(id.0), name: name.into() }
    }

    pub fn provider(id: ProviderId, name: impl Into<String>) -> Self {
        Self { kind: TargetKind::Provider, id: Some(id.0), name: name.into() }
    }

    /// Nothing single, e.g. `12 images`.
    pub fn several(name: impl Into<String>) -> Self {
        Self { kind: TargetKind::None, id: None, name: name.into() }
    }
}

/// One new task in the state `queued`.
///
/// # Errors
/// The database.
pub async fn create(conn: &mut PgConnection, clock: &Clock, task: &NewTask, message: &str) -> anyhow::Result<TaskId> {
    let ids = insert(conn, clock, std::slice::from_ref(task), message).await?;
    ids.first().copied().ok_or_else(|| anyhow::anyhow!("Postgres returned no number for a new task"))
}

/// New tasks in the state `queued`, in sets; their numbers are in the order of `tasks`.
///
/// # Errors
/// The database.
pub async fn create_many(conn: &mut PgConnection, clock: &Clock, tasks: &[NewTask]) -> anyhow::Result<Vec<TaskId>> {
    insert(conn, clock, tasks, "Queued").await
}

async fn insert(conn: &mut PgConnection, clock: &Clock, tasks: &[NewTask], message: &str) -> anyhow::Result<Vec<TaskId>> {
    if tasks.is_empty() {
        return Ok(vec![]);
    }
    let now = clock.now();
    let parents: Vec<Option<i64>> = tasks.iter().map(|task| task.parent.map(|id| id.0)).collect();
    let kinds: Vec<String> = tasks.iter().map(|task| task.kind.as_str().to_owned()).collect();
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    let userids: Vec<String> = tasks.iter().map(|task| task.userid.clone()).collect();
    let target_kinds: Vec<String> = tasks.iter().map(|task| task.target.kind.as_str().to_owned()).collect();
    let target_ids: Vec<Option<i64>> = tasks.iter().map(|task| task.target.id).collect();
    let target_names: Vec<String> = tasks.iter().map(|task| task.target.name.clone()).collect();
    let providers: Vec<Option<i64>> = tasks.iter().map(|task| task.provider.map(|id| id.0)).collect();
    // A child is a microsecond older than its parent, so that the parent stands above it where the newest come first.
    let mut ids = sqlx::query_scalar!(
        r#"INSERT INTO tasks (parent_id, kind, name, state, message, userid, target_kind, target_id, target_name, provider_id, created_at, updated_at)
           SELECT new.parent_id, new.kind, new.name, 'queued', $9, new.userid, new.target_kind, new.target_id, new.target_name, new.provider_id,
                  COALESCE(parent.created_at - INTERVAL '1 microsecond', $10), $10
           FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[]) WITH ORDINALITY
             AS new (parent_id, kind, name, userid, target_kind, target_id, target_name, provider_id, ordinal)
           LEFT JOIN tasks AS parent ON parent.id = new.parent_id
           ORDER BY new.ordinal
           RETURNING id AS "id: TaskId""#,
        &parents as &[Option<i64>],
        &kinds,
        &names,
        &userids,
        &target_kinds,
        &target_ids as &[Option<i64>],
        &target_names,
        &providers as &[Option<i64>],
        message,
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    ids.sort_unstable();
    add_first_events(conn, clock, &ids, message).await?;
    count_children(conn, clock, &parents).await?;
    Ok(ids)
}

async fn add_first_events(conn: &mut PgConnection, clock: &Clock, ids: &[TaskId], message: &str) -> anyhow::Result<()> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query!("INSERT INTO task_events (task_id, at, message) SELECT id, $2, $3 FROM UNNEST($1::bigint[]) AS id", &ids, clock.now(), message)
        .execute(conn)
        .await?;
    Ok(())
}

async fn count_children(conn: &mut PgConnection, clock: &Clock, parents: &[Option<i64>]) -> anyhow::Result<()> {
    let parents: Vec<i64> = parents.iter().flatten().copied().collect();
    if parents.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE tasks
         SET children_total = children_total + new.count, updated_at = $2
         FROM (SELECT id, COUNT(*)::int AS count FROM UNNEST($1::bigint[]) AS id GROUP BY id) AS new
         WHERE tasks.id = new.id",
        &parents,
        clock.now()
    )
    .execute(conn)
    .await?;
    Ok(())
}
