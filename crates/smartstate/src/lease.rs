//! Who drives a scan: a lease of 15 seconds, and a fence number that every write names.

use crate::SmartState;
use anyhow::Context;
use chrono::Duration;
use model::ids::{ImageId, ProviderId, ScanId, TaskId};
use sqlx::PgConnection;
use std::fmt;
use tokio::sync::watch;

/// A lease lapses this long after it was renewed last.
pub(crate) const LEASE_SECS: i64 = 15;
const RENEW_EVERY_TICKS: u32 = 4;
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

/// Where a scan stands; spelled as in `scans.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(crate) enum State {
    Waiting,
    CreatingPod,
    StartingPod,
    Pulling,
    Evaluating,
    Fetching,
    Cleaning,
    Finished,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::CreatingPod => "creating_pod",
            Self::StartingPod => "starting_pod",
            Self::Pulling => "pulling",
            Self::Evaluating => "evaluating",
            Self::Fetching => "fetching",
            Self::Cleaning => "cleaning",
            Self::Finished => "finished",
        }
    }

    /// What is done in it, for a sentence about servers.
    pub(crate) fn doing(self) -> &'static str {
        match self {
            Self::Waiting => "it waited",
            Self::CreatingPod => "they made its pod",
            Self::StartingPod => "its pod started",
            Self::Pulling => "its image was pulled",
            Self::Evaluating => "it was evaluated",
            Self::Fetching => "they fetched its results",
            Self::Cleaning | Self::Finished => "they removed its pod",
        }
    }
}

/// An open scan as whoever drives it sees it.
#[derive(Clone)]
pub(crate) struct Scan {
    pub id: ScanId,
    pub digest: String,
    pub image: Option<ImageId>,
    pub provider: ProviderId,
    pub task: Option<TaskId>,
    pub reference: String,
    /// By which names the image could not be pulled.
    pub tried: Vec<String>,
    pub state: State,
    pub fence: i64,
    pub attempt: i16,
    pub namespace: String,
    pub pod_name: String,
    pub pod_uid: String,
    pub token: Option<Vec<u8>>,
    pub warnings: Vec<String>,
    pub state_deadline_at: Option<chrono::DateTime<chrono::Utc>>,
    /// How many servers began to read what its pod sent in this state, and did not come to the end of it.
    pub reads_begun: i16,
}

// Logs must never show a token, not even a sealed one.
impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("fence", &self.fence)
            .field("pod", &self.pod_name)
            .finish_non_exhaustive()
    }
}

/// Takes the scan for `ctx.owner`, if it is past waiting, not finished, and nobody's lease on it is alive.
///
/// # Errors
/// The database.
pub(crate) async fn take(conn: &mut PgConnection, ctx: &SmartState, scan: ScanId) -> anyhow::Result<Option<Scan>> {
    let now = ctx.clock.now();
    let taken = sqlx::query_as!(
        Scan,
        r#"UPDATE scans
           SET lease_owner = $2, lease_until = $3, fence = fence + 1
           WHERE id = $1
             AND state NOT IN ('waiting', 'finished')
             AND (lease_until IS NULL OR lease_until < $4)
           RETURNING id AS "id: ScanId", digest, image_id AS "image: ImageId", provider_id AS "provider!: ProviderId", task_id AS "task: TaskId",
                     reference, tried_references AS tried, state AS "state: State", fence, attempt, namespace, pod_name, pod_uid, token, warnings,
                     state_deadline_at, reads_begun"#,
        scan.0,
        &*ctx.owner,
        now + Duration::seconds(LEASE_SECS),
        now
    )
    .fetch_optional(conn)
    .await
    .with_context(|| format!("taking scan {scan}"))?;
    Ok(taken)
}

/// Scans past waiting that nobody drives, each with how many servers began to read what its pod sent and did not come to the end of it.
///
/// # Errors
/// The database.
pub(crate) async fn lapsed(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<Vec<(ScanId, i16)>> {
    let scans = sqlx::query!(
        r#"SELECT id AS "id: ScanId", reads_begun
           FROM scans
           WHERE state NOT IN ('waiting', 'finished')
             AND (lease_until IS NULL OR lease_until < $1)
           ORDER BY id"#,
        ctx.clock.now()
    )
    .fetch_all(conn)
    .await?;
    Ok(scans.into_iter().map(|scan| (scan.id, scan.reads_begun)).collect())
}

/// Gives back all leases of this process, so that another server need not wait for them to lapse. It was not these scans that stopped it.
///
/// # Errors
/// The database.
pub(crate) async fn give_back(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE scans
         SET lease_owner = NULL, lease_until = NULL, reads_begun = GREATEST(reads_begun - 1, 0)
         WHERE lease_owner = $1
           AND state <> 'finished'",
        &*ctx.owner
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A server is about to read what the pod sent. Gives how many have begun that in this state without coming to the end of it, this one included; `None`:
/// another server has the scan.
///
/// # Errors
/// The database.
pub(crate) async fn begin_reading(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<Option<i16>> {
    let begun = sqlx::query_scalar!(
        "UPDATE scans SET reads_begun = LEAST(reads_begun, 1000) + 1 WHERE id = $1 AND fence = $2 RETURNING reads_begun",
        scan.id.0,
        scan.fence
    );
    Ok(begun.fetch_optional(conn).await?)
}

/// What the pod sent was read to its end.
///
/// # Errors
/// The database.
pub(crate) async fn end_reading(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<()> {
    sqlx::query!("UPDATE scans SET reads_begun = 0 WHERE id = $1 AND fence = $2", scan.id.0, scan.fence).execute(conn).await?;
    Ok(())
}

/// A driver leaves the scan where it is, since the database did not answer: it was not the scan that stopped it.
///
/// # Errors
/// The database.
pub(crate) async fn leave(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<()> {
    sqlx::query!("UPDATE scans SET reads_begun = GREATEST(reads_begun - 1, 0) WHERE id = $1 AND fence = $2", scan.id.0, scan.fence).execute(conn).await?;
    Ok(())
}

/// Frees the leases of a process of the same server that ran before this one: it was killed, and its scans need not wait for them to lapse.
///
/// Should it be alive after all (two servers with one name), the fence keeps it from writing.
///
/// # Errors
/// The database.
pub(crate) async fn free_predecessors(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<()> {
    sqlx::query!(
        "UPDATE scans
         SET lease_owner = NULL, lease_until = NULL
         WHERE state <> 'finished'
           AND STARTS_WITH(lease_owner, $1)
           AND lease_owner <> $2",
        format!("{}/", ctx.server_name),
        &*ctx.owner
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What whoever drives a scan must know meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    GoOn,
    /// A person cancelled the task.
    Cancelled,
    /// Its provider is being removed.
    ProviderGone,
    /// The lease is another's now, or the scan is gone.
    Lost,
}

/// Renews the lease and watches for cancellation, until it is dropped.
pub(crate) struct Guard {
    signal: watch::Receiver<Signal>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Guard {
    pub(crate) fn keep(ctx: &SmartState, scan: &Scan) -> Self {
        let (sender, signal) = watch::channel(Signal::GoOn);
        let keeper = tokio::spawn(keep(ctx.clone(), scan.id, scan.fence, sender));
        Self { signal, keeper }
    }

    /// Ends when the lease is lost.
    pub(crate) async fn lost(&self) {
        self.until(|signal| signal == Signal::Lost).await;
    }

    /// Ends when a person cancelled the task or removes the provider, or the lease is lost.
    pub(crate) async fn stopped(&self) -> Signal {
        self.until(|signal| signal != Signal::GoOn).await
    }

    async fn until(&self, wanted: impl Fn(Signal) -> bool) -> Signal {
        let mut signal = self.signal.clone();
        match signal.wait_for(|signal| wanted(*signal)).await {
            Ok(signal) => *signal,
            // The keeper ended without a word: nobody renews the lease any more.
            Err(_) => Signal::Lost,
        }
    }
}

async fn keep(ctx: SmartState, scan: ScanId, fence: i64, sender: watch::Sender<Signal>) {
    for tick in 1u32.. {
        tokio::time::sleep(TICK).await;
        match look(&ctx, scan, fence, tick.is_multiple_of(RENEW_EVERY_TICKS)).await {
            Ok(Signal::Lost) => {
                sender.send_replace(Signal::Lost);
                return;
            }
            Ok(Signal::GoOn) => {}
            Ok(signal) => {
                sender.send_replace(signal);
            }
            // Without the database nobody else can take the scan either; the fence tells later.
            Err(error) => tracing::warn!(scan = scan.0, "keeping the lease: {error:#}"),
        }
    }
}

async fn look(ctx: &SmartState, scan: ScanId, fence: i64, renew: bool) -> anyhow::Result<Signal> {
    let mut conn = ctx.leases.acquire().await?;
    if renew {
        let until = ctx.clock.now() + Duration::seconds(LEASE_SECS);
        let renewed = sqlx::query!("UPDATE scans SET lease_until = $3 WHERE id = $1 AND fence = $2 AND state <> 'finished'", scan.0, fence, until)
            .execute(&mut *conn)
            .await?;
        if renewed.rows_affected() == 0 {
            return Ok(Signal::Lost);
        }
    }
    let asked = sqlx::query!(
        r#"SELECT removing_at IS NOT NULL AS "removing!", cancel_requested_at IS NOT NULL AS "cancelled!"
           FROM scans
           LEFT JOIN providers ON providers.id = scans.provider_id
           LEFT JOIN tasks ON tasks.id = task_id
           WHERE scans.id = $1"#,
        scan.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(match asked {
        None => Signal::Lost,
        // First, for it also cancels the tasks.
        Some(asked) if asked.removing => Signal::ProviderGone,
        Some(asked) if asked.cancelled => Signal::Cancelled,
        Some(_) => Signal::GoOn,
    })
}

#[cfg(test)]
pub(crate) mod tests;
