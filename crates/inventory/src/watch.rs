//! Follows a provider's changes from where the last refresh or watch stood.
//!
//! Source: <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

mod limit;
mod lines;

use crate::read::{Reader, Trouble, is_plausible, is_too_large};
use crate::shape::{Namespace, Node, Object, Pod};
use crate::{Inventory, Reason, parse, positions, refresh, room, save, status};
use anyhow::anyhow;
use http::Request;
use kube::core::WatchEvent;
use limit::Allowance;
use lines::Lines;
use model::ids::ProviderId;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The API server ends a watch after this long; it is then opened again, which also finds out whether the login still holds.
const WATCH_SECS: u64 = 290;
/// A bookmark comes about once a minute. A watch that is silent for longer than this may be dead.
const SILENCE: Duration = Duration::from_secs(100);
const OPEN_LIMIT_SECS: u64 = 30;
/// Changes are saved together: as many as this, or as come within this time.
const BATCH_MAX: usize = 500;
const BATCH_TIME: Duration = Duration::from_millis(100);
/// What a provider's changes that are not saved yet may weigh, in KiB: a bigger one comes alone.
const UNSAVED_KIB_MAX: u32 = 8 << 10;
/// How often `seen_at` moves.
const SEEN_EVERY: Duration = Duration::from_secs(5);

/// What a watch tells.
pub(crate) enum Change {
    Project(Namespace, bool),
    Node(Node, bool),
    Pod(Box<Pod>, bool),
    /// A bookmark: nothing new up to here.
    Nothing,
    /// The watch is open.
    Open,
}

impl Change {
    /// One that is there now.
    fn is_object(&self) -> bool {
        matches!(self, Self::Project(_, false) | Self::Node(_, false) | Self::Pod(_, false))
    }
}

/// A change, with its kind and the version of the history after it.
struct Told {
    kind: &'static str,
    version: String,
    change: Change,
    /// Its share of what may be unsaved, given back when it is dropped.
    weight: Option<Weight>,
}

/// What a change takes of the memory for its provider's unsaved changes, and of the memory for those of all providers.
type Weight = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Where the watches of a provider tell what they hear.
#[derive(Clone)]
struct Ear {
    sender: mpsc::Sender<Told>,
    room: Arc<Semaphore>,
}

impl Ear {
    fn new() -> (Self, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(BATCH_MAX);
        (Self { sender, room: Arc::new(Semaphore::new(UNSAVED_KIB_MAX as usize)) }, receiver)
    }

    /// Waits until there is room for a line. Two bytes of it may become a struct, hence the nodes.
    async fn room_for(&self, bytes: usize, nodes: usize) -> Result<Weight, Trouble> {
        let kib = u32::try_from((bytes + nodes * 100) >> 10).unwrap_or(u32::MAX).clamp(1, UNSAVED_KIB_MAX);
        let own = self.room.clone().acquire_many_owned(kib).await.map_err(|_| Trouble::Internal(anyhow!("the saver stopped")))?;
        Ok((own, room::change(kib).await))
    }

    async fn tell<T: Object>(&self, version: &str, change: Change, weight: Option<Weight>) -> Result<(), Trouble> {
        let told = Told { kind: T::PLURAL, version: version.to_owned(), change, weight };
        self.sender.send(told).await.map_err(|_| Trouble::Internal(anyhow!("the saver stopped")))
    }
}

trait Watched: Object {
    fn change(self, gone: bool) -> Change;
}

impl Watched for Namespace {
    fn change(self, gone: bool) -> Change {
        Change::Project(self, gone)
    }
}

impl Watched for Node {
    fn change(self, gone: bool) -> Change {
        Change::Node(self, gone)
    }
}

impl Watched for Pod {
    fn change(self, gone: bool) -> Change {
        Change::Pod(Box::new(self), gone)
    }
}

/// Watches until something goes wrong.
pub(crate) async fn watch(reader: &Reader<'_>, from: &Map<String, Value>) -> Trouble {
    let (ear, receiver) = Ear::new();
    let position = |kind: &str| from.get(kind).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all = futures::future::try_join5(
        follow::<Namespace>(reader, position(Namespace::PLURAL), ear.clone()),
        follow::<Node>(reader, position(Node::PLURAL), ear.clone()),
        follow::<Pod>(reader, position(Pod::PLURAL), ear),
        save_batches(reader, receiver),
        refresh_regularly(reader.ctx, reader.provider),
    );
    match all.await {
        Err(trouble) => trouble,
        Ok((never, ..)) => match never {},
    }
}

/// Opens the watch of one kind again and again.
async fn follow<T: Watched>(reader: &Reader<'_>, mut version: String, ear: Ear) -> Result<Infallible, Trouble> {
    loop {
        let opened = Instant::now();
        follow_once::<T>(reader, &mut version, &ear).await?;
        if opened.elapsed() < Duration::from_secs(1) {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Until the watch ends or falls silent. `version` moves along.
async fn follow_once<T: Watched>(reader: &Reader<'_>, version: &mut String, ear: &Ear) -> Result<(), Trouble> {
    let path = format!("{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECS}&resourceVersion={version}", T::PATH);
    let request = Request::get(path).body(Vec::new()).map_err(|error| reader.explain(&kube::Error::HttpError(error)))?;
    let mut lines = match timeout(Duration::from_secs(OPEN_LIMIT_SECS), Lines::open(&reader.client, request)).await {
        Ok(Err(kube::Error::Api(status))) if is_too_large(&status) => return Err(reread(reader).await),
        Ok(lines) => lines.map_err(|error| reader.explain(&error))?,
        Err(_) => return Err(Trouble::Provider(crate::ConnectError::timeout(&reader.server, OPEN_LIMIT_SECS))),
    };
    ear.tell::<T>(version, Change::Open, None).await?;
    loop {
        // The end of a watch, a broken connection and silence all mean: open it again. If that fails too, it says why.
        let line = match timeout(SILENCE, lines.next()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Err(error)) => match reader.explain(&error) {
                Trouble::Provider(error) if error.reason == Reason::TooLarge => return Err(anew(reader, error).await),
                _ => return Ok(()),
            },
            Ok(Ok(None)) => return Ok(()),
            // An API server whose history ends before this watch's beginning is as silent as a dead connection.
            Err(_) if reader.went_back::<T>(version).await? => return Err(reread(reader).await),
            Err(_) => return Ok(()),
        };
        let weight = ear.room_for(line.bytes.len(), line.nodes).await?;
        let event = match serde_json::from_slice(&line.bytes) {
            Ok(event) => event,
            // The connection broke in the middle of a line.
            Err(_) if line.is_cut => return Ok(()),
            Err(_) => return Err(unreadable(reader, T::PLURAL).await),
        };
        drop(line);
        if let WatchEvent::<T>::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) = &event
            && !is_plausible(object.metadata())
        {
            return Err(unreadable(reader, T::PLURAL).await);
        }
        let change = match event {
            WatchEvent::<T>::Added(object) | WatchEvent::Modified(object) => moved(object, version, false),
            WatchEvent::Deleted(object) => moved(object, version, true),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                Change::Nothing
            }
            WatchEvent::Error(status) if is_too_large(&status) => return Err(reread(reader).await),
            WatchEvent::Error(status) => return Err(reader.explain(&kube::Error::Api(status))),
        };
        ear.tell::<T>(version, change, Some(weight)).await?;
    }
}

fn moved<T: Watched>(object: T, version: &mut String, gone: bool) -> Change {
    version.clone_from(&object.metadata().resource_version);
    object.change(gone)
}

/// Whatever the tables have: everything is read anew.
async fn reread(reader: &Reader<'_>) -> Trouble {
    reader.rewind().await.err().unwrap_or(Trouble::Expired)
}

/// A change that cannot be read must not be asked for again and again: everything is read anew, and the provider's status says so as long as it happens.
async fn unreadable(reader: &Reader<'_>, kind: &str) -> Trouble {
    anew(reader, crate::ConnectError::unreadable(&reader.server, &format!("a change of {kind} does not have the shape that they have"))).await
}

async fn anew(reader: &Reader<'_>, error: crate::ConnectError) -> Trouble {
    tracing::warn!(provider = %reader.provider, reason = error.reason.as_str(), "a change cannot be read; everything is read anew");
    let cleared = async { positions::clear(&mut *reader.ctx.pool.acquire().await?, reader.provider).await };
    cleared.await.map_or_else(Trouble::Internal, |()| Trouble::Provider(error))
}

async fn save_batches(reader: &Reader<'_>, mut receiver: mpsc::Receiver<Told>) -> Result<Infallible, Trouble> {
    let mut open = 0;
    let mut seen: Option<Instant> = None;
    let mut allowance = Allowance::default();
    loop {
        let batch = next_batch(&mut receiver).await?;
        open += batch.iter().filter(|told| matches!(told.change, Change::Open)).count();
        let objects = batch.iter().filter(|told| told.change.is_object()).count();
        save_batch(reader, batch).await?;
        match allowance.take(reader, objects).await {
            // What there is beyond the limit is in no list either: it goes when everything is read anew.
            Err(Trouble::Provider(error)) => return Err(anew(reader, error).await),
            taken => taken?,
        }
        if open >= 3 {
            let mut conn = reader.ctx.pool.acquire().await?;
            status::ok(&mut conn, &reader.ctx.clock, reader.provider).await?;
            if seen.is_none_or(|at| at.elapsed() >= SEEN_EVERY) {
                status::seen(&mut conn, &reader.ctx.clock, reader.provider).await?;
                seen = Some(Instant::now());
            }
        }
    }
}

async fn next_batch(receiver: &mut mpsc::Receiver<Told>) -> Result<Vec<Told>, Trouble> {
    let mut batch = Vec::new();
    if receiver.recv_many(&mut batch, BATCH_MAX).await == 0 {
        return Err(Trouble::Internal(anyhow!("the watches stopped")));
    }
    let end = Instant::now() + BATCH_TIME;
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        match timeout_at(end, receiver.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(batch)
}

/// Saves the last state of each object in `batch`, with the positions, in one transaction.
async fn save_batch(reader: &Reader<'_>, batch: Vec<Told>) -> Result<(), Trouble> {
    let (mut projects, mut nodes, mut pods) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut reached = Map::new();
    let mut weights = Vec::new();
    for told in batch {
        weights.extend(told.weight);
        match told.change {
            Change::Open => continue,
            Change::Nothing => {}
            Change::Project(object, gone) => drop(projects.insert(object.metadata.uid.clone(), parse::project(&object, gone))),
            Change::Node(object, gone) => drop(nodes.insert(object.metadata.uid.clone(), parse::node(&object, gone))),
            Change::Pod(object, gone) => {
                if let Some(row) = parse::pod(&object, gone, &reader.ctx.settings.scan_namespace) {
                    pods.insert(row.uid.clone(), row);
                }
            }
        }
        reached.insert(told.kind.to_owned(), told.version.into());
    }
    let (projects, nodes, pods) = (Vec::from_iter(projects.into_values()), Vec::from_iter(nodes.into_values()), Vec::from_iter(pods.into_values()));
    let (ctx, provider, now) = (reader.ctx, reader.provider, reader.ctx.clock.now());
    if !projects.is_empty() || !nodes.is_empty() {
        let mut tx = save::begin(&ctx.pool, provider).await?;
        save::projects(&mut tx, now, provider, &projects).await?;
        save::nodes(&mut tx, now, provider, &nodes).await?;
        tx.commit().await?;
    }
    if !pods.is_empty() {
        reader.read_unknown(pods.iter().filter(|pod| !pod.gone).map(|pod| (pod.project.as_str(), pod.node.as_str()))).await?;
    }
    if !pods.is_empty() || !reached.is_empty() {
        let mut tx = save::begin(&ctx.pool, provider).await?;
        save::pods(&mut tx, now, provider, &pods).await?;
        positions::save(&mut tx, provider, reached).await?;
        tx.commit().await?;
    }
    // Only now is there room for more.
    drop(weights);
    Ok(())
}

/// Reads everything again once `refresh_interval_secs` have passed since the last time, whoever did it.
async fn refresh_regularly(ctx: &Inventory, provider: ProviderId) -> Result<Infallible, Trouble> {
    loop {
        let refreshed_at = sqlx::query_scalar!("SELECT refreshed_at FROM providers WHERE id = $1", provider.0).fetch_optional(&ctx.pool).await?.flatten();
        let age = refreshed_at.map_or(0, |at| (ctx.clock.now() - at).num_seconds().max(0));
        let rest = ctx.settings.refresh_interval_secs.saturating_sub(age.unsigned_abs());
        if rest > 0 {
            sleep(Duration::from_secs(rest.max(1))).await;
            continue;
        }
        if let Err(error) = refresh::refresh(ctx, provider, None).await {
            tracing::warn!(%provider, %error, "the regular refresh failed");
        }
        sleep(Duration::from_secs(60)).await;
    }
}

#[cfg(test)]
mod tests;
