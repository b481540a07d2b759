//! One scan from state to state; each is saved before the next begins, so that another server can go on from there.

mod end;
mod fetch;
mod start;
mod steps;

pub(crate) use fetch::ROOM_MIB;

use crate::lease::{self, Guard, Scan, Signal, State};
use crate::proxy::Proxy;
use crate::reason::Reason;
use crate::trouble::Halt;
use crate::{SmartState, deadline, launch, pull_secrets, reference};
use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use inventory::Kind;
use kube::Client;
use model::ids::ScanId;
use queue::task::{self, TaskState, Update};
use scap::protocol::{Failure, FailureCode};
use serde_json::json;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A pod that got lost is replaced so often that there are this many in all.
const PODS_AT_MOST: i16 = 2;
const REMOVED_WITHIN: Duration = Duration::from_secs(20);
/// A scan that was taken over more often than any row of restarts explains fails each time in a way of its own.
const TAKEN_AT_MOST: i64 = 30;
/// So many servers that stop while they read what one scan's pod sent are not chance.
const STOPPED_AT_MOST: i16 = 3;

/// Drives a taken scan in a task of its own, until it is finished, lost to another server, or this server stops. `alone` is held until it is past its present
/// state.
pub(crate) fn spawn(ctx: &SmartState, scan: Scan, alone: Option<OwnedSemaphorePermit>) {
    let ctx = ctx.clone();
    let id = scan.id;
    if !ctx.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
        return;
    }
    tokio::spawn(async move {
        let _driven = Driven(&ctx, id);
        tokio::select! {
            () = ctx.stop.cancelled() => {}
            () = drive(&ctx, scan, alone) => {}
        }
    });
}

/// Takes the scan off the list of driven ones, a panic included.
struct Driven<'a>(&'a SmartState, ScanId);

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
        self.0.wake.notify_one();
    }
}

async fn drive(ctx: &SmartState, scan: Scan, alone: Option<OwnedSemaphorePermit>) {
    let id = scan.id;
    let guard = Guard::keep(ctx, &scan);
    let mut run = Run { alone, ..Run::new(ctx, scan) };
    tokio::select! {
        () = guard.lost() => tracing::warn!(scan = id.0, "another server has taken the scan"),
        driven = run.drive(&guard) => if let Err(error) = driven {
            tracing::warn!(scan = id.0, "the scan stops here and is taken up again: {error:#}");
            run.leave().await;
        }
    }
}

/// A scan being driven.
pub(crate) struct Run<'a> {
    ctx: &'a SmartState,
    scan: Scan,
    client: Option<Client>,
    kind: Kind,
    /// When the present state was entered, by whichever server.
    entered_at: DateTime<Utc>,
    /// What the task says now, and since when.
    told: (String, Instant),
    alone: Option<OwnedSemaphorePermit>,
}

impl<'a> Run<'a> {
    fn new(ctx: &'a SmartState, mut scan: Scan) -> Self {
        let (entered_at, deadline) = deadline::taken_over(scan.state, scan.state_deadline_at, ctx.clock.now());
        scan.state_deadline_at = Some(deadline);
        Self { ctx, scan, client: None, kind: Kind::Kubernetes, entered_at, told: (String::new(), Instant::now()), alone: None }
    }

    async fn drive(&mut self, guard: &Guard) -> anyhow::Result<()> {
        if self.scan.state != State::Cleaning {
            self.say_taken_over().await?;
            let halt = tokio::select! {
                signal = guard.stopped() => match signal {
                    Signal::Cancelled => Some(Halt::Because(Reason::Cancelled)),
                    Signal::ProviderGone => Some(Halt::Because(Reason::ProviderGone)),
                    Signal::Lost | Signal::GoOn => return Err(anyhow!("the lease is lost")),
                },
                done = self.steps() => done.err(),
            };
            match halt {
                None => {}
                Some(Halt::Dropped(error)) => return Err(error),
                Some(Halt::Because(reason)) => self.fail(&reason).await?,
                Some(Halt::Lost(detail)) => self.fail(&Reason::PodLost(detail)).await?,
            }
        }
        // What stops servers when the pod is removed is left to the reaper.
        if self.scan.state != State::Cleaning || self.scan.reads_begun <= STOPPED_AT_MOST {
            self.clean().await;
        }
        self.finish().await
    }

    /// This process goes on; it is not the scan that stops it.
    async fn leave(&self) {
        let left = async { lease::leave(&mut *self.ctx.pool.acquire().await?, &self.scan).await };
        if let Err(error) = left.await {
            tracing::debug!(scan = self.scan.id.0, "leaving the scan: {error:#}");
        }
    }

    /// The task may still say that the scan waits for a server.
    async fn say_taken_over(&self) -> anyhow::Result<()> {
        let Some(task) = self.scan.task.filter(|_| self.scan.fence > 1) else { return Ok(()) };
        let update = Update {
            state: Some(TaskState::Active),
            message: Some(format!("Taken up again by the server {}", self.ctx.server_name)),
            reason_code: Some(String::new()),
            advice: Some(String::new()),
            server: Some(self.ctx.server_name.to_string()),
            ..Update::default()
        };
        task::set(&mut *self.ctx.pool.acquire().await?, &self.ctx.clock, task, update).await?;
        Ok(())
    }

    /// To be called before what the pod sent is read: a scan whose servers stop again and again while they do is not tried for ever.
    async fn begin_reading(&mut self) -> Result<(), Halt> {
        let begun = lease::begin_reading(&mut *self.ctx.pool.acquire().await?, &self.scan).await?;
        self.scan.reads_begun = begun.context("another server has taken the scan")?;
        self.refuse_if_it_stops_servers()
    }

    async fn end_reading(&mut self) -> Result<(), Halt> {
        lease::end_reading(&mut *self.ctx.pool.acquire().await?, &self.scan).await?;
        self.scan.reads_begun = 0;
        Ok(())
    }

    fn refuse_if_it_stops_servers(&self) -> Result<(), Halt> {
        match self.scan.reads_begun {
            ..=STOPPED_AT_MOST => Ok(()),
            _ => Err(Reason::ServersStopped { servers: STOPPED_AT_MOST, doing: self.scan.state.doing() }.into()),
        }
    }

    /// From the present state until everything is saved.
    async fn steps(&mut self) -> Result<(), Halt> {
        self.refuse_if_it_stops_servers()?;
        self.connect().await?;
        if self.scan.fence > TAKEN_AT_MOST {
            return Err(Reason::Internal(format!("the scan stopped {TAKEN_AT_MOST} times without a word")).into());
        }
        loop {
            let step = match self.scan.state {
                State::CreatingPod => self.create_pod().await,
                State::StartingPod => self.start_pod().await,
                State::Pulling => self.pull().await,
                State::Evaluating => self.evaluate().await,
                State::Fetching => self.fetch().await,
                State::Waiting | State::Cleaning | State::Finished => return Ok(()),
            };
            match step {
                Ok(()) => {}
                Err(Halt::Lost(detail)) if self.pods_of_this_name() < PODS_AT_MOST => self.begin_again(&detail).await?,
                Err(Halt::Because(Reason::Inspector(failure))) if of_registry(failure.code) => self.try_elsewhere(failure).await?,
                Err(halt) => return Err(halt),
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Halt> {
        let mut conn = self.ctx.pool.acquire().await?;
        let found = inventory::provider::find(&mut conn, &self.ctx.sealer, self.scan.provider).await;
        drop(conn);
        let (kind, connection) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Err(Reason::ProviderGone.into()),
            Err(error) if error.downcast_ref::<sqlx::Error>().is_some() => return Err(Halt::Dropped(error)),
            Err(error) => return Err(Reason::ClusterLogin(format!("{error:#}")).into()),
        };
        let client = inventory::client(&connection).await.map_err(|error| Reason::ClusterLogin(format!("{error:#}")))?;
        (self.client, self.kind) = (Some(client), kind);
        Ok(())
    }

    fn client(&self) -> Result<&Client, Halt> {
        self.client.as_ref().ok_or_else(|| Halt::Dropped(anyhow!("there is no connection to the cluster")))
    }

    fn proxy(&self) -> Result<Proxy, Halt> {
        let token = self.token()?;
        Ok(Proxy::new(self.client()?.clone(), &self.scan.namespace, &self.scan.pod_name, &token))
    }

    fn token(&self) -> Result<Vec<u8>, Halt> {
        let sealed = self.scan.token.as_ref().ok_or_else(|| Reason::Internal("the scan has no token".into()))?;
        let opened = self.ctx.sealer.open(sealed, &token_context(self.scan.id));
        opened.map_err(|error| Reason::Internal(format!("{error:#}")).into())
    }

    /// The end of the present state's time.
    fn until(&self) -> Instant {
        let left = self.scan.state_deadline_at.map_or(0, |at| (at - self.ctx.clock.now()).num_milliseconds());
        Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// How long the scan is in its present state.
    fn in_state_for(&self) -> chrono::Duration {
        (self.ctx.clock.now() - self.entered_at).max(chrono::Duration::zero())
    }

    fn late(&self, doing: &'static str, detail: String) -> Reason {
        Reason::Timeout { doing, secs: self.in_state_for().num_seconds(), detail }
    }

    /// Saves the next state and until when it may last, and how long the last one took as `took`; says it on the task.
    async fn advance(&mut self, state: State, took: Option<&str>, message: &str, progress: i16) -> Result<(), Halt> {
        let now = self.ctx.clock.now();
        let deadline = deadline::of(state, now);
        let timings = took.map_or_else(|| json!({}), |step| json!({ step: self.in_state_for().num_milliseconds() }));
        let mut tx = self.ctx.pool.begin().await?;
        let saved = sqlx::query!(
            "UPDATE scans
             SET state = $3, state_deadline_at = $4, timings = timings || $5, pod_name = $6, pod_uid = $7, attempt = $8, warnings = $9,
                 reference = $10, tried_references = $11, reads_begun = 0
             WHERE id = $1
               AND fence = $2
               AND state <> 'finished'",
            self.scan.id.0,
            self.scan.fence,
            state.as_str(),
            deadline,
            timings,
            self.scan.pod_name,
            self.scan.pod_uid,
            self.scan.attempt,
            &self.scan.warnings,
            self.scan.reference,
            &self.scan.tried
        )
        .execute(&mut *tx)
        .await?;
        fenced(saved.rows_affected())?;
        if let Some(task) = self.scan.task {
            let update = Update {
                state: Some(TaskState::Active),
                message: Some(message.into()),
                reason_code: Some(String::new()),
                advice: Some(String::new()),
                progress: Some(progress),
                server: Some(self.ctx.server_name.to_string()),
                ..Update::default()
            };
            task::set(&mut tx, &self.ctx.clock, task, update).await?;
        }
        tx.commit().await?;
        self.scan.state = state;
        self.scan.reads_begun = 0;
        self.alone = None;
        self.scan.state_deadline_at = Some(deadline);
        self.entered_at = now;
        self.told = (message.into(), Instant::now());
        Ok(())
    }

    /// Says something new on the task; not more often than every two seconds, since each is a line of its timeline.
    async fn tell(&mut self, message: &str, progress: i16) -> Result<(), Halt> {
        if self.told.0 == message || self.told.1.elapsed() < Duration::from_secs(2) {
            return Ok(());
        }
        self.told = (message.into(), Instant::now());
        let Some(task) = self.scan.task else { return Ok(()) };
        let update = Update { message: Some(message.into()), progress: Some(progress), ..Update::default() };
        task::set(&mut *self.ctx.pool.acquire().await?, &self.ctx.clock, task, update).await?;
        Ok(())
    }

    async fn begin_again(&mut self, detail: &str) -> Result<(), Halt> {
        tracing::warn!(scan = self.scan.id.0, "the pod got lost ({detail}); making another");
        self.scan.warnings.push(format!("The first scan pod got lost: {}.", detail.replace('\0', "")));
        self.anew("The scan pod got lost; making another").await
    }

    /// The registry does not give the image by this name. Its content may be known by others at this provider, which another pod tries.
    async fn try_elsewhere(&mut self, failure: Failure) -> Result<(), Halt> {
        let next = reference::next(&mut *self.ctx.pool.acquire().await?, &self.scan).await?;
        let Some(next) = next else { return Err(self.refused_by_registry(failure).into()) };
        // What cannot be removed now is the reaper's.
        drop(launch::remove(self.client()?, &self.scan, Instant::now() + REMOVED_WITHIN).await);
        let message = format!("Trying {next}");
        let before = std::mem::replace(&mut self.scan.reference, next);
        self.scan.warnings.push(format!("{before} could not be pulled: {}", failure.message.replace('\0', "")));
        self.scan.tried.push(before);
        self.anew(&message).await
    }

    /// A login is missing that a pull secret may hold.
    fn refused_by_registry(&self, failure: Failure) -> Reason {
        match pull_secrets::forbidden_in(&self.scan.warnings) {
            Some(namespaces) if failure.code == FailureCode::AccessDenied => Reason::PullSecretsForbidden { namespaces, detail: failure.message },
            _ => Reason::Inspector(failure),
        }
    }

    /// Begins with another pod.
    async fn anew(&mut self, message: &str) -> Result<(), Halt> {
        self.scan.attempt += 1;
        self.scan.pod_uid = String::new();
        self.scan.pod_name = String::new();
        self.advance(State::CreatingPod, None, message, 5).await
    }

    /// Each name that is tried has a pod of its own, besides those that replace lost ones.
    fn pods_of_this_name(&self) -> i16 {
        self.scan.attempt.saturating_sub(i16::try_from(self.scan.tried.len()).unwrap_or(i16::MAX))
    }
}

/// Whether another registry, or another name at this one, may do.
fn of_registry(code: FailureCode) -> bool {
    use FailureCode::{AccessDenied, ImageNotFound, RateLimited, RegistryTls, RegistryUnreachable};
    matches!(code, AccessDenied | ImageNotFound | RateLimited | RegistryTls | RegistryUnreachable)
}

fn token_context(scan: ScanId) -> String {
    format!("scan:{scan}")
}

fn fenced(rows: u64) -> anyhow::Result<()> {
    (rows == 1).then_some(()).context("another server has taken the scan")
}
