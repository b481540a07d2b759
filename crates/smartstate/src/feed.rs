//! Vulnerability definitions from files and addresses, kept as an index of which an image's are chosen.

mod source;

use crate::settings::{ContentSettings, Feed};
use anyhow::{Context, anyhow, bail};
use chrono::{DateTime, Utc};
use scap::feed::Index;
use scap::report::OperatingSystem;
pub(crate) use source::shown;
use source::{Source, Stamp};
use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const FRESH_FOR: Duration = Duration::from_secs(600);
/// A source that failed is left alone for so long: the scans that wait for it need not all find out by themselves.
const FAILED_FOR: Duration = Duration::from_secs(60);

struct Kept {
    stamp: Stamp,
    checked_at: Instant,
    loaded_at: DateTime<Utc>,
    index: Arc<Index>,
}

/// What is known of one location.
#[derive(Default)]
struct Slot {
    kept: Option<Kept>,
    /// When it could not be loaded the last time, and why; `None`: it could.
    failed: Option<(Instant, String)>,
}

/// By location and the SHA-256 that it must have.
type Slots = HashMap<(String, Option<String>), Arc<Mutex<Slot>>>;

/// The configured feeds and what of them is loaded.
pub(crate) struct Feeds {
    feeds: Vec<Feed>,
    allow_http: bool,
    /// One slot per location: two scans that need the same feed load it once.
    kept: std::sync::Mutex<Slots>,
}

impl Feeds {
    pub(crate) fn new(content: ContentSettings) -> Self {
        Self { feeds: content.vulnerability_feeds, allow_http: content.allow_http_feeds, kept: std::sync::Mutex::default() }
    }

    /// The feed of exactly that distribution: a rebuild's packages are not its parent's.
    pub(crate) fn find(&self, os: &OperatingSystem) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.id.eq_ignore_ascii_case(&os.id) && covers(&feed.version, &os.version_id))
    }

    /// The feed's definitions, indexed once for all scans; from memory while the source has not changed.
    ///
    /// # Errors
    /// The source cannot be read, is too large, or is not what its name or the settings say. One that was loaded before and cannot be reached now is used
    /// as it was.
    pub(crate) async fn index(&self, feed: &Feed) -> anyhow::Result<Arc<Index>> {
        let slot = self.slot(feed);
        let mut slot = slot.lock().await;
        let source = Source { location: feed.location.clone(), sha256: feed.sha256.clone(), allow_http: self.allow_http };
        let asked_just_now = |old: &&Kept| source.is_address() && slot.failed.is_none() && old.checked_at.elapsed() < FRESH_FOR;
        if let Some(old) = slot.kept.as_ref().filter(asked_just_now) {
            return Ok(old.index.clone());
        }
        let loaded = match &slot.failed {
            Some((at, why)) if source.is_address() && at.elapsed() < FAILED_FOR => Err(anyhow!("{why}")),
            _ => source.read(slot.kept.as_ref().map(|old| &old.stamp), build).await,
        };
        if let Err(error) = &loaded
            && slot.failed.as_ref().is_none_or(|(at, _)| at.elapsed() >= FAILED_FOR)
        {
            tracing::warn!("vulnerability definitions {}: {error:#}", shown(&feed.location));
            slot.failed = Some((Instant::now(), format!("{error:#}")));
        }
        match (loaded, slot.kept.as_mut()) {
            (Ok(Some((index, stamp))), _) => {
                slot.failed = None;
                Ok(slot.kept.insert(kept(stamp, index)).index.clone())
            }
            (Ok(None), Some(old)) => {
                (old.checked_at, old.loaded_at) = (Instant::now(), Utc::now());
                let index = old.index.clone();
                slot.failed = None;
                Ok(index)
            }
            (Err(_), Some(old)) => Ok(old.index.clone()),
            (Err(error), None) => Err(error),
            (Ok(None), None) => bail!("{} has not changed, but was never loaded", shown(&feed.location)),
        }
    }

    /// What a scan of this system must say about the definitions that [`Feeds::index`] gave for it: that they are old, since their source fails.
    pub(crate) async fn stale(&self, os: &OperatingSystem) -> Option<String> {
        let feed = self.find(os)?;
        let slot = self.slot(feed);
        let slot = slot.lock().await;
        let ((_, why), kept) = (slot.failed.as_ref()?, slot.kept.as_ref()?);
        let since = kept.loaded_at.format("%Y-%m-%d %H:%M UTC");
        Some(format!("The vulnerability definitions of {} {} are those of {since}: newer ones could not be loaded ({why}).", feed.id, feed.version))
    }

    fn slot(&self, feed: &Feed) -> Arc<Mutex<Slot>> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.entry((feed.location.clone(), feed.sha256.clone())).or_default().clone()
    }
}

fn build(definitions: &mut dyn BufRead) -> anyhow::Result<Index> {
    let begun = Instant::now();
    let index = Index::build(definitions).context("these are no definitions")?;
    tracing::info!(definitions = index.definitions(), millis = begun.elapsed().as_millis(), "vulnerability definitions are indexed");
    Ok(index)
}

/// `9` covers `9` and `9.4`, not `95`.
pub(crate) fn covers(version: &str, version_id: &str) -> bool {
    version_id == version || version_id.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
}

fn kept(stamp: Stamp, index: Index) -> Kept {
    Kept { stamp, checked_at: Instant::now(), loaded_at: Utc::now(), index: Arc::new(index) }
}

#[cfg(test)]
pub(crate) mod tests;
