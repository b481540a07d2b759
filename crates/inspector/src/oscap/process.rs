//! Running a program that may hang, flood or leave others behind.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Command;

/// Most bytes kept of what a program says on stderr; the rest is read and dropped.
const MAX_STDERR_BYTES: usize = 64 << 10;
/// Longest line of stdout that is looked at.
const MAX_LINE_BYTES: u64 = 4 << 10;
/// Between the polite and the hard end.
const GRACE: Duration = Duration::from_secs(2);

/// Limits of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) wall: Duration,
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Exited(i32),
    /// Ended by this signal (of its own doing, the kernel's, or somebody's).
    Signaled(i32),
    /// Ended by us when its time was over.
    TimedOut,
}

/// A run that is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) run: Run,
    /// The first part of what it said on stderr.
    pub(super) stderr: String,
    /// The first lines of all of stderr that `Signs` asked for.
    pub(super) seen: Vec<String>,
}

/// Whether a line of stderr must not be missed, however much there is of it.
pub(super) type Signs = fn(&str) -> bool;

/// Runs `command` in a process group of its own, tells `on_line` each line of its stdout, and ends it when its time is over.
///
/// `home` is the program's `HOME`, a folder that no other program has: processes that escaped the group (fakeroot's daemon) are found by it and ended too,
/// however the run ends, also when this future is dropped.
///
/// # Errors
/// It could not be started.
pub(super) async fn run(mut command: Command, home: &Path, limits: Limits, signs: Signs, on_line: impl FnMut(&str) + Send + 'static) -> anyhow::Result<Ended> {
    let temporary = Temporary::watch();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true).spawn()?;
    let group = Group { leader: child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw), home: home.to_owned() };
    let lines = tokio::spawn(read_lines(child.stdout.take(), on_line));
    let stderr = tokio::spawn(read_stderr(child.stderr.take(), signs));
    let run = match tokio::time::timeout(limits.wall, child.wait()).await {
        Ok(status) => how(status?),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
            Run::TimedOut
        }
    };
    drop(group);
    // Nothing holds the pipes any more, unless something got away; then what was read so far must do.
    let _ = tokio::time::timeout(GRACE, lines).await;
    let (stderr, seen) = tokio::time::timeout(GRACE, stderr).await.ok().and_then(Result::ok).unwrap_or_default();
    drop(temporary);
    Ok(Ended { run, stderr, seen })
}

/// The shells between us and oscap tell a signal as 128 + its number.
fn how(status: ExitStatus) -> Run {
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => Run::Signaled(code - 128),
        (Some(code), _) => Run::Exited(code),
        (None, Some(signal)) => Run::Signaled(signal),
        (None, None) => Run::Exited(1),
    }
}

/// A process group and what escaped from it; dropped, all of it is ended.
struct Group {
    leader: Option<Pid>,
    home: PathBuf,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _ = killpg(leader, signal); // ESRCH: it is over already
        }
        for stray in strays(&self.home) {
            let _ = kill(stray, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // fakeroot's daemon removes its message queues when asked politely; the rest had its chance.
        for stray in strays(&self.home) {
            let _ = kill(stray, Signal::SIGTERM);
        }
        if let Some(leader) = self.leader {
            let _ = killpg(leader, Signal::SIGKILL);
        }
        for stray in strays(&self.home) {
            if !is_daemon(stray) {
                let _ = kill(stray, Signal::SIGKILL);
            }
        }
    }
}

/// fakeroot's daemon, which ends on SIGTERM and must, since a killed one leaves message queues behind.
fn is_daemon(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("faked"))
}

/// Processes whose `HOME` is `home`.
fn strays(home: &Path) -> Vec<Pid> {
    let wanted = [b"HOME=", home.as_os_str().as_bytes()].concat();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .filter(|pid| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.split(|byte| *byte == 0).any(|variable| variable == wanted)))
        .collect()
}

async fn read_lines(stream: Option<impl AsyncRead + Unpin>, mut on_line: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => on_line(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

async fn read_stderr(stream: Option<impl AsyncRead + Unpin>, signs: Signs) -> (String, Vec<String>) {
    const MAX_SEEN: usize = 8;
    let (mut kept, mut seen) = (String::new(), Vec::new());
    read_lines(stream, |line| {
        if kept.len() + line.len() < MAX_STDERR_BYTES {
            kept.push_str(line);
            kept.push('\n');
        }
        if seen.len() < MAX_SEEN && signs(line) {
            seen.push(line.to_owned());
        }
    })
    .await;
    (kept, seen)
}

/// Removes the folders `/tmp/oscap.*` that a killed oscap leaves (it does not heed `TMPDIR`).
///
/// Only what is ours and appeared during the run, and only when no other run of this process goes on, whose folder it might be.
struct Temporary {
    before: HashSet<PathBuf>,
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);

impl Temporary {
    fn watch() -> Self {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Self { before: folders().collect() }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if RUNNING.fetch_sub(1, Ordering::SeqCst) == 1 {
            for left in folders().filter(|folder| !self.before.contains(folder)) {
                let _ = fs::remove_dir_all(left);
            }
        }
    }
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let ours = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir("/tmp").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_bytes().starts_with(b"oscap."))
        .filter(move |entry| entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == ours))
        .map(|entry| entry.path())
}
