//! The states after the work: what happened is noted, the pod goes, the task ends.

use super::{Run, fenced};
use crate::lease::State;
use crate::reason::Reason;
use crate::save::Evidence;
use crate::trouble::Halt;
use crate::{closing, deadline, launch, save};
use queue::job::{Job, RaisedEvent, enqueue};
use queue::task::{self, TaskStatus};
use std::time::Duration;
use tokio::time::Instant;

impl Run<'_> {
    /// Notes why the scan ends without a result; its pod goes next.
    pub(super) async fn fail(&mut self, reason: &Reason) -> anyhow::Result<()> {
        // What stopped servers is not read again.
        let evidence = if matches!(reason, Reason::ServersStopped { .. }) { Evidence::default() } else { self.evidence().await };
        let (outcome, message) = match reason {
            Reason::Cancelled | Reason::ProviderGone => ("cancelled", reason.message()),
            _ => ("error", reason.message()),
        };
        let message = message.replace('\0', "");
        let saved = sqlx::query!(
            "UPDATE scans
             SET state = 'cleaning', outcome = $3, reason_code = $4, message = $5, advice = $6, pod_log = $7, pod_events = $8, state_deadline_at = $9,
                 warnings = $10, reads_begun = 0
             WHERE id = $1
               AND fence = $2
               AND state NOT IN ('cleaning', 'finished')",
            self.scan.id.0,
            self.scan.fence,
            outcome,
            reason.code(),
            message,
            reason.advice(),
            evidence.log,
            evidence.events,
            deadline::of(State::Cleaning, self.ctx.clock.now()),
            &self.scan.warnings
        )
        .execute(&self.ctx.pool)
        .await?;
        if saved.rows_affected() == 0 {
            return self.ended_already().await;
        }
        save::forget_artifacts(&mut *self.ctx.pool.acquire().await?, &self.scan).await?;
        self.scan.state = State::Cleaning;
        self.alone = None;
        tracing::info!(scan = self.scan.id.0, code = reason.code(), "the scan ends: {message}");
        Ok(())
    }

    /// The results were saved a moment before a cancel came: they stand. Otherwise the scan is another server's.
    async fn ended_already(&mut self) -> anyhow::Result<()> {
        let ended = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM scans WHERE id = $1 AND fence = $2 AND state = 'cleaning') AS "ended!""#,
            self.scan.id.0,
            self.scan.fence
        )
        .fetch_one(&self.ctx.pool)
        .await?;
        fenced(u64::from(ended))?;
        self.scan.state = State::Cleaning;
        Ok(())
    }

    /// Removes pod and secret. What cannot be removed in time is left to the reaper: the result need not wait for it.
    pub(super) async fn clean(&mut self) {
        let until = Instant::now() + Duration::from_secs(deadline::limit_secs(State::Cleaning).unsigned_abs());
        if self.client.is_none()
            && let Err(Halt::Because(reason)) = self.connect().await
        {
            tracing::warn!(scan = self.scan.id.0, "removing the scan pod: {}", reason.message());
        }
        let Some(client) = &self.client else { return };
        match launch::remove(client, &self.scan, until).await {
            Ok(()) => {}
            Err(Halt::Because(reason)) => tracing::warn!(scan = self.scan.id.0, "removing the scan pod: {}", reason.message()),
            Err(Halt::Lost(detail)) => tracing::warn!(scan = self.scan.id.0, "removing the scan pod: {detail}"),
            Err(Halt::Dropped(error)) => tracing::warn!(scan = self.scan.id.0, "removing the scan pod: {error:#}"),
        }
    }

    /// Ends scan and task and raises the event, in one transaction.
    pub(super) async fn finish(&mut self) -> anyhow::Result<()> {
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.pool.begin().await?;
        let ended = sqlx::query!(
            r#"UPDATE scans
               SET state = 'finished', finished_at = $3, token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL
               WHERE id = $1
                 AND fence = $2
                 AND state = 'cleaning'
               RETURNING outcome AS "outcome!", message, reason_code, advice"#,
            self.scan.id.0,
            self.scan.fence,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let ended = ended.ok_or_else(|| anyhow::anyhow!("another server has taken the scan"))?;
        let status = TaskStatus::parse(&ended.outcome).unwrap_or(TaskStatus::Error);
        if let Some(task) = self.scan.task {
            task::finish(&mut tx, &self.ctx.clock, task, status, &ended.message, &ended.reason_code, &ended.advice).await?;
        }
        if let Some(image) = self.scan.image {
            let raised = RaisedEvent {
                event: closing::event(status),
                target_kind: "container_image".into(),
                target: image.0,
                provider: Some(self.scan.provider),
                details: serde_json::json!({ "scan_id": self.scan.id, "digest": self.scan.digest, "outcome": ended.outcome, "reason_code": ended.reason_code }),
            };
            enqueue(&mut tx, &Job::RaiseEvent(raised)).await?;
        }
        tx.commit().await?;
        self.scan.state = State::Finished;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::taken;
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_cancel_that_comes_after_the_results_were_saved_changes_nothing(pool: PgPool) {
        let (ctx, mut scan) = taken(&pool).await;
        sqlx::query("UPDATE scans SET state = 'cleaning', outcome = 'ok', message = 'No rule failed'").execute(&pool).await.unwrap();
        scan.state = State::Fetching;
        let mut run = Run::new(&ctx, scan.clone());
        run.fail(&Reason::Cancelled).await.unwrap();
        assert_eq!(run.scan.state, State::Cleaning);
        let ended: (String, String) = sqlx::query_as("SELECT outcome, message FROM scans").fetch_one(&pool).await.unwrap();
        assert_eq!(ended, ("ok".into(), "No rule failed".into()));
        scan.fence -= 1;
        assert!(Run::new(&ctx, scan).fail(&Reason::Cancelled).await.is_err(), "another server's scan");
    }

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_scan_that_fails_has_its_reason_whatever_characters_it_has(pool: PgPool) {
        let (ctx, scan) = taken(&pool).await;
        let mut run = Run::new(&ctx, scan);
        run.fail(&Reason::Internal("a\0b".into())).await.unwrap();
        let ended: (String, String, String) = sqlx::query_as("SELECT state, outcome, message FROM scans").fetch_one(&pool).await.unwrap();
        assert_eq!(ended, ("cleaning".into(), "error".into(), "Tidewaiter failed: ab".into()));
    }
}
