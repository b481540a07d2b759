//! From a reference to an unpacked image: manifest, configuration, layers.

mod choose;
mod download;

use crate::failure::{failure, storage};
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{Access, Registry};
use crate::unpack::{self, Limits, Tree};
use scap::protocol::{Failure, FailureCode};
use scap::report::ImageConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Layers fetched at a time.
const PARALLEL: usize = 3;

/// An image in a folder.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unpacked {
    /// The image's root; its links never lead out of it.
    pub root: PathBuf,
    /// fakeroot's state: owners and modes of the files in `root`.
    pub state_file: PathBuf,
    /// Digest of the platform's own manifest.
    pub manifest_digest: String,
    pub media_type: String,
    pub config: ImageConfig,
    /// What it was made for.
    pub platform: Platform,
    pub compressed_bytes: u64,
    pub unpacked_bytes: u64,
    /// Entries of all layers.
    pub entries: u64,
    /// Inodes in the state file.
    pub inodes: usize,
    /// Until the last layer was fetched.
    pub pull_ms: u64,
    /// Time spent unpacking, part of it while other layers were fetched.
    pub unpack_ms: u64,
    /// Sentences for people.
    pub warnings: Vec<String>,
    /// Account files of which a part was left out.
    pub cut_files: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Manifest,
    /// Waits for layer `n` of `of`, counted from 1.
    Layer {
        n: usize,
        of: usize,
    },
    /// All is fetched; unpacks layer `n` of `of`.
    Unpacking {
        n: usize,
        of: usize,
    },
}

/// Fetches `image`, verifies every digest and unpacks it into `into`/root, with owners and modes in `into`/state.
///
/// # Errors
/// A code and a sentence for people; `into` then holds remains.
pub async fn pull(image: &Reference, access: &Access, limits: Limits, into: &Path, mut progress: impl FnMut(Progress)) -> Result<Unpacked, Failure> {
    let started = Instant::now();
    progress(Progress::Manifest);
    let registry = Arc::new(Registry::new(image, access)?);
    let wanted = access.platform.clone().unwrap_or_else(Platform::node);
    let parts = choose::choose(&registry, image, &wanted).await?;
    let mut stored = check_size(&parts.layers, limits)?;
    let blobs = into.join("blobs");
    let root = into.join("root");
    let make = |e| storage("making its folders", &e);
    tokio::fs::create_dir_all(&blobs).await.map_err(make)?;
    let mut tree = Tree::create(&root, limits).map_err(make)?;
    let of = parts.layers.len();
    let fetched = Arc::new(Semaphore::new(0));
    let fetches = fetch_all(&registry, &parts.layers, &blobs, &fetched);
    let mut pulled = started.elapsed();
    let mut unpacking = Duration::ZERO;
    for (number, (fetch, layer)) in fetches.into_iter().zip(&parts.layers).enumerate() {
        let n = number + 1;
        let all_fetched = fetched.available_permits() == of;
        progress(if all_fetched { Progress::Unpacking { n, of } } else { Progress::Layer { n, of } });
        let (file, at) = fetch.await.map_err(|e| storage("fetching a layer", &e.into()))??;
        pulled = pulled.max(at - started);
        let begun = Instant::now();
        let (size, diff_id) = (layer.size, parts.config.diff_ids[number].clone());
        tree.keep_room_for(stored);
        stored -= size;
        tree = blocking(move || {
            unpack::apply(&mut tree, &file, size, &diff_id).map_err(|refusal| refusal.failure(n))?;
            // Its space is needed for what comes.
            std::fs::remove_file(&file).map_err(|e| storage("removing a layer", &e))?;
            Ok(tree)
        })
        .await?;
        unpacking += begun.elapsed();
    }
    let begun = Instant::now();
    let state_file = into.join("state");
    let (config, to) = (parts.config.clone(), state_file.clone());
    let tree = blocking(move || {
        unpack::complete(&mut tree, &config).map_err(|refusal| refusal.failure(of))?;
        tree.state.write(tree.root(), &to).map_err(|e| storage("writing the owners", &e))?;
        Ok(tree)
    })
    .await?;
    unpacking += begun.elapsed();
    Ok(Unpacked {
        root,
        state_file,
        manifest_digest: parts.manifest_digest,
        media_type: parts.media_type,
        config: parts.config.image,
        platform: parts.config.platform,
        compressed_bytes: parts.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add),
        unpacked_bytes: tree.bytes,
        entries: tree.entries,
        inodes: tree.state.len(),
        pull_ms: millis(pulled),
        unpack_ms: millis(unpacking),
        warnings: parts.warning.into_iter().chain(tree.notes.sentences()).collect(),
        cut_files: tree.notes.cut_files,
    })
}

/// The sum of the layers as stored, in bytes; refused before anything is fetched when it alone is too large.
fn check_size(layers: &[Descriptor], limits: Limits) -> Result<u64, Failure> {
    let stored = layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    if stored <= limits.unpacked_bytes {
        return Ok(stored);
    }
    let message = format!(
        "The image is too large to be inspected: its layers have {} MiB as stored, and the scan's storage has room for {} MiB (smartstate.storage_limit).",
        stored >> 20,
        limits.unpacked_bytes >> 20
    );
    Err(failure(FailureCode::TooLarge, message))
}

type Fetch = AbortOnDropHandle<Result<(PathBuf, Instant), Failure>>;

/// One task per layer, some of them at work at a time, in order; dropped, they stop.
fn fetch_all(registry: &Arc<Registry>, layers: &[Descriptor], blobs: &Path, fetched: &Arc<Semaphore>) -> Vec<Fetch> {
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let fetch = |(number, layer): (usize, &Descriptor)| {
        let (registry, slots, fetched) = (Arc::clone(registry), Arc::clone(&slots), Arc::clone(fetched));
        let (layer, file) = (layer.clone(), blobs.join(number.to_string()));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _slot = slots.acquire().await;
            download::download(&registry, &layer, &file).await?;
            fetched.add_permits(1);
            Ok((file, Instant::now()))
        }))
    };
    layers.iter().enumerate().map(fetch).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| storage("unpacking the image", &e.into()))?
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
