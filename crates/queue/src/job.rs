//! What can be asked for, and the asking.

use anyhow::Context;
use apalis::prelude::TaskBuilder;
use chrono::{DateTime, Utc};
use model::ids::{ProviderId, ScanId, TaskId};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use std::time::{Duration, SystemTime};

/// One piece of durable work. Jobs run at least once: whoever runs one must bear to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Read everything of a provider again; `task` is the one that a person follows, if one asked.
    RefreshProvider { provider: ProviderId, task: Option<TaskId> },
    /// End what is open on a provider and delete it.
    RemoveProvider { provider: ProviderId },
    /// Bring a scan from its present state to its end.
    AnalyzeImage { scan: ScanId },
    /// Let Control see an event.
    RaiseEvent(RaisedEvent),
}

/// Something that happened to something, for Control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaisedEvent {
    pub event: Event,
    /// The table's singular: `container_image`.
    pub target_kind: String,
    pub target: i64,
    pub provider: Option<ProviderId>,
    pub details: serde_json::Value,
}

/// What can happen, in ManageIQ's spelling.
///
/// Source: ManageIQ, `db/fixtures/miq_event_definitions.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    #[serde(rename = "containerimage_created")]
    ContainerImageCreated,
    #[serde(rename = "request_containerimage_scan")]
    RequestContainerImageScan,
    #[serde(rename = "containerimage_scan_complete")]
    ContainerImageScanComplete,
    #[serde(rename = "containerimage_scan_abort")]
    ContainerImageScanAbort,
    #[serde(rename = "containerimage_compliance_check")]
    ContainerImageComplianceCheck,
    #[serde(rename = "containerimage_compliance_passed")]
    ContainerImageCompliancePassed,
    #[serde(rename = "containerimage_compliance_failed")]
    ContainerImageComplianceFailed,
}

impl Event {
    /// The wire string, as in `policy_events.event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContainerImageCreated => "containerimage_created",
            Self::RequestContainerImageScan => "request_containerimage_scan",
            Self::ContainerImageScanComplete => "containerimage_scan_complete",
            Self::ContainerImageScanAbort => "containerimage_scan_abort",
            Self::ContainerImageComplianceCheck => "containerimage_compliance_check",
            Self::ContainerImageCompliancePassed => "containerimage_compliance_passed",
            Self::ContainerImageComplianceFailed => "containerimage_compliance_failed",
        }
    }
}

/// Jobs wait in one queue per server role, so that a server without the role leaves them to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    Inventory,
    SmartState,
    /// Events, and what needs no role: every server works on it.
    Control,
}

impl Queue {
    /// The name in `apalis.jobs.job_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::SmartState => "smartstate",
            Self::Control => "control",
        }
    }
}

impl Job {
    /// Where it waits.
    pub fn queue(&self) -> Queue {
        match self {
            Self::RefreshProvider { .. } => Queue::Inventory,
            Self::AnalyzeImage { .. } => Queue::SmartState,
            Self::RaiseEvent(_) => Queue::Control,
            // Whatever roles are off, what a person wants gone must not stay.
            Self::RemoveProvider { .. } => Queue::Control,
        }
    }
}

/// How a job failed, decided by whoever ran it: bare `?` does not cross this line.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may succeed later: run it again.
    #[error("{0:#}")]
    Retry(anyhow::Error),
    /// It never will.
    #[error("{0:#}")]
    Fail(anyhow::Error),
}

impl JobError {
    /// For `map_err`: run it again.
    pub fn retry(error: impl Into<anyhow::Error>) -> Self {
        Self::Retry(error.into())
    }

    /// For `map_err`: do not run it again.
    pub fn fail(error: impl Into<anyhow::Error>) -> Self {
        Self::Fail(error.into())
    }
}

/// A job as it lies in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub job: Job,
    pub queued_at: DateTime<Utc>,
    /// How often it has asked to be run again.
    #[serde(default)]
    pub retries: u32,
}

/// Before what was asked for in bulk goes what was asked for alone.
const ALONE: usize = 10;

/// Asks for one job, in the caller's transaction.
///
/// # Errors
/// The database; the caller's transaction is then spoilt.
pub async fn enqueue(conn: &mut PgConnection, job: &Job) -> anyhow::Result<()> {
    let envelope = Envelope { job: job.clone(), queued_at: Utc::now(), retries: 0 };
    push(conn, job.queue(), &[envelope], Duration::ZERO, ALONE).await
}

/// Asks for many jobs, in the caller's transaction: one statement per queue. A job that is asked for alone overtakes them.
///
/// # Errors
/// The database; the caller's transaction is then spoilt.
pub async fn enqueue_many(conn: &mut PgConnection, jobs: &[Job]) -> anyhow::Result<()> {
    let priority = if jobs.len() > 1 { 0 } else { ALONE };
    for queue in [Queue::Inventory, Queue::SmartState, Queue::Control] {
        let envelopes: Vec<_> =
            jobs.iter().filter(|job| job.queue() == queue).map(|job| Envelope { job: job.clone(), queued_at: Utc::now(), retries: 0 }).collect();
        push(conn, queue, &envelopes, Duration::ZERO, priority).await?;
    }
    Ok(())
}

/// Asks for `envelope` once more, in `delay`.
pub(crate) async fn enqueue_again(conn: &mut PgConnection, envelope: Envelope, delay: Duration) -> anyhow::Result<()> {
    push(conn, envelope.job.queue(), &[envelope], delay, ALONE).await
}

async fn push(conn: &mut PgConnection, queue: Queue, envelopes: &[Envelope], delay: Duration, priority: usize) -> anyhow::Result<()> {
    if envelopes.is_empty() {
        return Ok(());
    }
    let tasks = envelopes
        .iter()
        .map(|envelope| {
            let task = TaskBuilder::new(serde_json::to_vec(envelope)?).priority(priority);
            // Without a delay the time stays unset: a time in whole seconds that lies ahead of Postgres' clock would cost the notification.
            Ok(if delay.is_zero() { task.build() } else { task.run_at_time(SystemTime::now() + delay).build() })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    apalis_postgres::queries::push_tasks(conn, queue.as_str(), tasks).await.context("putting a job into its queue")
}

/// Makes or renews the tables of the queue; harmless when they are there.
///
/// # Errors
/// The database refuses, for example the right to create a schema and the extension hstore.
pub async fn setup(pool: &PgPool) -> anyhow::Result<()> {
    apalis_postgres::PostgresStorage::setup(pool).await.context("preparing the tables of the job queue (schema apalis)")
}
