//! The results come out of the pod. What it sends is a stranger's: all of it together never takes more of the server's memory than [`ROOM_MIB`].

use super::steps::refused;
use super::{Run, fenced};
use crate::bounded::Unread;
use crate::lease::State;
use crate::proxy::{Proxy, ProxyError};
use crate::reason::Reason;
use crate::save::Artifact;
use crate::trouble::Halt;
use crate::{report, save, words};
use anyhow::Context;
use bytes::Bytes;
use scap::report::{InspectionReport, Layer};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// For all answers that are read at a time, of all scans.
pub(crate) const ROOM_MIB: usize = 64;
/// What nearly every answer needs; one that needs more waits until it can have all room.
const SMALL_MIB: usize = 8;
const ROOMS_MIB: [usize; 2] = [SMALL_MIB, ROOM_MIB];
/// Of what an answer has as room, its packed form may take this part: it is there more than once when it is unpacked or stored.
const PACKED_PART: usize = 4;
/// All artifacts of one scan together, packed.
const ARTIFACTS_BYTES: usize = 128 << 20;
const ARF_BYTES: u64 = 256 << 20;
const HTML_BYTES: u64 = 64 << 20;

/// What an answer with so much room may weigh, packed.
fn packed_bytes(room_mib: usize) -> usize {
    (room_mib << 20) / PACKED_PART
}

impl Run<'_> {
    pub(super) async fn fetch(&mut self) -> Result<(), Halt> {
        let proxy = self.proxy()?;
        self.begin_reading().await?;
        let notes = self.fetch_artifacts(&proxy).await?;
        let (mut report, room) = self.fetch_report(&proxy).await?;
        report.warnings.extend(notes);
        let evidence = self.evidence().await;
        let fetched_ms = self.in_state_for().num_milliseconds();
        self.tell("Saving the results", 90).await?;
        let verdict = report::judge(&report);
        let started = Instant::now();
        let mut conn = self.ctx.pool.acquire().await?;
        let saved = save::save(&mut conn, self.ctx, &self.scan, &report, &verdict, &evidence).await;
        drop((conn, report, room));
        match saved {
            Ok(done) => fenced(u64::from(done))?,
            Err(error) if is_refusal(&error) => return Err(Reason::Internal(format!("the results could not be saved: {error:#}")).into()),
            Err(error) => return Err(Halt::Dropped(error)),
        }
        self.scan.state = State::Cleaning;
        self.alone = None;
        let timings = serde_json::json!({ "fetch": fetched_ms, "save": u64::try_from(started.elapsed().as_millis()).unwrap_or(0) });
        sqlx::query!("UPDATE scans SET timings = timings || $3 WHERE id = $1 AND fence = $2", self.scan.id.0, self.scan.fence, timings)
            .execute(&self.ctx.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn room(&self, mib: usize) -> Result<OwnedSemaphorePermit, Halt> {
        let many = u32::try_from(mib).context("the room is small")?;
        Ok(Arc::clone(&self.ctx.room).acquire_many_owned(many).await.context("the server ends")?)
    }

    /// The report, and its room, which is to be kept as long as the report.
    async fn fetch_report(&self, proxy: &Proxy) -> Result<(InspectionReport, OwnedSemaphorePermit), Halt> {
        let mut why = String::new();
        for mib in ROOMS_MIB {
            let room = self.room(mib).await?;
            let packed = match self.insist_or(|| proxy.report(packed_bytes(mib))).await? {
                Ok(packed) => packed,
                Err(error @ ProxyError::TooLarge(_)) => {
                    why = error.to_string();
                    continue;
                }
                Err(error) => return Err(refused(&error).into()),
            };
            let scan = self.scan.clone();
            // Beside what is read there is what it is packed in.
            let held_bytes = (mib << 20) - packed.len();
            let read = tokio::task::spawn_blocking(move || report::read(&packed, &scan, held_bytes)).await;
            match read.map_err(|error| Reason::Internal(error.to_string()))? {
                Ok(report) => return Ok((report, room)),
                Err(Unread::TooMuch(text)) => why = text,
                Err(Unread::Malformed(text)) => return Err(Reason::WrongReport(text).into()),
            }
        }
        Err(Reason::WrongReport(why).into())
    }

    /// Fetches and stores one after the other; gives sentences about those that are not kept.
    async fn fetch_artifacts(&self, proxy: &Proxy) -> Result<Vec<String>, Halt> {
        let (mut notes, mut left) = (vec![], ARTIFACTS_BYTES);
        for layer in Layer::ALL {
            for (kind, limit) in [("arf", ARF_BYTES), ("html", HTML_BYTES)] {
                let name = format!("The {} of the layer {}", kind.to_uppercase(), layer.as_str());
                match self.fetch_artifact(proxy, (kind, layer), limit, &mut left).await? {
                    Ok(()) => {}
                    Err(why) => notes.push(format!("{name} is not kept: {why}.")),
                }
            }
        }
        Ok(notes)
    }

    /// The inner error: why it is not kept.
    async fn fetch_artifact(&self, proxy: &Proxy, (kind, layer): (&'static str, Layer), limit: u64, left: &mut usize) -> Result<Result<(), String>, Halt> {
        let mut why = String::new();
        for mib in ROOMS_MIB {
            let _room = self.room(mib).await?;
            let most = packed_bytes(mib).min(*left);
            let packed = match self.insist_or(|| proxy.artifact(kind, layer, most)).await? {
                Ok(Some(packed)) => packed,
                Ok(None) => return Ok(Ok(())),
                Err(error @ ProxyError::TooLarge(_)) => {
                    why = error.to_string();
                    continue;
                }
                Err(error) => return Ok(Err(words::clean(&error.to_string(), 300))),
            };
            *left -= packed.len();
            let size_bytes = match measured(packed.clone(), limit).await {
                Ok(size_bytes) => size_bytes,
                Err(error) => return Ok(Err(words::clean(&format!("{error:#}"), 300))),
            };
            let artifact = Artifact { layer, kind, packed, size_bytes };
            let saved = save::save_artifact(&mut *self.ctx.pool.acquire().await?, &self.scan, &artifact).await?;
            fenced(u64::from(saved))?;
            return Ok(Ok(()));
        }
        Ok(Err(why))
    }
}

/// Whether Postgres refused the data, which another try would not change.
fn is_refusal(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code());
    // Class 57: it is shutting down; 53: out of resources; 40: a deadlock; 08: connection; 25: read-only standby.
    code.is_some_and(|code| !["57", "53", "40", "08", "25"].iter().any(|class| code.starts_with(class)))
}

async fn measured(packed: Bytes, limit: u64) -> anyhow::Result<i64> {
    let size = tokio::task::spawn_blocking(move || report::unpacked_size(&packed, limit)).await??;
    Ok(i64::try_from(size)?)
}
