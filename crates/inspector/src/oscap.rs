//! Running OpenSCAP on an unpacked image as an ordinary user, and turning what it says into a layer of the report.
//!
//! OpenSCAP is not trusted to end, to stay small, or to admit what it could not do: it runs in a process group of its own under limits, and what it needs is
//! checked before and after.

mod answers;
mod command;
mod html;
mod prepare;
mod process;
#[cfg(test)]
mod tests;
mod verdict;

use crate::packages;
pub use answers::answer;
use anyhow::Context as _;
use process::{Ended, Limits};
use scap::evaluation::{ArfError, Evaluation};
use scap::feed::SourceEntry;
use scap::protocol::{Chosen, Request, Source};
use scap::report::{Layer, LayerReport, LayerState, OperatingSystem, Package, PackageDatabase, PackageKind};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Where the streams of the SCAP Security Guide lie in the inspector's image.
const BAKED_CONTENT: &str = "/usr/share/tidewaiter/ssg";

/// An unpacked image, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Target {
    /// The image's root; its links never lead out of it.
    pub root: PathBuf,
    /// fakeroot's state: owners and modes of the files in `root`.
    pub state_file: PathBuf,
    /// For temporary files of an evaluation.
    pub work: PathBuf,
    /// Content files, each named by the SHA-256 of its bytes.
    pub content_dir: PathBuf,
    /// Gets `{layer}.arf.zst` and `{layer}.html.zst`.
    pub results_dir: PathBuf,
    /// `registry/name@sha256:…`, written into the result.
    pub image: String,
    /// The image's environment, `NAME=VALUE` each.
    pub env: Vec<String>,
    pub os: Option<OperatingSystem>,
    /// The image's in the words of Debian's packages, for one whose packages do not tell it.
    pub debian_architecture: String,
    pub package_database: PackageDatabase,
    /// What is installed, as `package_database` tells.
    pub packages: Arc<[Package]>,
    /// The memory of the container, of which OpenSCAP gets a part; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Told in words how far the evaluation is.
    pub progress: watch::Sender<String>,
}

/// Evaluates one layer. It never fails as a whole: what goes wrong is the layer's state and reason.
///
/// Writes the raw result (an ARF, or OVAL results) and, when it can be made, the HTML report to `target.results_dir`.
pub async fn evaluate(request: &Request, target: &Target) -> LayerReport {
    let started = Instant::now();
    let mut report = LayerReport {
        layer: request.layer,
        state: LayerState::Failed,
        reason: String::new(),
        profile: request.profile.clone(),
        content: request.title.clone(),
        rules: Vec::new(),
        has_arf: false,
        has_html: false,
        html_reason: String::new(),
        duration_ms: 0,
        definitions: request.chosen.as_ref().map(|chosen| chosen.definitions),
    };
    match obstacle(request, target) {
        Some((state, reason)) => (report.state, report.reason) = (state, reason),
        None if request.source.is_none() => (report.state, report.reason) = verdict::unconcerned(request.chosen.as_ref()),
        None => {
            if let Err(e) = run(request, target, &mut report).await {
                tracing::warn!(layer = request.layer.as_str(), "evaluation failed: {e:#}");
                report.reason = format!("The evaluation could not be run: {e:#}.");
            }
        }
    }
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    report
}

/// Why `request` must not be run at all.
fn obstacle(request: &Request, target: &Target) -> Option<(LayerState, String)> {
    let nothing_concerns_it = request.chosen.as_ref().is_some_and(|chosen| chosen.definitions.evaluated == 0);
    let unreliable = unreliable(request, &target.package_database).map(|reason| (LayerState::NotPossible, reason));
    // From a database that cannot be read the server got an empty list, which is no reason for anything.
    if request.source.is_some() || nothing_concerns_it || matches!(target.package_database, PackageDatabase::Unreadable { .. }) && unreliable.is_some() {
        return unreliable;
    }
    let reason = if request.reason.is_empty() { "There is no content for this image." } else { &request.reason };
    Some((LayerState::NotCovered, reason.to_owned()))
}

/// Why content that looks at packages would judge them wrongly.
fn unreliable(request: &Request, database: &PackageDatabase) -> Option<String> {
    if request.needs_packages.is_empty() {
        return None;
    }
    match database {
        PackageDatabase::Read { paths } => unsuitable(&request.needs_packages, paths),
        PackageDatabase::Absent => Some(
            "The image has no package database (dpkg, rpm or apk), and this content checks packages: without one, every check would seem to pass.".to_owned(),
        ),
        PackageDatabase::Unreadable { path, reason } => {
            Some(format!("The package database /{path} cannot be read ({reason}), and this content checks packages: every check would seem to pass."))
        }
    }
}

/// Why content that looks at packages of the kinds `needed` cannot judge the databases at `paths`.
fn unsuitable(needed: &[PackageKind], paths: &[String]) -> Option<String> {
    let fitting: Vec<&String> = paths.iter().filter(|path| needed.contains(&packages::kind(path))).collect();
    let Some(path) = fitting.first() else {
        let needed: Vec<&str> = needed.iter().map(|kind| kind.as_str()).collect();
        return Some(format!(
            "The image's packages are in /{}, but this content checks packages of the kind {}: without them, every check would seem to pass.",
            paths.join(" and /"),
            needed.join(" or ")
        ));
    };
    if packages::kind(path) == PackageKind::Apk {
        return Some("The image's packages are apk's, which OpenSCAP cannot read: every check of them would seem to pass.".to_owned());
    }
    None
}

async fn run(request: &Request, target: &Target, report: &mut LayerReport) -> anyhow::Result<()> {
    let Some(source) = &request.source else { return Ok(()) };
    let workspace = command::Workspace::new(target).context("preparing the work folder")?;
    let _sources = prepare::complete(&target.root, &target.package_database, &sources(request, target)).context("preparing the image's root")?;
    let content = content_path(source, target);
    anyhow::ensure!(content.is_file(), "its content is missing");
    let invocation = command::evaluation(request, source, &content, target, &workspace);
    let limits = Limits { wall: Duration::from_secs(request.limit_secs.max(1)) };
    let layer = request.layer;
    let progress = target.progress.clone();
    let mut evaluated = 0u32;
    let ended = process::run(invocation, &workspace.home, limits, verdict::is_trouble, move |line| {
        if verdict::is_progress(line) {
            evaluated += 1;
            progress.send_replace(format!("{}: {evaluated} rules", layer.as_str()));
        }
    })
    .await?;
    if let Err(reason) = verdict::judge(request, &ended) {
        report.reason = reason;
        return Ok(());
    }
    match read_result(request, source, &workspace.result).await? {
        Ok(mut evaluation) => {
            if layer == Layer::Benchmark {
                crate::facts::explain(&target.root, &mut evaluation.rules);
            }
            accept(evaluation, request.chosen.as_ref(), &ended, report);
        }
        Err(e) => {
            report.reason = format!("OpenSCAP ended well but its result cannot be used: {e}.");
            return Ok(());
        }
    }
    store(request, source, target, &workspace, report).await
}

/// The source packages that vulnerability definitions may name. Other content must not see them: it would find packages that nobody installed.
fn sources(request: &Request, target: &Target) -> Vec<SourceEntry> {
    if request.layer == Layer::Vulnerabilities { scap::feed::source_entries(&target.packages) } else { vec![] }
}

/// Where the content lies. Both names come from the server: neither may be a path.
fn content_path(source: &Source, target: &Target) -> PathBuf {
    let name = |name: &str| Path::new(name).file_name().unwrap_or_default().to_owned();
    match source {
        Source::DataStream { sha256 } | Source::Oval { sha256 } => target.content_dir.join(name(sha256)),
        Source::Baked { file } => Path::new(BAKED_CONTENT).join(name(file)),
    }
}

async fn read_result(request: &Request, source: &Source, path: &Path) -> anyhow::Result<Result<Evaluation, ArfError>> {
    let (path, oval, chosen) = (path.to_owned(), matches!(source, Source::Oval { .. }), request.chosen.is_some());
    tokio::task::spawn_blocking(move || {
        let input = BufReader::with_capacity(1 << 16, File::open(&path).context("opening OpenSCAP's result")?);
        Ok(match (oval, chosen) {
            (true, true) => scap::oval::parse_found(input),
            (true, false) => scap::oval::parse(input),
            (false, _) => scap::arf::parse(input),
        })
    })
    .await?
}

fn accept(evaluation: Evaluation, chosen: Option<&Chosen>, ended: &Ended, report: &mut LayerReport) {
    (report.state, report.reason) = verdict::state(report.layer, &evaluation, chosen, &ended.stderr);
    if let (Some(definitions), Some(_)) = (&mut report.definitions, chosen) {
        definitions.passed = u32::try_from(evaluation.left_out.passed).unwrap_or(u32::MAX);
        definitions.not_applicable = u32::try_from(evaluation.left_out.not_applicable).unwrap_or(u32::MAX);
    }
    if !evaluation.title.is_empty() {
        report.content = evaluation.title;
    }
    if !evaluation.profile.is_empty() {
        report.profile = evaluation.profile;
    }
    report.rules = evaluation.rules;
}

/// Keeps the raw result first; only then is the HTML tried, whose failure costs nothing else.
async fn store(request: &Request, source: &Source, target: &Target, workspace: &command::Workspace, report: &mut LayerReport) -> anyhow::Result<()> {
    let layer = request.layer;
    match compress(workspace.result.clone(), stored(target, layer, "arf")).await {
        Ok(()) => report.has_arf = true,
        Err(e) => tracing::warn!("the raw result could not be kept: {e:#}"),
    }
    target.progress.send_replace(format!("{}: report", layer.as_str()));
    let made = html::make(source, report.rules.len(), target, workspace).await;
    let kept = match made {
        Ok(page) => compress(page, stored(target, layer, "html")).await.map_err(|e| format!("{e:#}")),
        Err(reason) => Err(reason),
    };
    match kept {
        Ok(()) => report.has_html = true,
        Err(reason) => report.html_reason = reason,
    }
    Ok(())
}

fn stored(target: &Target, layer: Layer, kind: &str) -> PathBuf {
    target.results_dir.join(format!("{}.{kind}.zst", layer.as_str()))
}

/// Writes `from` as zstd to `to`, which appears only when it is whole.
async fn compress(from: PathBuf, to: PathBuf) -> anyhow::Result<()> {
    const LEVEL: i32 = 3;
    tokio::task::spawn_blocking(move || {
        let partial = to.with_extension("partial");
        zstd::stream::copy_encode(File::open(&from)?, File::create(&partial)?, LEVEL)?;
        std::fs::rename(&partial, &to)
    })
    .await?
    .context("compressing a result")
}
