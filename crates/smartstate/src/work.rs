//! The loop that every server runs: cancels, admits, takes over, and says why nothing happens.

use crate::{SmartState, admission, closing, lease, reaper, request, scan};
use model::ids::ScanId;
use queue::job::JobError;
use queue::role::{self, Role};
use sqlx::PgConnection;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const PASS_EVERY: Duration = Duration::from_secs(1);
const REAP_EVERY: Duration = Duration::from_secs(30);
/// How many scans one process drives at most, over all providers.
const DRIVEN_AT_MOST: usize = 32;
/// So many servers began to read what a scan's pod sent, and none came to its end: the next one drives no other such scan.
const SUSPECTED_FROM: i16 = 2;

/// The job `AnalyzeImage`: starts what may start now and returns; the scan's own row carries it from there.
///
/// # Errors
/// Retry: the database does not answer.
pub async fn run(ctx: &SmartState, scan: ScanId) -> Result<(), JobError> {
    tracing::debug!(scan = scan.0, "asked to analyse");
    pass(ctx).await.map_err(JobError::Retry)
}

/// Drives scans while this server has the roles SmartState Analysis and SmartProxy, and says so where no server has; ends with `shutdown`.
///
/// Scans that are under way then are given back: another server, or the next start, goes on with them.
pub async fn work(ctx: SmartState, shutdown: impl Future<Output = ()>) {
    let passes = async {
        if let Err(error) = async { lease::free_predecessors(&mut *ctx.leases.acquire().await?, &ctx).await }.await {
            tracing::warn!("taking over this server's own scans: {error:#}; they wait until their leases lapse");
        }
        loop {
            if let Err(error) = pass(&ctx).await {
                tracing::warn!("looking after scans: {error:#}");
            }
            tokio::select! {
                () = tokio::time::sleep(PASS_EVERY) => {}
                () = ctx.wake.notified() => {}
            }
        }
    };
    let reaps = async {
        loop {
            if let Err(error) = closing::end_tasks_without_scan(&ctx).await {
                tracing::warn!("ending tasks whose scan is gone: {error:#}");
            }
            if let Err(error) = reap_if_mine(&ctx).await {
                tracing::warn!("removing left-over pods: {error:#}");
            }
            tokio::time::sleep(REAP_EVERY).await;
        }
    };
    tokio::select! {
        () = passes => {}
        () = reaps => {}
        () = shutdown => {}
    }
    ctx.stop.cancel();
    let given_back = async { lease::give_back(&mut *ctx.leases.acquire().await?, &ctx).await };
    if let Err(error) = given_back.await {
        tracing::warn!("giving scans back: {error:#}; they are taken over when their leases lapse");
    }
}

async fn pass(ctx: &SmartState) -> anyhow::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    closing::cancel_waiting(&mut conn, ctx).await?;
    if !has_roles(&mut conn, ctx).await? {
        if let Some(reason) = request::missing_role(&mut conn, &ctx.clock).await? {
            closing::cancel_undriven(&mut conn, ctx).await?;
            admission::tell_missing_role(&mut conn, ctx, &reason).await?;
        }
        return Ok(());
    }
    for provider in admission::providers_waiting(&mut conn).await? {
        let most = DRIVEN_AT_MOST.saturating_sub(driven(ctx));
        admission::admit(&mut conn, ctx, provider, i64::try_from(most)?).await?;
    }
    for (id, reads) in lease::lapsed(&mut conn, ctx).await? {
        if driven(ctx) >= DRIVEN_AT_MOST || ctx.stop.is_cancelled() {
            break;
        }
        // Its lease lapsed, but it has not noticed yet; taking it from itself would help nobody.
        if is_driven(ctx, id) {
            continue;
        }
        // One of those that two servers did not survive may be what stops them: they are tried one after the other, so that it takes none with it.
        let alone = match reads {
            SUSPECTED_FROM.. => match Arc::clone(&ctx.alone).try_acquire_owned() {
                Ok(alone) => Some(alone),
                Err(_) => continue,
            },
            _ => None,
        };
        if let Some(taken) = lease::take(&mut conn, ctx, id).await? {
            scan::spawn(ctx, taken, alone);
        }
    }
    Ok(())
}

async fn reap_if_mine(ctx: &SmartState) -> anyhow::Result<()> {
    let mine = has_roles(&mut *ctx.pool.acquire().await?, ctx).await?;
    if mine { reaper::reap(ctx).await } else { Ok(()) }
}

fn driven(ctx: &SmartState) -> usize {
    ctx.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
}

fn is_driven(ctx: &SmartState, scan: ScanId) -> bool {
    ctx.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&scan)
}

async fn has_roles(conn: &mut PgConnection, ctx: &SmartState) -> anyhow::Result<bool> {
    let roles = role::list(conn, ctx.server).await?;
    Ok([Role::SmartState, Role::SmartProxy].into_iter().all(|role| roles.contains(&(role, true))))
}
