//! Where the private Postgres lies, which programs run it, and as whom.

use anyhow::{Context, bail};
use nix::unistd::{Gid, Pid, Uid, User, chown};
use std::cmp::Reverse;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What is missing, and what to do.
const MISSING: &str = "no Postgres is installed here. Install one (Debian, Ubuntu: apt install postgresql; Fedora, RHEL: dnf install postgresql-server), or set DATABASE_URL to one that runs elsewhere";
/// A socket's whole path has at most 107 bytes, its name 14.
const SOCKET_DIR_BYTES_MAX: usize = 90;

/// A directory for data, socket and log, and how to run programs there.
#[derive(Debug, Clone)]
pub struct Place {
    pub dir: PathBuf,
    bin: PathBuf,
    /// Postgres refuses to run as root.
    user: Option<(Uid, Gid)>,
}

impl Place {
    /// Finds the programs and makes the directory.
    ///
    /// # Errors
    /// No Postgres, no user to run it as, or no directory.
    pub fn prepare(private_dir: &Path) -> anyhow::Result<Self> {
        let bins = installed(&["/usr/lib/postgresql", "/usr/pgsql"]);
        let user = unprivileged()?;
        let dir = reachable_dir(private_dir, user)?;
        let bin = matching(&bins, &dir)?;
        Ok(Self { dir, bin, user })
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One of Postgres' programs, as the user that owns the directory, without our environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
        if let Some((uid, gid)) = self.user {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// The postmaster of this directory, when one lives.
    ///
    /// # Errors
    /// Nobody can tell: for example no file can be opened at the moment.
    pub fn postmaster(&self) -> io::Result<Option<Pid>> {
        let Some(text) = super::present(fs::read_to_string(self.data().join("postmaster.pid")))? else { return Ok(None) };
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).map(Pid::from_raw);
        let Some(pid) = pid else { return Ok(None) };
        Ok(super::is_postgres(pid)?.then_some(pid))
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let text = fs::read(self.dir.join("postgres.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

/// Directories with `initdb` and `postgres`, with their major version, newest first. Debian: /usr/lib/postgresql/15/bin; RHEL: /usr/pgsql-16/bin, or /usr/bin.
pub(super) fn installed(roots: &[&str]) -> Vec<(u32, PathBuf)> {
    let mut found = vec![];
    for root in roots.iter().map(Path::new) {
        let (Some(parent), Some(name)) = (root.parent(), root.file_name().and_then(|name| name.to_str())) else { continue };
        let inside = list(root).into_iter().filter_map(|dir| Some((dir.file_name()?.to_str()?.parse().ok()?, dir.join("bin"))));
        let beside =
            list(parent).into_iter().filter_map(|dir| Some((dir.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?, dir.join("bin"))));
        found.extend(inside.chain(beside));
        if roots.first() == Some(&"/usr/lib/postgresql") {
            found.push((0, PathBuf::from("/usr/bin")));
        }
    }
    found.retain(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists());
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.dedup();
    found
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// The programs of the version that wrote the data, or the newest for new data.
pub(super) fn matching(bins: &[(u32, PathBuf)], dir: &Path) -> anyhow::Result<PathBuf> {
    let (newest, newest_bin) = bins.first().context(MISSING)?;
    let Ok(text) = fs::read_to_string(dir.join("data/PG_VERSION")) else { return Ok(newest_bin.clone()) };
    let version: u32 = text.trim().parse().with_context(|| format!("{} does not hold a version", dir.join("data/PG_VERSION").display()))?;
    // 0: programs in /usr/bin, whose version only they know; they refuse data of another.
    match bins.iter().find(|(found, _)| *found == version || *found == 0) {
        Some((_, bin)) => Ok(bin.clone()),
        None => bail!(
            "the data in {} is of Postgres {version}, but only Postgres {newest} is installed. Install postgresql-{version}, or move the data by pg_upgrade",
            dir.display()
        ),
    }
}

/// Nobody else when we are not root; otherwise the user that the Postgres packages make.
fn unprivileged() -> anyhow::Result<Option<(Uid, Gid)>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres").context("looking for the user postgres")?;
    let user = user.with_context(|| format!("Postgres does not run as root, and there is no user `postgres`: {MISSING}"))?;
    Ok(Some((user.uid, user.gid)))
}

/// `wanted`, or a directory under /var/lib (as root) or /tmp when the path is too long for a socket or passes through directories that Postgres' user cannot enter.
fn reachable_dir(wanted: &Path, user: Option<(Uid, Gid)>) -> anyhow::Result<PathBuf> {
    make(wanted, user)?;
    let wanted = fs::canonicalize(wanted)?;
    let long = wanted.as_os_str().len() > SOCKET_DIR_BYTES_MAX;
    if !long && can_enter(&wanted, user)? {
        return Ok(wanted);
    }
    let base = if user.is_some() { "/var/lib" } else { "/tmp" };
    let other = PathBuf::from(format!("{base}/tidewaiter-{:016x}", fnv1a(wanted.as_os_str().as_encoded_bytes())));
    let why = if long { "its path is too long for a socket" } else { "the user postgres cannot enter it" };
    tracing::warn!(wanted = %wanted.display(), used = %other.display(), "the private Postgres lies elsewhere than asked: {why}");
    make(&other, user)?;
    Ok(other)
}

fn make(dir: &Path, user: Option<(Uid, Gid)>) -> anyhow::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    if !dir.is_dir() {
        DirBuilder::new().mode(0o700).create(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    if let Some((uid, gid)) = user {
        chown(dir, Some(uid), Some(gid)).with_context(|| format!("giving {} to the user postgres", dir.display()))?;
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).with_context(|| format!("closing {} to others", dir.display()))
}

/// Tried as that user, because access lists and mounts decide, too.
fn can_enter(dir: &Path, user: Option<(Uid, Gid)>) -> anyhow::Result<bool> {
    use std::os::unix::process::CommandExt;
    let mut test = std::process::Command::new("/bin/sh");
    test.args(["-c", "cd -- \"$0\" 2>/dev/null"]).arg(dir).current_dir("/");
    if let Some((uid, gid)) = user {
        test.uid(uid.as_raw()).gid(gid.as_raw());
    }
    Ok(test.status().context("running /bin/sh")?.success())
}

/// The same for the same path in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
