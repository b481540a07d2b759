//! Which crate does which job.

use crate::roles::Roles;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use inventory::Inventory;
use model::Clock;
use model::ids::TaskId;
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
    pub clock: Clock,
    pub inventory: Inventory,
    pub smartstate: SmartState,
}

impl Handler for Jobs {
    fn run(&self, job: Job, queued_at: DateTime<Utc>) -> BoxFuture<'_, Result<(), JobError>> {
        async move {
            match job {
                Job::RefreshProvider { provider, task } => inventory::refresh(&self.inventory, provider, task).await,
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
    /// A job that ended its task itself finds it finished: nothing changes then.
    async fn end_task(&self, task: TaskId, error: &str) -> anyhow::Result<()> {
        let mut tx = self.pool.begin().await?;
        task::finish(&mut tx, &self.clock, task, TaskStatus::Error, error, "failed", "See the server's log for details, then refresh again.").await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Works on all queues whose roles this server has, as they come and go, until `stop`.
pub async fn work(jobs: Jobs, server: String, roles: Roles, stop: watch::Receiver<bool>) {
    let pool = jobs.pool.clone();
    let handler: Arc<dyn Handler> = Arc::new(jobs);
    let run = |queue, needed, concurrency| while_on(pool.clone(), queue, server.clone(), handler.clone(), concurrency, roles.clone(), needed, stop.clone());
    tokio::join!(run(Queue::Inventory, &[Role::Inventory], 4), run(Queue::SmartState, &[Role::SmartState, Role::SmartProxy], 4), run(Queue::Control, &[], 4),);
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
