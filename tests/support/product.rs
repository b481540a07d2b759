//! The real product process on a database of its own, as an attacker meets it: its address, its login, and the most memory it took.

use super::eventually;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// The administrator's password.
pub const PASSWORD: &str = "correct horse battery";
const READY_WITHIN: Duration = Duration::from_secs(60);
/// An answer takes longer only when something is wrong.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A running `tidewaiter serve`. It ends when this is dropped.
pub struct Product {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// A client of the API and the pages, without login.
    pub client: Client,
    child: Child,
    folder: tempfile::TempDir,
    database: String,
    settings: Vec<(String, String)>,
}

impl Product {
    /// Starts one on the database of `pool`. `settings` are pairs such as `("SERVER__NAME", "second")`: variables without their prefix `TIDEWAITER__`.
    pub async fn start(pool: &PgPool, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("secret.key");
        std::fs::write(&key, hex::encode([7; 32])).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let database = pool.connect_options().to_url_lossy().to_string();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (format!("TIDEWAITER__{name}"), (*value).to_owned())).collect();
        let client = Client::builder().timeout(ANSWER_WITHIN).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let child = spawn(folder.path(), &database, &settings);
        let mut product = Self { url: String::new(), client, child, folder, database, settings };
        product.wait_until_ready().await;
        product
    }

    /// Kills the process and starts another on the same database, folder and settings; its address changes.
    pub async fn restart(&mut self) {
        self.child.kill().await.unwrap();
        self.child = spawn(self.folder.path(), &self.database, &self.settings);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let log = self.folder.path().join("stdout");
        let address = eventually("the server says that it is ready", READY_WITHIN, || async {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().find_map(|line| line.strip_prefix("Tidewaiter is ready: ")?.split_whitespace().next().map(str::to_owned))
        })
        .await;
        self.url = address;
    }

    /// The process; it is gone when this is `None`.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The most memory that the process has had, in MiB (`VmHWM`).
    pub fn peak_memory_mib(&self) -> u64 {
        let pid = self.pid().expect("the server runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    /// What the process has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// One call of the API as the administrator: the status, and the JSON answer (`null` when it is none).
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).basic_auth("admin", Some(PASSWORD));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Whether the server calls itself ready.
    pub async fn is_ready(&self) -> bool {
        self.client.get(format!("{}/readyz", self.url)).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

/// The program beside this test's own.
pub fn program() -> PathBuf {
    let path = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("tidewaiter");
    assert!(path.exists(), "{} is missing: run `make test`, which builds it", path.display());
    path
}

fn spawn(folder: &Path, database: &str, settings: &[(String, String)]) -> Child {
    let log = |name: &str| File::create(folder.join(name)).unwrap();
    Command::new(program())
        .arg("serve")
        .current_dir(folder)
        .env("DATABASE_URL", database)
        .env("TIDEWAITER_VAR", folder)
        .env("TIDEWAITER_ADMIN_PASSWORD", PASSWORD)
        .env("TIDEWAITER__SERVER__LISTEN", "127.0.0.1:0")
        .env("TIDEWAITER__SERVER__NAME", "test")
        .envs(settings.iter().cloned())
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log("stdout"))
        .stderr(log("stderr"))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
