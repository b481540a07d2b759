//! Times a full refresh of 2,000 pods (TIDEWAITER_BENCH_PODS) on the real API server at KUBECONFIG beside `curl` reading the same lists page by page, in one
//! run. Reads DATABASE_URL (makes and drops databases there).

use anyhow::{Context, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Request;
use inventory::{Auth, Connection, Inventory, Kind, Settings, provider};
use model::{Clock, Sealer};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "tidewaiter-bench";
const ROUNDS: usize = 3;
const PAGE: u32 = 500;
const IMAGES: usize = 200;
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(std::env::var("KUBECONFIG").context("KUBECONFIG")?)?;
    let connection = Connection::from_kubeconfig(&text, None)?;
    let count: usize = std::env::var("TIDEWAITER_BENCH_PODS").ok().map_or(Ok(2_000), |text| text.parse())?;
    let client = inventory::client(&connection).await?;
    let made = Instant::now();
    make_pods(&client, count).await?;
    println!("{count} pods of 2 containers, {IMAGES} images; made in {:.1} s", made.elapsed().as_secs_f64());
    let outcome = measure(&connection).await;
    request(&client, Request::delete(format!("/api/v1/namespaces/{NAMESPACE}")), Value::Null).await?;
    outcome
}

async fn measure(connection: &Connection) -> anyhow::Result<()> {
    let curl = Curl::new(connection)?;
    let (mut curled, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    // Starts the peak of the resident set anew: making the pods is not what is measured.
    std::fs::write("/proc/self/clear_refs", "5").ok();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        bytes = curl.read_all(connection)?;
        curled.push(started.elapsed());
        let (one, two) = refresh_twice(connection).await?;
        first.push(one);
        again.push(two);
    }
    let (curled, first, again) = (median(curled), median(first), median(again));
    let ratio = |time: Duration| time.as_secs_f64() / curled.as_secs_f64();
    println!("median of {ROUNDS} rounds, pages of {PAGE}, {:.1} MB", bytes as f64 / 1e6);
    println!("  {:<44} {:>7.2} s", "curl, the same lists page by page", curled.as_secs_f64());
    println!("  {:<44} {:>7.2} s   {:.2} x curl (goal: 1.5)", "Tidewaiter, first refresh into an empty database", first.as_secs_f64(), ratio(first));
    println!("  {:<44} {:>7.2} s   {:.2} x curl", "Tidewaiter, again with nothing changed", again.as_secs_f64(), ratio(again));
    println!("  {:<44} {:>7} MiB (goal: 256)", "peak resident memory", peak_kib()? / 1024);
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn peak_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// A database of its own, a first refresh, a second one.
async fn refresh_twice(connection: &Connection) -> anyhow::Result<(Duration, Duration)> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL")?;
    let name = format!("bench_refresh_{}", std::process::id());
    let mut admin = sqlx::PgConnection::connect(&url).await?;
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let mut own = url::Url::parse(&url)?;
    own.set_path(&name);
    let pool = model::database::connect(own.as_str(), 5).await?;
    model::MIGRATOR.run(&pool).await?;
    queue::setup(&pool).await?;
    let clock = Clock::default();
    let mut conn = pool.acquire().await?;
    let server = queue::server::register(&mut conn, &clock, "bench", "0").await?;
    let settings = Settings { page_size: PAGE, ..Settings::default() };
    let ctx = Inventory { pool: pool.clone(), clock: clock.clone(), sealer: Sealer::new(&[7; 32]), settings, server };
    let new = provider::NewProvider { name: "bench".into(), kind: Kind::Kubernetes, connection: connection.clone() };
    let (id, task) = provider::create(&mut conn, &clock, &ctx.sealer, "bench", &new).await?;
    let started = Instant::now();
    inventory::refresh(&ctx, id, Some(task)).await?;
    let first = started.elapsed();
    let task = queue::task::find(&mut conn, task).await?.context("the task is gone")?;
    if !task.message.starts_with("Found ") {
        bail!("the refresh failed: {}", task.message);
    }
    let started = Instant::now();
    inventory::refresh(&ctx, id, None).await?;
    let again = started.elapsed();
    drop(conn);
    pool.close().await;
    admin.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    Ok((first, again))
}

/// `curl` with the connection's login in files.
struct Curl {
    dir: PathBuf,
    arguments: Vec<String>,
}

impl Curl {
    fn new(connection: &Connection) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("tidewaiter-bench-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let file = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = dir.join(name);
            std::fs::write(&path, text)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let mut arguments = vec!["--silent".into(), "--fail".into(), "--cacert".into(), file("ca.pem", &connection.ca_pem)?];
        match &connection.auth {
            Auth::Token(token) => arguments.extend(["--header".into(), format!("Authorization: Bearer {token}")]),
            Auth::Basic { username, password } => arguments.extend(["--user".into(), format!("{username}:{password}")]),
            Auth::ClientCertificate { certificate_pem, key_pem, .. } => {
                arguments.extend(["--cert".into(), file("cert.pem", certificate_pem)?, "--key".into(), file("key.pem", key_pem)?]);
            }
        }
        Ok(Self { dir, arguments })
    }

    /// Reads namespaces, nodes and pods to the end; gives how many bytes came.
    fn read_all(&self, connection: &Connection) -> anyhow::Result<usize> {
        let mut bytes = 0;
        for list in ["namespaces", "nodes", "pods"] {
            let mut next = String::new();
            loop {
                let body = self.dir.join("page.json");
                let url = format!("{}/api/v1/{list}?limit={PAGE}&continue={next}", connection.server);
                let status = Command::new("curl").args(&self.arguments).arg("--output").arg(&body).arg(&url).status()?;
                if !status.success() {
                    bail!("curl {url}: {status}");
                }
                let (length, token) = token_of(&body)?;
                bytes += length;
                match token {
                    Some(token) => next = token,
                    None => break,
                }
            }
        }
        Ok(bytes)
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// The continue token stands near the start of a page: no parsing is charged to curl.
fn token_of(body: &Path) -> anyhow::Result<(usize, Option<String>)> {
    let text = std::fs::read(body)?;
    let start = String::from_utf8_lossy(&text[..text.len().min(2_000)]).into_owned();
    let token = start.split_once("\"continue\":\"").and_then(|(_, rest)| rest.split_once('"')).map(|(token, _)| token.to_owned());
    Ok((text.len(), token.filter(|token| !token.is_empty())))
}

async fn make_pods(client: &kube::Client, count: usize) -> anyhow::Result<()> {
    request(client, Request::post("/api/v1/namespaces"), json!({ "metadata": { "name": NAMESPACE } })).await?;
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default");
    while request(client, Request::get(&account), Value::Null).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    futures::stream::iter(0..count).map(|number| make_pod(client, number)).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// A pod that no scheduler takes, with the status that a running one has.
async fn make_pod(client: &kube::Client, number: usize) -> anyhow::Result<()> {
    let name = format!("bench-{number}");
    let image = |container: usize| format!("registry.example.org/team-{}/app-{}", number % 20, (number * 2 + container) % IMAGES);
    let container = |container: usize| {
        json!({
            "name": format!("c{container}"), "image": format!("{}:1", image(container)), "args": ["--listen", "0.0.0.0:8080"],
            "env": (0..10).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "some value of an ordinary length" })).collect::<Vec<_>>(),
            "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
        })
    };
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": format!("app-{}", number % IMAGES), "tier": "bench" } },
        "spec": { "schedulerName": "nobody", "containers": [container(0), container(1)] },
    });
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    request(client, Request::post(&pods), pod).await?;
    let status = |container: usize| {
        json!({
            "name": format!("c{container}"), "image": format!("{}:1", image(container)), "ready": true, "restartCount": 0, "started": true,
            "imageID": format!("{}@sha256:{:064x}", image(container), (number * 2 + container) % IMAGES),
            "containerID": format!("containerd://{number:064x}"), "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
        })
    };
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let statuses = [status(0), status(1)];
    let patch = json!({ "status": { "phase": "Running", "podIP": "10.0.0.1", "containerStatuses": statuses, "conditions": conditions } });
    let request_status = Request::patch(format!("{pods}/{name}/status")).header("content-type", "application/merge-patch+json");
    request(client, request_status, patch).await?;
    Ok(())
}

async fn request(client: &kube::Client, builder: http::request::Builder, body: Value) -> anyhow::Result<Value> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body)? };
    Ok(client.request(builder.body(body)?).await?)
}
