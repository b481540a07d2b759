//! Which crate does which job.

use crate::roles::Roles;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use inventory::Inventory;
use model::Clock;
use model::ids::{ProviderId, TaskId};
use queue::role::Role;
use queue::task::{self, TaskStatus};
use queue::{Handler, Job, JobError, Queue};
use smartstate::SmartState;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::watch;

/// Gives each job to the crate that knows it.
pub struct Jobs {
    pub pool: PgPool,
    /// For the queue itself: its heartbeats must not wait for the jobs' connections.
    pub upkeep: PgPool,
    pub clock: Clock,
    pub inventory: Inventory,
    pub smartstate: SmartState,
}

impl Handler for Jobs {
    fn run(&self, job: Job, queued_at: DateTime<Utc>) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            match job {
                Job::RefreshProvider { provider, task } => inventory::refresh(&self.inventory, provider, task).await,
                Job::RemoveProvider { provider } => self.remove_provider(provider).await.map_err(JobError::retry),
                Job::AnalyzeImage { scan } => smartstate::run(&self.smartstate, scan).await,
                Job::RaiseEvent(event) => {
                    let mut conn = self.pool.acquire().await.map_err(JobError::retry)?;
                    control::handle(&mut conn, &self.clock, &event, queued_at).await
                }
            }
        }
        .boxed()
    }

    fn gave_up(&self, job: Job, error: String) -> BoxFuture<'_, ()> {
        async move {
            tracing::error!(?job, error, "a job failed for good");
            if let Job::RefreshProvider { task: Some(task), .. } = job
                && let Err(error) = self.end_task(task, &error).await
            {
                tracing::error!(%task, error = format!("{error:#}"), "the task of a failed job could not be ended");
            }
        }
        .boxed()
    }
}

impl Jobs {
    /// Ends the scans of a provider, then deletes it: inventory, which has its rows, knows nothing of scans.
    async fn remove_provider(&self, provider: ProviderId) -> anyhow::Result<()> {
        let asked_at = inventory::removal::asked_at(&mut *self.pool.acquire().await?, provider).await?;
        let Some(asked_at) = asked_at else { return Ok(()) };
        smartstate::end_scans(&self.smartstate, provider, asked_at).await?;
        inventory::removal::finish(&self.pool, provider).await
    }

    /// A job that ended its task itself finds it finished: nothing changes then.
    async fn end_task(&self, task: TaskId, error: &str) -> anyhow::Result<()> {
        let mut tx = self.pool.begin().await?;
        task::finish(&mut tx, &self.clock, task, TaskStatus::Error, error, "failed", "See the server's log for details, then refresh again.").await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Refreshes at the same time. What they read shares its memory, so a provider that keeps its place long need not keep the others waiting for one.
const REFRESHES: usize = 16;

/// Works on all queues whose roles this server has, as they come and go, until `stop`.
pub async fn work(jobs: Jobs, server: String, roles: Roles, stop: watch::Receiver<bool>) {
    let pool = jobs.upkeep.clone();
    let handler: Arc<dyn Handler> = Arc::new(jobs);
    let run = |queue, needed, concurrency| while_on(pool.clone(), queue, server.clone(), handler.clone(), concurrency, roles.clone(), needed, stop.clone());
    tokio::join!(
        run(Queue::Inventory, &[Role::Inventory], REFRESHES),
        run(Queue::SmartState, &[Role::SmartState, Role::SmartProxy], 4),
        run(Queue::Control, &[], 4),
    );
}

#[expect(clippy::too_many_arguments, reason = "called in one place, by a closure that names each")]
async fn while_on(
    pool: PgPool,
    queue: Queue,
    server: String,
    handler: Arc<dyn Handler>,
    concurrency: usize,
    roles: Roles,
    needed: &'static [Role],
    stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = roles.wait(needed, true) => {}
            () = stopped(stop.clone()) => return,
        }
        let (roles, stop_now) = (roles.clone(), stop.clone());
        let shutdown = async move {
            tokio::select! {
                () = roles.wait(needed, false) => {}
                () = stopped(stop_now) => {}
            }
        };
        queue::work(pool.clone(), queue, server.clone(), handler.clone(), concurrency, shutdown).await;
        if *stop.borrow() {
            return;
        }
    }
}

/// Ends when the server shall stop.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the server's end, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Sealer;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_provider_is_deleted_when_its_removal_was_asked_for_and_the_job_can_come_twice(pool: PgPool) {
        queue::setup(&pool).await.unwrap();
        let mut conn = pool.acquire().await.unwrap();
        let (clock, sealer) = (Clock::default(), Sealer::new(&[1; 32]));
        let server = queue::server::register(&mut conn, &clock, "s", "0").await.unwrap();
        let provider: ProviderId = sqlx::query_scalar(
            "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('lab', 'kubernetes', '', '', NOW(), NOW()) RETURNING id",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        let inventory = Inventory { pool: pool.clone(), clock: clock.clone(), sealer: sealer.clone(), settings: Default::default(), server };
        let smartstate = SmartState::new(pool.clone(), clock.clone(), sealer, Default::default(), Default::default(), server, "s".into());
        let jobs = Jobs { pool: pool.clone(), upkeep: pool.clone(), clock, inventory, smartstate };
        let run = async || jobs.run(Job::RemoveProvider { provider }, Utc::now()).await.unwrap();
        let left = async || sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM providers").fetch_one(&pool).await.unwrap();
        run().await;
        assert_eq!(left().await, 1, "nobody asked");
        inventory::removal::request(&mut conn, &jobs.clock, provider).await.unwrap();
        run().await;
        run().await;
        assert_eq!(left().await, 0);
    }
}
