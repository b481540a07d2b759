//! Runs jobs.

use crate::job::{Envelope, Job, JobError, Queue, enqueue_again};
use anyhow::Context;
use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often a worker shows that it lives; seven missed beats and others take its jobs.
const HEARTBEAT: Duration = Duration::from_secs(2);
const MISSED_HEARTBEATS: usize = 7;
/// Finds what a notification missed.
const POLL: Duration = Duration::from_secs(2);
/// How long running jobs may take to end once the server stops; the others go back into the queue.
const DRAIN: Duration = Duration::from_secs(5);
const RETRIES_MAX: u32 = 10;
const RETRY_DELAY_MAX_SECS: u64 = 300;
/// Jobs that are done are kept this long, to look at.
const KEEP_DONE: &str = "1 hour";

/// Runs jobs; the server wires each kind to the crate that knows it.
pub trait Handler: Send + Sync + 'static {
    /// Does `job`, which was put into the queue at `queued_at`. It may have run before, wholly or in part.
    fn run(&self, job: Job, queued_at: DateTime<Utc>) -> BoxFuture<'_, Result<(), JobError>>;

    /// Hears that `job` failed for good, so that a task that a person follows ends.
    fn gave_up(&self, job: Job, error: String) -> BoxFuture<'_, ()> {
        async move { tracing::error!(?job, error, "a job failed for good") }.boxed()
    }
}

/// Works on `queue` until `shutdown` is done, `concurrency` jobs at a time. Starts anew after whatever stops it (Postgres restarting, for one).
///
/// `name`: this server's; a part that differs for every start is added. Returns at most five seconds after `shutdown`; jobs that still ran then are dropped and lie in the queue again.
pub async fn work(
    pool: PgPool,
    queue: Queue,
    name: String,
    handler: Arc<dyn Handler>,
    concurrency: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let shutdown = shutdown.shared();
    let tidying = tidy(pool.clone());
    tokio::pin!(tidying);
    loop {
        let worker = format!("{name}-{}-{}", queue.as_str(), uuid::Uuid::now_v7());
        let run = run_worker(&pool, queue, &worker, handler.clone(), concurrency, shutdown.clone());
        let limit = async {
            shutdown.clone().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            ended = run => if let Err(error) = ended { tracing::warn!(worker, %error, "a worker stopped; it starts again") },
            () = limit => {}
            () = &mut tidying => {}
        }
        if let Err(error) = release(&pool, &worker).await {
            tracing::warn!(worker, error = format!("{error:#}"), "jobs could not be given back; others take them once the heartbeat has lapsed");
        }
        tokio::select! {
            () = shutdown.clone() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// A boxed future of owned values: the compiler cannot see of apalis' own that it may move between threads once it is part of another.
fn run_worker(
    pool: &PgPool,
    queue: Queue,
    name: &str,
    handler: Arc<dyn Handler>,
    concurrency: usize,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    // One at a time, so that a worker never holds jobs that another could run.
    let config = Config::default().queue(queue.as_str()).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED_HEARTBEATS).batch_size(1);
    let backend = PostgresStorage::<Envelope>::new(pool).with_config(config).with_pubsub().poll_with_interval(POLL);
    let context = Delivery { pool: pool.clone(), handler };
    let service = move |envelope: Envelope| {
        let context = context.clone();
        async move { context.deliver(envelope).await }
    };
    let worker = WorkerBuilder::new(name.to_owned()).backend(backend).concurrency(concurrency).build(service);
    worker.run_until(shutdown.map(Ok::<(), WorkerError>)).boxed()
}

/// The queue itself could not be written; apalis runs the job again.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct NotWritten(anyhow::Error);

#[derive(Clone)]
struct Delivery {
    pool: PgPool,
    handler: Arc<dyn Handler>,
}

impl Delivery {
    /// Runs one job to its end, whatever that is. An error means that the queue itself could not be written.
    async fn deliver(&self, envelope: Envelope) -> Result<(), NotWritten> {
        let (handler, job, queued_at) = (self.handler.clone(), envelope.job.clone(), envelope.queued_at);
        // In a task of its own, so that a job that computes does not hold up the heartbeat; dropping the set ends the task.
        let mut running = JoinSet::new();
        running.spawn(async move { handler.run(job, queued_at).await });
        let ended = match running.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => Err(JobError::fail(anyhow::anyhow!("the job stopped unexpectedly: {panic}"))),
            None => Ok(()),
        };
        match ended {
            Ok(()) => {}
            Err(JobError::Fail(error)) => self.handler.gave_up(envelope.job, format!("{error:#}")).await,
            Err(JobError::Retry(error)) if envelope.retries >= RETRIES_MAX => self.handler.gave_up(envelope.job, format!("{error:#}")).await,
            Err(JobError::Retry(error)) => self.again(envelope, &error).await.map_err(NotWritten)?,
        }
        Ok(())
    }

    /// The new job is written before this one is acknowledged: a crash in between runs it twice rather than never.
    async fn again(&self, envelope: Envelope, error: &anyhow::Error) -> anyhow::Result<()> {
        let retries = envelope.retries + 1;
        let delay = retry_delay(retries);
        tracing::warn!(job = ?envelope.job, retries, delay_secs = delay.as_secs(), error = format!("{error:#}"), "a job failed and will run again");
        let mut conn = self.pool.acquire().await?;
        enqueue_again(&mut conn, Envelope { retries, ..envelope }, delay).await
    }
}

/// 2, 4, 8 … 300 seconds.
fn retry_delay(retries: u32) -> Duration {
    Duration::from_secs(2u64.saturating_pow(retries).min(RETRY_DELAY_MAX_SECS))
}

/// Gives the unfinished jobs of a worker that has stopped back at once.
async fn release(pool: &PgPool, worker: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE apalis.jobs
         SET status = 'Pending', lock_by = NULL, lock_at = NULL
         WHERE lock_by = $1
           AND status IN ('Queued', 'Running')",
        worker
    )
    .execute(pool)
    .await
    .context("giving jobs back")?;
    Ok(())
}

/// Removes old finished jobs and workers, now and every ten minutes; never ends.
async fn tidy(pool: PgPool) {
    loop {
        if let Err(error) = tidy_once(&pool).await {
            tracing::warn!(%error, "old jobs could not be removed");
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}

async fn tidy_once(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM apalis.jobs
         WHERE status IN ('Done', 'Killed')
           AND done_at < NOW() - $1::text::interval",
        KEEP_DONE
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM apalis.workers
         WHERE last_seen < NOW() - $1::text::interval
           AND NOT EXISTS (SELECT FROM apalis.jobs WHERE lock_by = workers.id)",
        KEEP_DONE
    )
    .execute(pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
