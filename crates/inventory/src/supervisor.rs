//! Keeps one watch per provider, on one of the servers that have the role.

use crate::read::{Reader, Trouble};
use crate::{Inventory, Reason, positions, provider, refresh, save, shape, status, validate, versions, watch};
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use model::ids::ProviderId;
use shape::Object as _;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Of Postgres' two-number advisory locks, the class of those that watch a provider.
const WATCH_LOCK: i32 = 0x5457_0003;
/// How soon a new, changed or removed provider and a switched role are noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// For a provider that sends too much, which waits for at least [`BACKOFF_MAX`]: what it sends takes room from the others.
const BACKOFF_OF_HARM_MAX: Duration = Duration::from_secs(600);
/// How long a new provider's watch leaves the first refresh to the job that was asked for with it.
const JOB_FIRST: Duration = Duration::from_secs(10);

/// Keeps one watch per provider until `shutdown` is done, while this server has the role Inventory. Servers share the providers among them: an advisory
/// lock in Postgres makes sure that only one of them watches each.
pub async fn watch_all(ctx: Inventory, shutdown: impl Future<Output = ()> + Send) {
    tokio::select! {
        () = shutdown => {}
        () = supervise(ctx) => {}
    }
}

async fn supervise(ctx: Inventory) {
    loop {
        // The locks end with this connection, and the watches with the locks.
        if let Err(error) = supervise_while_connected(&ctx).await {
            tracing::warn!(error = format!("{error:#}"), "watching stopped for want of the database; it goes on when that is back");
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// A running watch; dropping it stops it.
struct Watch {
    updated_at: DateTime<Utc>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn supervise_while_connected(ctx: &Inventory) -> anyhow::Result<()> {
    let mut conn = ctx.pool.connect_options().connect().await?;
    let mut watches = HashMap::<ProviderId, Watch>::new();
    loop {
        let wanted = if has_role(&mut conn, ctx).await? { providers(&mut conn).await? } else { HashMap::new() };
        let gone: Vec<ProviderId> = watches.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in gone {
            watches.remove(&id);
            sqlx::query!("SELECT pg_advisory_unlock($1, $2)", WATCH_LOCK, save::lock_key(id)).fetch_one(&mut conn).await?;
        }
        for (id, updated_at) in wanted {
            let running = watches.get(&id);
            if running.is_some_and(|watch| watch.updated_at == updated_at && !watch.task.is_finished()) {
                continue;
            }
            if running.is_some() || lock(&mut conn, id).await? {
                let task = tokio::spawn(keep_watching(ctx.clone(), id)).abort_handle();
                watches.insert(id, Watch { updated_at, task });
            }
        }
        sleep(LOOK_EVERY).await;
        conn.ping().await?;
    }
}

async fn has_role(conn: &mut PgConnection, ctx: &Inventory) -> anyhow::Result<bool> {
    let role = queue::role::Role::Inventory;
    Ok(queue::role::list(conn, ctx.server).await?.into_iter().any(|(each, on)| each == role && on))
}

async fn providers(conn: &mut PgConnection) -> anyhow::Result<HashMap<ProviderId, DateTime<Utc>>> {
    let rows = sqlx::query!("SELECT id, updated_at FROM providers WHERE removing_at IS NULL AND paused_at IS NULL").fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (ProviderId(row.id), row.updated_at)).collect())
}

async fn lock(conn: &mut PgConnection, id: ProviderId) -> anyhow::Result<bool> {
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1, $2) AS "locked!""#, WATCH_LOCK, save::lock_key(id)).fetch_one(conn).await?;
    Ok(locked)
}

/// Watches one provider for ever; what goes wrong is told in its status, with growing pauses.
async fn keep_watching(ctx: Inventory, id: ProviderId) {
    let mut backoff = Duration::from_secs(1);
    loop {
        let watched = AssertUnwindSafe(watch_once(&ctx, id)).catch_unwind().await;
        let (trouble, watched) = watched.unwrap_or_else(|_| (Trouble::Internal(anyhow::anyhow!("the watch panicked")), Duration::ZERO));
        if watched > BACKOFF_MAX {
            backoff = Duration::from_secs(1);
        }
        let harms = matches!(&trouble, Trouble::Provider(error) if error.reason == Reason::TooLarge);
        if let Err(error) = note(&ctx, id, trouble).await {
            tracing::warn!(provider = %id, error = format!("{error:#}"), "a provider's status could not be written");
        }
        if harms {
            backoff = backoff.max(BACKOFF_MAX);
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(if harms { BACKOFF_OF_HARM_MAX } else { BACKOFF_MAX });
    }
}

/// What ended the watch, and how long it lasted once everything was read.
async fn watch_once(ctx: &Inventory, id: ProviderId) -> (Trouble, Duration) {
    match prepare(ctx, id).await {
        Err(trouble) => (trouble, Duration::ZERO),
        Ok((reader, from)) => {
            let started = Instant::now();
            (watch::watch(&reader, &from).await, started.elapsed())
        }
    }
}

/// A client, and positions to start from; reads everything first when there are none.
async fn prepare(ctx: &Inventory, id: ProviderId) -> Result<(Reader<'_>, serde_json::Map<String, serde_json::Value>), Trouble> {
    let complete =
        |known: &serde_json::Map<_, _>| [shape::Namespace::PLURAL, shape::Node::PLURAL, shape::Pod::PLURAL].iter().all(|kind| known.contains_key(*kind));
    let mut conn = ctx.pool.acquire().await?;
    let Some((kind, connection)) = provider::find(&mut conn, &ctx.sealer, id).await? else {
        return Err(Trouble::Internal(anyhow::anyhow!("the provider is gone")));
    };
    let mut from = positions::find(&mut conn, id).await?;
    drop(conn);
    if !complete(&from) {
        wait_for_job(ctx, id).await?;
        refresh::refresh_if_needed(ctx, id).await?;
        let mut conn = ctx.pool.acquire().await?;
        from = positions::find(&mut conn, id).await?;
    }
    let client = validate::connect(&connection).await.map_err(Trouble::Provider)?;
    let versions = versions::read(&client, &connection.server, kind).await.map_err(Trouble::Provider)?;
    let mut conn = ctx.pool.acquire().await?;
    status::version(&mut conn, id, &versions).await?;
    Ok((Reader { ctx, provider: id, client, server: connection.server }, from))
}

/// A provider that was never refreshed has a job waiting; letting it go first saves reading everything twice.
async fn wait_for_job(ctx: &Inventory, id: ProviderId) -> Result<(), Trouble> {
    let end = Instant::now() + JOB_FIRST;
    while Instant::now() < end {
        let untouched =
            sqlx::query_scalar!(r#"SELECT refresh_started_at IS NULL AS "untouched!" FROM providers WHERE id = $1"#, id.0).fetch_optional(&ctx.pool).await?;
        if untouched != Some(true) {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn note(ctx: &Inventory, id: ProviderId, trouble: Trouble) -> anyhow::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    match trouble {
        Trouble::Provider(error) => status::failed(&mut conn, &ctx.clock, id, &error).await?,
        Trouble::Expired => positions::clear(&mut conn, id).await?,
        Trouble::Cancelled | Trouble::Gone | Trouble::Paused => {}
        Trouble::Internal(error) => {
            tracing::warn!(provider = %id, error = format!("{error:#}"), "a watch stopped; it starts again");
            status::internal(&mut conn, &ctx.clock, id).await?;
        }
    }
    Ok(())
}
