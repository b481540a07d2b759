//! One inspection from beginning to end: its phases, and what is known in each.

use crate::failure::{failure, storage};
use crate::handover::{self, Part};
use crate::oscap::{self, Target};
use crate::platform::Platform;
use crate::pull::{self, Progress, Unpacked, millis};
use crate::settings::Settings;
use crate::{os, packages};
use futures::FutureExt as _;
use scap::protocol::{Answered, Evaluate, Failure, FailureCode, Phase, Status};
use scap::report::{InspectionReport, LayerState, OperatingSystem, Package, PackageDatabase, REPORT_VERSION, Timings};
use serde::Serialize;
use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// An inspection under way.
pub(crate) struct Inspection {
    settings: Settings,
    progress: watch::Sender<String>,
    state: Mutex<State>,
    /// What was asked of which definitions. Locked while OpenSCAP runs: no two look at the image at a time.
    answers: tokio::sync::Mutex<HashMap<String, Answered>>,
}

struct State {
    phase: Phase,
    failure: Option<Failure>,
    /// Another container goes on from here.
    handed_over: bool,
    image: Option<Arc<Image>>,
    /// What was asked for, and the task that does it.
    evaluation: Option<(Evaluate, AbortOnDropHandle<()>)>,
}

/// An image that was unpacked and looked at.
struct Image {
    unpacked: Unpacked,
    os: Option<OperatingSystem>,
    database: PackageDatabase,
    packages: Arc<[Package]>,
    packages_ms: u64,
}

/// Why an evaluation was not begun.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotNow {
    /// The image is not ready, or never will be.
    Phase(Phase),
    /// Another one is under way or done.
    Another,
}

impl Inspection {
    /// Makes the folders below the work folder; nothing runs yet.
    pub(crate) fn new(settings: Settings) -> io::Result<Arc<Self>> {
        let state = State { phase: Phase::Pulling, failure: None, handed_over: false, image: None, evaluation: None };
        let inspection = Self { settings, progress: watch::Sender::new(String::new()), state: Mutex::new(state), answers: tokio::sync::Mutex::default() };
        for folder in [inspection.content_dir(), inspection.results_dir(), inspection.temporary_dir()] {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Arc::new(inspection))
    }

    pub(crate) fn token_sha256(&self) -> &[u8; 32] {
        &self.settings.token_sha256
    }

    /// Content files, each named by its SHA-256.
    pub(crate) fn content_dir(&self) -> PathBuf {
        self.settings.work.join("content")
    }

    /// The report and the raw results.
    pub(crate) fn results_dir(&self) -> PathBuf {
        self.settings.work.join("results")
    }

    pub(crate) fn temporary_dir(&self) -> PathBuf {
        self.settings.work.join("tmp")
    }

    /// Where the report lies once the phase is `Done`.
    pub(crate) fn report_file(&self) -> PathBuf {
        self.results_dir().join("report.json.zst")
    }

    /// Where the packages lie from the phase `Ready` on.
    pub(crate) fn packages_file(&self) -> PathBuf {
        self.results_dir().join("packages.json.zst")
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.lock();
        Status {
            scan_id: self.settings.scan_id.clone(),
            phase: state.phase,
            message: self.progress.borrow().clone(),
            failure: state.failure.clone(),
            os: state.image.as_ref().and_then(|image| image.os.clone()),
            package_database: state.image.as_ref().map(|image| image.database.clone()),
            architecture: Platform::node().architecture,
        }
    }

    /// Waits until it is past `phase` or another container goes on, for `within` at most.
    pub(crate) async fn past(&self, phase: Phase, within: Duration) {
        let mut progress = self.progress.subscribe();
        let is_there = || {
            let state = self.lock();
            state.phase <= phase && !state.handed_over
        };
        let _ = tokio::time::timeout(within, async { while is_there() && progress.changed().await.is_ok() {} }).await;
    }

    /// Pulls and unpacks, and leaves the image, or why there is none, to another container.
    ///
    /// # Errors
    /// It cannot be left.
    pub(crate) async fn hand_over(&self) -> io::Result<()> {
        let pulled = self.pull().await;
        if let Err(failure) = &pulled {
            self.fail(failure.clone());
        }
        handover::leave(&self.settings, pulled)?;
        self.lock().handed_over = true;
        // Whoever waits for the next phase looks for the other container.
        self.progress.send_modify(|_| {});
        Ok(())
    }

    /// Gets the image and reads its packages; ends in the phase `Ready` or `Failed`.
    pub(crate) async fn prepare(&self, part: Part) {
        let unpacked = if part == Part::Inspect { handover::take_up(&self.settings) } else { self.pull().await };
        let read = match unpacked {
            Ok(unpacked) => self.read(unpacked).await,
            Err(failure) => Err(failure),
        };
        match read {
            Ok(image) => {
                tracing::info!(pull_ms = image.unpacked.pull_ms, unpack_ms = image.unpacked.unpack_ms, packages = image.packages.len(), "the image is ready");
                self.lock().image = Some(Arc::new(image));
                self.enter(Phase::Ready, "waits for content");
            }
            Err(failure) => self.fail(failure),
        }
    }

    async fn pull(&self) -> Result<Unpacked, Failure> {
        let Settings { image, access, limits, work, .. } = &self.settings;
        pull::pull(image, access, *limits, work, |progress| match progress {
            Progress::Manifest => self.enter(Phase::Pulling, "manifest"),
            Progress::Layer { n, of } => self.enter(Phase::Pulling, &format!("layer {n} of {of}")),
            Progress::Unpacking { n, of } => self.enter(Phase::Unpacking, &format!("layer {n} of {of}")),
        })
        .await
    }

    async fn read(&self, unpacked: Unpacked) -> Result<Image, Failure> {
        self.enter(Phase::ReadingPackages, "packages");
        let begun = Instant::now();
        let root = unpacked.root.clone();
        let read = tokio::task::spawn_blocking(move || (os::read(&root), packages::read(&root))).await;
        let (os, (database, packages)) = read.map_err(|e| storage("reading the packages", &e.into()))?;
        let packages: Arc<[Package]> = packages.into();
        write(packages.to_vec(), self.packages_file()).await.map_err(|e| storage("writing the packages", &e))?;
        Ok(Image { unpacked, os, database, packages, packages_ms: millis(begun.elapsed()) })
    }

    /// What the definitions put as `sha256` say of the image; asked once.
    pub(crate) async fn answer(&self, sha256: &str) -> Result<Answered, NotNow> {
        let mut answers = self.answers.lock().await;
        if let Some(known) = answers.get(sha256) {
            return Ok(known.clone());
        }
        let image = self.ready()?;
        let answer = oscap::answer(sha256, &self.target(&image)).await;
        answers.insert(sha256.to_owned(), answer.clone());
        Ok(answer)
    }

    fn ready(&self) -> Result<Arc<Image>, NotNow> {
        let state = self.lock();
        match (&state.image, state.phase) {
            (Some(image), Phase::Ready) => Ok(Arc::clone(image)),
            (_, phase) => Err(NotNow::Phase(phase)),
        }
    }

    /// Begins an evaluation; the same one again is no error and begins nothing.
    pub(crate) fn evaluate(self: &Arc<Self>, request: Evaluate) -> Result<(), NotNow> {
        let mut state = self.lock();
        if let Some((known, _)) = &state.evaluation {
            return if *known == request { Ok(()) } else { Err(NotNow::Another) };
        }
        let image = match (&state.image, state.phase) {
            (Some(image), Phase::Ready) => Arc::clone(image),
            (_, phase) => return Err(NotNow::Phase(phase)),
        };
        state.phase = Phase::Evaluating;
        let (inspection, asked) = (Arc::clone(self), request.clone());
        let task = tokio::spawn(async move {
            if let Err(failure) = survive(inspection.run(&image, asked)).await {
                inspection.fail(failure);
            }
        });
        state.evaluation = Some((request, AbortOnDropHandle::new(task)));
        Ok(())
    }

    async fn run(&self, image: &Image, request: Evaluate) {
        let target = self.target(image);
        let _alone = self.answers.lock().await;
        let mut layers = Vec::new();
        for layer in &request.layers {
            self.progress.send_replace(layer.layer.as_str().to_owned());
            let mut report = oscap::evaluate(layer, &target).await;
            if report.state == LayerState::Evaluated && !image.unpacked.cut_files.is_empty() {
                report.reason =
                    format!("{} A part of {} was left out and is not checked.", report.reason, image.unpacked.cut_files.join(", ")).trim().to_owned();
            }
            layers.push(report);
        }
        let report = self.report(image, layers);
        match write(report, self.report_file()).await {
            Ok(()) => self.enter(Phase::Done, "the report is ready"),
            Err(e) => self.fail(storage("writing the report", &e)),
        }
    }

    fn target(&self, image: &Image) -> Target {
        Target {
            root: image.unpacked.root.clone(),
            state_file: image.unpacked.state_file.clone(),
            work: self.temporary_dir(),
            content_dir: self.content_dir(),
            results_dir: self.results_dir(),
            image: self.settings.image_name.clone(),
            env: image.unpacked.config.env.clone(),
            os: image.os.clone(),
            debian_architecture: told(&image.unpacked.platform).debian_architecture().to_owned(),
            package_database: image.database.clone(),
            packages: Arc::clone(&image.packages),
            memory_bytes: self.settings.memory_bytes,
            progress: self.progress.clone(),
        }
    }

    fn report(&self, image: &Image, layers: Vec<scap::report::LayerReport>) -> InspectionReport {
        let unpacked = &image.unpacked;
        InspectionReport {
            version: REPORT_VERSION,
            scan_id: self.settings.scan_id.clone(),
            digest: self.settings.image.digest.clone(),
            manifest_digest: unpacked.manifest_digest.clone(),
            media_type: unpacked.media_type.clone(),
            compressed_size_bytes: unpacked.compressed_bytes,
            unpacked_size_bytes: unpacked.unpacked_bytes,
            config: unpacked.config.clone(),
            os: image.os.clone(),
            package_database: image.database.clone(),
            packages: image.packages.to_vec(),
            layers,
            timings: Timings { pull_ms: unpacked.pull_ms, unpack_ms: unpacked.unpack_ms, packages_ms: image.packages_ms },
            warnings: unpacked.warnings.clone(),
            cut_files: unpacked.cut_files.clone(),
        }
    }

    /// Stops an evaluation under way; OpenSCAP's processes are gone when this returns.
    pub(crate) async fn stop(&self) {
        let evaluation = self.lock().evaluation.take();
        if let Some((_, task)) = evaluation {
            task.abort();
            let _ = task.await;
        }
    }

    fn enter(&self, phase: Phase, message: &str) {
        tracing::info!(?phase, "{message}");
        self.lock().phase = phase;
        self.progress.send_replace(message.to_owned());
    }

    fn fail(&self, failure: Failure) {
        tracing::error!(code = ?failure.code, "{}", failure.message);
        let message = failure.message.clone();
        {
            let mut state = self.lock();
            state.phase = Phase::Failed;
            state.failure = Some(failure);
        }
        self.progress.send_replace(message);
    }

    /// Nothing that panics runs under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes `what` as zstd of JSON.
async fn write(what: impl Serialize + Send + 'static, file: PathBuf) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        let mut out = zstd::Encoder::new(std::fs::File::create(file)?, 3)?;
        serde_json::to_writer(&mut out, &what)?;
        out.finish()?;
        Ok(())
    });
    written.await?
}

/// The image's platform, or this machine's for one that does not tell.
fn told(platform: &Platform) -> Platform {
    if platform.is_told() { platform.clone() } else { Platform::node() }
}

/// Waits for `work`; a panic in it becomes a failure, so that nobody waits for an end that never comes.
async fn survive(work: impl Future<Output = ()>) -> Result<(), Failure> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        failure(FailureCode::Internal, format!("The inspector failed while evaluating: {}.", words.unwrap_or("it gave no reason")))
    })
}

#[cfg(test)]
mod tests {
    use super::{FailureCode, survive};

    #[tokio::test]
    async fn a_panic_is_a_failure_that_can_be_told() {
        assert!(survive(async {}).await.is_ok());
        let number = 7;
        let failure = survive(async { panic!("layer {number}") }).await.unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::Internal, "The inspector failed while evaluating: layer 7."));
    }
}
