//! A Postgres of our own, for who has none: found on the machine, run over a unix socket in a directory that only its user may enter.

mod place;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use place::Place;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Child;
use tokio::sync::watch;

const DATABASE: &str = "tidewaiter";
/// Recovery after a crash may take a while.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(4);
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// The private Postgres, running.
pub struct Private {
    place: Place,
    /// `None`: it ran already.
    child: Option<Child>,
}

/// Makes the private Postgres run: initialises it on the first start, takes over one that runs already.
///
/// # Errors
/// None is installed (the message names the packages), or it does not start (with the end of its log).
pub async fn start(private_dir: &Path) -> anyhow::Result<Private> {
    let place = Place::prepare(private_dir)?;
    // Two starts at once (a server and a command) wait for each other.
    let lock = locked(&place.dir.join("start.lock")).await?;
    initialise(&place).await?;
    let child = if running(&place).await? { None } else { Some(spawn(&place)?) };
    let mut private = Private { place, child };
    private.wait_until_ready().await?;
    make_database(&private.place).await?;
    drop(lock);
    Ok(private)
}

async fn locked(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let waiting = file.try_clone()?;
    tokio::task::spawn_blocking(move || waiting.lock()).await?.with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

async fn initialise(place: &Place) -> anyhow::Result<()> {
    if place.data().join("PG_VERSION").exists() {
        return Ok(());
    }
    tracing::info!(dir = %place.dir.display(), "initialising the private Postgres");
    // A first start that was interrupted leaves a directory that initdb would refuse.
    if place.data().exists() {
        fs::remove_dir_all(place.data()).context("removing an unfinished database")?;
    }
    let mut initdb = place.command("initdb");
    initdb.args(["--username", DATABASE, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "-D"]).arg(place.data());
    let output = initdb.output().await.context("running initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Whether a postmaster of this directory lives, for example one that a killed server left behind.
async fn running(place: &Place) -> anyhow::Result<bool> {
    let Some(pid) = place.postmaster().context("looking for a Postgres that runs already")? else { return Ok(false) };
    tracing::debug!(pid = pid.as_raw(), "the private Postgres runs already");
    Ok(true)
}

fn spawn(place: &Place) -> anyhow::Result<Child> {
    let path = place.dir.join("postgres.log");
    if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::remove_file(&path).context("removing an overlong log")?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
    let mut postgres = place.command("postgres");
    postgres.arg("-D").arg(place.data()).arg("-k").arg(&place.dir);
    for setting in ["listen_addresses=", "unix_socket_permissions=0700", "max_connections=100", "shared_buffers=64MB", "password_encryption=scram-sha-256"] {
        postgres.arg("-c").arg(setting);
    }
    // In a process group of its own, so that Ctrl-C reaches only the server, which then stops it in order.
    postgres.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    postgres.spawn().context("starting postgres")
}

async fn make_database(place: &Place) -> anyhow::Result<()> {
    let mut conn = connect(place, "postgres").await?;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)").bind(DATABASE).fetch_one(&mut conn).await?;
    if !exists {
        sqlx::query("CREATE DATABASE tidewaiter").execute(&mut conn).await.context("creating the database")?;
    }
    conn.close().await?;
    Ok(())
}

async fn connect(place: &Place, database: &str) -> sqlx::Result<PgConnection> {
    PgConnection::connect_with(&PgConnectOptions::new_without_pgpass().socket(&place.dir).username(DATABASE).database(database)).await
}

impl Private {
    /// Its address, over the socket.
    pub fn url(&self) -> String {
        let dir: String = url_encoded(&self.place.dir.to_string_lossy());
        format!("postgres://{DATABASE}@localhost/{DATABASE}?host={dir}")
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let error = match connect(&self.place, "postgres").await {
                Ok(conn) => return conn.close().await.context("trying the private Postgres"),
                Err(error) => error,
            };
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("postgres ended at once ({status}); the end of its log:\n{}", self.place.log_end());
            }
            if Instant::now() > deadline {
                bail!("postgres did not answer within {} seconds ({error}); the end of its log:\n{}", START_WITHIN.as_secs(), self.place.log_end());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// For a command: leaves it running when it ran before.
    pub async fn stop_if_started(self) {
        if self.child.is_some() {
            self.stop().await;
        }
    }

    /// For the server: starts it again whenever it dies, until `stop`; then stops it. A second server on the same directory leaves that to the first.
    pub async fn supervise(mut self, stop: watch::Receiver<bool>) {
        let path = self.place.dir.join("server.lock");
        let lock = File::create(&path).ok().filter(|file| file.try_lock().is_ok());
        if lock.is_none() {
            tracing::warn!("another server owns the private Postgres; it will be stopped with that one");
            return crate::jobs::stopped(stop).await;
        }
        loop {
            tokio::select! {
                () = self.died() => {}
                () = crate::jobs::stopped(stop.clone()) => return self.stop().await,
            }
            tracing::error!(log = self.place.log_end(), "the private Postgres died; it starts again");
            match spawn(&self.place) {
                Ok(child) => self.child = Some(child),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the private Postgres cannot be started"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn died(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.wait().await
        {
            tracing::warn!(%error, "the private Postgres cannot be waited for; its process is looked at instead");
        }
        // What cannot be found out is no death.
        while !matches!(self.place.postmaster(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Fast shutdown (open transactions are rolled back); after four seconds an immediate one, which costs a recovery at the next start.
    async fn stop(mut self) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            let Ok(Some(pid)) = self.place.postmaster() else { return };
            if let Err(error) = kill(pid, signal) {
                tracing::warn!(%error, "the private Postgres cannot be signalled");
            }
            if tokio::time::timeout(STOP_WITHIN, self.died()).await.is_ok() {
                return;
            }
        }
        tracing::error!("the private Postgres did not stop");
    }
}

/// Everything but letters and digits as %XX.
fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Whether the process `pid` is a postgres that lives: where nobody waits for orphans, a dead one stays as a zombie.
///
/// Source: proc(5), `/proc/pid/stat`: number, (name), state.
fn is_postgres(pid: Pid) -> io::Result<bool> {
    let Some(stat) = present(fs::read_to_string(format!("/proc/{pid}/stat")))? else { return Ok(false) };
    let Some((start, rest)) = stat.rsplit_once(')') else { return Ok(false) };
    Ok((start.ends_with("(postgres") || start.ends_with("(postmaster")) && !rest.trim_start().starts_with(['Z', 'X']))
}

/// `None` only when there is no such file, or its process has gone.
fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::Error::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
