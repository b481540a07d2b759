//! One full refresh, as a job or before watching.

use crate::read::{Reader, Trouble};
use crate::{ConnectError, Inventory, Kind, Reason, pause, positions, provider, removal, save, shape, status, validate, versions};
use anyhow::{Context, anyhow};
use futures::FutureExt as _;
use model::ids::{ProviderId, TaskId};
use queue::JobError;
use queue::task::{self, TaskState, TaskStatus, Update};
use shape::Object as _;
use sqlx::{ConnectOptions as _, PgConnection};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Of Postgres' two-number advisory locks, the class of those that refresh a provider.
const REFRESH_LOCK: i32 = 0x5457_0002;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A refresh that another one keeps waiting for so long ends: it holds a place that refreshes of other providers need.
const TURN_WITHIN: Duration = Duration::from_secs(120);
const LOOK: &str = "Look at the provider's page: what that one finds is there when it ends.";
const LOOK_FOR_CANCEL_EVERY: Duration = Duration::from_secs(1);

/// Runs the job `RefreshProvider`: reads everything, and ends the task (if there is one) with what was found or what is wrong.
///
/// # Errors
/// `Retry` for Tidewaiter's own trouble (the database). A provider that cannot be used is no error of the job: it is in the provider's status and the task.
pub async fn refresh(ctx: &Inventory, provider: ProviderId, task: Option<TaskId>) -> Result<(), JobError> {
    announce(ctx, task).await.map_err(JobError::retry)?;
    let outcome = tokio::select! {
        outcome = read_in_turn(ctx, provider, task) => outcome,
        cancelled = cancelled(ctx, provider, task) => Err(cancelled),
    };
    finish(ctx, provider, task, outcome).await.map_err(JobError::retry)
}

/// `false`: it was not its turn in time.
async fn read_in_turn(ctx: &Inventory, provider: ProviderId, task: Option<TaskId>) -> Result<bool, Trouble> {
    let Ok(lock) = timeout(TURN_WITHIN, lock(ctx, provider)).await else { return Ok(false) };
    let _lock = lock?;
    read(ctx, provider, task).await?;
    Ok(true)
}

/// Ends when a person cancels the task, whatever the refresh waits for then; the removal of a provider cancels its tasks too.
async fn cancelled(ctx: &Inventory, provider: ProviderId, task: Option<TaskId>) -> Trouble {
    let Some(task) = task else { return std::future::pending().await };
    loop {
        let asked = sqlx::query!(
            r#"SELECT cancel_requested_at IS NOT NULL AS "asked!", EXISTS (SELECT FROM providers WHERE id = $2 AND removing_at IS NULL) AS "stays!",
                      EXISTS (SELECT FROM providers WHERE id = $2 AND paused_at IS NOT NULL) AS "paused!"
               FROM tasks
               WHERE id = $1"#,
            task.0,
            provider.0
        );
        match asked.fetch_optional(&ctx.pool).await {
            Ok(Some(row)) if row.asked && !row.stays => return Trouble::Gone,
            Ok(Some(row)) if row.asked => return if row.paused { Trouble::Paused } else { Trouble::Cancelled },
            Ok(_) => sleep(LOOK_FOR_CANCEL_EVERY).await,
            Err(error) => return error.into(),
        }
    }
}

/// Reads everything unless somebody else has done so while this waited for its turn; for a watch that has no positions.
pub(crate) async fn refresh_if_needed(ctx: &Inventory, provider: ProviderId) -> Result<(), Trouble> {
    let _lock = lock(ctx, provider).await?;
    let mut conn = ctx.pool.acquire().await?;
    let known = positions::find(&mut conn, provider).await?;
    drop(conn);
    if [shape::Namespace::PLURAL, shape::Node::PLURAL, shape::Pod::PLURAL].iter().all(|kind| known.contains_key(*kind)) {
        return Ok(());
    }
    read(ctx, provider, None).await
}

/// Only one refresh of a provider at a time. The lock lives on a connection of its own, which ends with it whatever happens.
async fn lock(ctx: &Inventory, provider: ProviderId) -> anyhow::Result<PgConnection> {
    let mut conn = ctx.pool.connect_options().connect().await.context("connecting to Postgres")?;
    loop {
        let mine =
            sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1, $2) AS "mine!""#, REFRESH_LOCK, save::lock_key(provider)).fetch_one(&mut conn).await?;
        if mine {
            return Ok(conn);
        }
        sleep(TRY_AGAIN_AFTER).await;
    }
}

async fn announce(ctx: &Inventory, task: Option<TaskId>) -> anyhow::Result<()> {
    let Some(task) = task else { return Ok(()) };
    let mut conn = ctx.pool.acquire().await?;
    let server = sqlx::query_scalar!("SELECT name FROM servers WHERE id = $1", ctx.server.0).fetch_optional(&mut *conn).await?;
    let update = Update { state: Some(TaskState::Active), message: Some("Connecting to the provider".into()), server, ..Update::default() };
    task::set(&mut conn, &ctx.clock, task, update).await?;
    Ok(())
}

/// Reads everything and writes how it went to the provider's row.
async fn read(ctx: &Inventory, provider: ProviderId, task: Option<TaskId>) -> Result<(), Trouble> {
    let started = std::time::Instant::now();
    let mut conn = ctx.pool.acquire().await?;
    if removal::is_under_way(&mut conn, provider).await? {
        return Err(Trouble::Gone);
    }
    if pause::paused_at(&mut conn, provider).await?.is_some() {
        return Err(Trouble::Paused);
    }
    let Some((kind, connection)) = provider::find(&mut conn, &ctx.sealer, provider).await? else { return Err(Trouble::Gone) };
    sqlx::query!("UPDATE providers SET refresh_started_at = $2 WHERE id = $1", provider.0, ctx.clock.now()).execute(&mut *conn).await?;
    drop(conn);
    let outcome = match validate::connect(&connection).await {
        Ok(client) => {
            let reader = Reader { ctx, provider, client, server: connection.server };
            let limit = ctx.settings.refresh_limit_secs;
            let reading = AssertUnwindSafe(read_with(&reader, kind, task)).catch_unwind();
            match timeout(Duration::from_secs(limit), reading).await {
                Ok(read) => read.unwrap_or_else(|_| Err(Trouble::Internal(anyhow!("the refresh panicked")))),
                Err(_) => Err(Trouble::Provider(takes_too_long(&reader.server, limit))),
            }
        }
        Err(error) => Err(Trouble::Provider(error)),
    };
    let mut conn = ctx.pool.acquire().await?;
    match &outcome {
        Ok(()) => {
            let millis = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            sqlx::query!(
                "UPDATE providers SET refreshed_at = $2, refresh_millis = $3, refresh_error = '', seen_at = $2 WHERE id = $1",
                provider.0,
                ctx.clock.now(),
                millis
            )
            .execute(&mut *conn)
            .await?;
            status::ok(&mut conn, &ctx.clock, provider).await?;
        }
        Err(Trouble::Provider(error)) => {
            sqlx::query!("UPDATE providers SET refresh_error = $2 WHERE id = $1", provider.0, error.to_string()).execute(&mut *conn).await?;
            status::failed(&mut conn, &ctx.clock, provider, error).await?;
        }
        Err(Trouble::Internal(_)) => {
            let words = ConnectError::internal("the provider").to_string();
            sqlx::query!("UPDATE providers SET refresh_error = $2 WHERE id = $1", provider.0, words).execute(&mut *conn).await?;
            status::internal(&mut conn, &ctx.clock, provider).await?;
        }
        Err(_) => {}
    }
    outcome
}

fn takes_too_long(server: &str, secs: u64) -> ConnectError {
    ConnectError::new(
        Reason::TooLarge,
        format!("Reading everything of {server} takes longer than {secs} seconds."),
        "Look at how fast the API server answers, or give inventory.refresh_limit_secs more.",
    )
}

async fn read_with(reader: &Reader<'_>, kind: Kind, task: Option<TaskId>) -> Result<(), Trouble> {
    let versions = versions::read(&reader.client, &reader.server, kind).await.map_err(Trouble::Provider)?;
    let mut conn = reader.ctx.pool.acquire().await?;
    status::version(&mut conn, reader.provider, &versions).await?;
    drop(conn);
    reader.read_all(task).await
}

/// Ends the task. Gives the trouble back only when it is Tidewaiter's own.
async fn finish(ctx: &Inventory, provider: ProviderId, task: Option<TaskId>, outcome: Result<bool, Trouble>) -> anyhow::Result<()> {
    if let Err(Trouble::Internal(error)) = outcome {
        return Err(error);
    }
    let Some(task) = task else { return Ok(()) };
    let mut conn = ctx.pool.acquire().await?;
    let (status, message, code, advice) = match outcome {
        Err(Trouble::Gone) => (TaskStatus::Cancelled, "The provider was removed".to_owned(), "provider_gone", String::new()),
        Err(Trouble::Paused) => (TaskStatus::Cancelled, "The provider is paused".to_owned(), "provider_paused", "Resume the provider first.".to_owned()),
        Err(Trouble::Provider(error)) => (TaskStatus::Error, error.message, error.reason.as_str(), error.advice),
        Err(Trouble::Cancelled) => (TaskStatus::Cancelled, "Cancelled; what had been read so far is kept".to_owned(), "cancelled", String::new()),
        Ok(false) => (
            TaskStatus::Warn,
            format!("Another refresh of this provider still ran after {} seconds", TURN_WITHIN.as_secs()),
            "refresh_running",
            LOOK.to_owned(),
        ),
        _ => (TaskStatus::Ok, found(&mut conn, provider).await?, "", String::new()),
    };
    task::finish(&mut conn, &ctx.clock, task, status, &message, code, &advice).await?;
    Ok(())
}

/// E.g. `Found 12 images in 40 pods of 6 projects on 2 nodes`.
async fn found(conn: &mut PgConnection, provider: ProviderId) -> anyhow::Result<String> {
    let counts = sqlx::query!(
        r#"SELECT (SELECT COUNT(*) FROM container_images WHERE provider_id = $1 AND archived_at IS NULL) AS "images!",
                  (SELECT COUNT(*) FROM pods WHERE provider_id = $1 AND archived_at IS NULL) AS "pods!",
                  (SELECT COUNT(*) FROM projects WHERE provider_id = $1 AND archived_at IS NULL) AS "projects!",
                  (SELECT COUNT(*) FROM nodes WHERE provider_id = $1 AND archived_at IS NULL) AS "nodes!""#,
        provider.0
    )
    .fetch_one(conn)
    .await?;
    let some = |count: i64, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    Ok(format!(
        "Found {} in {} of {} on {}",
        some(counts.images, "image"),
        some(counts.pods, "pod"),
        some(counts.projects, "project"),
        some(counts.nodes, "node")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::ServerId;
    use model::{Clock, Sealer};
    use queue::task::{NewTask, Target, TaskKind};
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_refresh_that_waits_for_another_one_can_be_cancelled(pool: PgPool) {
        queue::setup(&pool).await.unwrap();
        let settings = crate::Settings::default();
        let ctx = Inventory { pool: pool.clone(), clock: Clock::default(), sealer: Sealer::new(&[1; 32]), settings, server: ServerId(1) };
        let provider = ProviderId(7);
        let _other = lock(&ctx, provider).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        let new = NewTask {
            kind: TaskKind::ProviderRefresh,
            name: "Refresh".into(),
            userid: "admin".into(),
            target: Target::several("lab"),
            provider: None,
            parent: None,
        };
        let id = task::create(&mut conn, &ctx.clock, &new, "Queued").await.unwrap();
        task::request_cancel(&mut conn, &ctx.clock, &[id]).await.unwrap();
        refresh(&ctx, provider, Some(id)).await.unwrap();
        assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().status, Some(TaskStatus::Cancelled));
    }
}
