//! Measures vulnerabilities with feeds of real size: the memory in which a feed of 100 MB is indexed, and OpenSCAP's time and memory for one Debian system, on
//! the definitions that are chosen for it and, side by side, on the whole feed of 40,000.
//!
//! Reads TIDEWAITER_TEST_OVAL (.xml.bz2), TIDEWAITER_BENCH_FEED (the large one, .xml.bz2) and TIDEWAITER_BENCH_SYSTEM (a Debian system's root).

use anyhow::{Context as _, ensure};
use bzip2::bufread::MultiBzDecoder;
use nix::sys::resource::{UsageWho, getrusage};
use scap::feed::{Answers, Index, source_entries};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const GOAL_MIB: u64 = 256;
const GOAL: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let (feed, large, system) = (setting("TIDEWAITER_TEST_OVAL")?, setting("TIDEWAITER_BENCH_FEED")?, setting("TIDEWAITER_BENCH_SYSTEM")?);
    let (index, took) = indexed(&large)?;
    println!(
        "| indexing {:>6} definitions of a feed of 100 MB | {:>6.2} s | {:>5} MiB (goal {GOAL_MIB}) |",
        index.definitions(),
        took.as_secs_f64(),
        own_peak()?
    );
    drop(index);

    let (index, _) = indexed(&feed)?;
    let (_, packages) = inspector::packages::read(&system);
    ensure!(!packages.is_empty(), "{} has no packages", system.display());
    let begun = Instant::now();
    let selection = index.select(&packages, &Answers::default())?;
    println!(
        "| choosing {} of {} definitions for {} packages | {:>6.3} s | |",
        selection.definitions,
        index.definitions(),
        packages.len(),
        begun.elapsed().as_secs_f64()
    );

    let work = tempfile::tempdir()?;
    let root = work.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg"))?;
    let mut status = fs::read_to_string(system.join("var/lib/dpkg/status"))?;
    for entry in source_entries(&packages) {
        write!(status, "\nPackage: {}\nStatus: install ok installed\nArchitecture: all\nVersion: {}\n", entry.name, entry.version)?;
    }
    fs::write(root.join("var/lib/dpkg/status"), status)?;
    let chosen = work.path().join("chosen.xml");
    fs::write(&chosen, &selection.document)?;
    // The smaller one first: the peak is that of the largest child until then.
    let (took, peak) = evaluated(&chosen, &root)?;
    println!("| OpenSCAP on what was chosen | {:>6.2} s (goal {}) | {peak:>5} MiB (goal {GOAL_MIB}) |", took.as_secs_f64(), GOAL.as_secs());
    let whole = work.path().join("whole.xml");
    std::io::copy(&mut open(&feed)?, &mut File::create(&whole)?)?;
    let (took, peak) = evaluated(&whole, &root)?;
    println!("| OpenSCAP on the whole feed | {:>6.2} s | {peak:>5} MiB |", took.as_secs_f64());
    Ok(())
}

fn setting(name: &str) -> anyhow::Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set: run make bench"))
}

fn open(feed: &Path) -> anyhow::Result<MultiBzDecoder<BufReader<File>>> {
    Ok(MultiBzDecoder::new(BufReader::new(File::open(feed)?)))
}

fn indexed(feed: &Path) -> anyhow::Result<(Index, Duration)> {
    let begun = Instant::now();
    let index = Index::build(BufReader::with_capacity(64 << 10, open(feed)?))?;
    Ok((index, begun.elapsed()))
}

/// Peak memory of this process in MiB.
fn own_peak() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// Time of `oscap oval eval`, and the peak memory in MiB of the largest child so far.
fn evaluated(definitions: &Path, root: &Path) -> anyhow::Result<(Duration, u64)> {
    let begun = Instant::now();
    let mut oscap = Command::new("oscap");
    oscap.args(["oval", "eval", "--results"]).arg(definitions.with_extension("results")).arg(definitions).env("OSCAP_PROBE_ROOT", root);
    let status = oscap.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().context("starting oscap")?;
    ensure!(status.success(), "oscap ended with {status}");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok((begun.elapsed(), u64::try_from(peak)? >> 10))
}
