//! Splits the wall time of analyses of one real Debian image on the real cluster into their steps. The first of them also makes the node pull the inspector.
//! Reads DATABASE_URL (makes and drops a database there), KUBECONFIG, TIDEWAITER_TEST_REGISTRY (where `samples/debian-main:1` is), TIDEWAITER_TEST_INSPECTOR
//! and TIDEWAITER_TEST_OVAL.

use anyhow::{Context as _, ensure};
use inventory::provider::{self, NewProvider};
use inventory::{Connection, Kind};
use model::ids::{ImageId, ProviderId};
use model::{Clock, Sealer};
use serde_json::Value;
use smartstate::{ContentSettings, Feed, Settings, SmartState};
use sqlx::{Connection as _, Executor as _, PgPool};
use std::time::{Duration, Instant};

const SAMPLE: &str = "samples/debian-main";
const ROUNDS: usize = 3;
const GIVE_UP: Duration = Duration::from_secs(300);
/// The steps in order, with what names them in `scans.timings`.
const STEPS: [(&str, &str); 12] = [
    ("waiting for its turn", "waiting"),
    ("making the pod", "pod_create"),
    ("pod start", "pod_start"),
    ("pull", "pull"),
    ("unpack", "unpack"),
    ("packages and operating system", "packages"),
    ("choosing vulnerability definitions", "choose"),
    ("oscap: Tidewaiter image benchmark", "benchmark"),
    ("oscap: SCAP Security Guide", "guide"),
    ("oscap: vulnerability definitions", "vulnerabilities"),
    ("fetch", "fetch"),
    ("save", "save"),
];
/// Those that any way of doing it would need.
const NEEDED: [&str; 5] = ["pull", "unpack", "benchmark", "guide", "vulnerabilities"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = setting("DATABASE_URL")?;
    let name = format!("bench_scan_{}", std::process::id());
    let mut admin = sqlx::PgConnection::connect(&url).await?;
    admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let mut own = url::Url::parse(&url)?;
    own.set_path(&name);
    let outcome = measure(own.as_str()).await;
    admin.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    outcome
}

fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run make bench"))
}

async fn measure(url: &str) -> anyhow::Result<()> {
    let pool = model::database::connect(url, 20).await?;
    model::MIGRATOR.run(&pool).await?;
    queue::setup(&pool).await?;
    let (clock, sealer) = (Clock::default(), Sealer::new(&[7; 32]));
    let registry = setting("TIDEWAITER_TEST_REGISTRY")?;
    let connection = Connection::from_kubeconfig(&std::fs::read_to_string(setting("KUBECONFIG")?)?, None)?;
    let mut conn = pool.acquire().await?;
    let server = queue::server::register(&mut conn, &clock, "bench", "0").await?;
    let new = NewProvider { name: "bench".into(), kind: Kind::Kubernetes, connection };
    let (provider, _) = provider::create(&mut conn, &clock, &sealer, "bench", &new).await?;
    drop(conn);
    let image = image(&pool, &clock, provider, &registry).await?;
    let settings = Settings {
        namespace: "tidewaiter-bench-scan".into(),
        inspector_image: setting("TIDEWAITER_TEST_INSPECTOR")?,
        plain_http_registries: vec![registry],
        ..Settings::default()
    };
    let feed = Feed { id: "debian".into(), version: "12".into(), location: setting("TIDEWAITER_TEST_OVAL")?, ..Feed::default() };
    let content = ContentSettings { vulnerability_feeds: vec![feed], ..ContentSettings::default() };
    let smartstate = SmartState::new(pool.clone(), clock.clone(), sealer, settings, content, server, "bench".into());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(smartstate::work(smartstate, async {
        stopped.await.ok();
    }));
    let mut scans = Vec::new();
    for _ in 0..=ROUNDS {
        scans.push(analyse(&pool, &clock, image).await?);
    }
    stop.send(()).ok();
    running.await?;
    pool.close().await;
    print(&scans);
    Ok(())
}

/// The sample as the inventory knows one that runs.
async fn image(pool: &PgPool, clock: &Clock, provider: ProviderId, registry: &str) -> anyhow::Result<ImageId> {
    let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
    let answer = reqwest::Client::new().head(format!("http://{registry}/v2/{SAMPLE}/manifests/1")).header("accept", accept).send().await?.error_for_status()?;
    let digest = answer.headers().get("docker-content-digest").context("the registry tells no digest")?.to_str()?.to_owned();
    let registry: i64 = sqlx::query_scalar("INSERT INTO image_registries (provider_id, host, name, first_seen_at) VALUES ($1, $2, $2, $3) RETURNING id")
        .bind(provider)
        .bind(registry)
        .bind(clock.now())
        .fetch_one(pool)
        .await?;
    let image = sqlx::query_scalar(
        "INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at) VALUES ($1, $2, $3, '1', $4, $5, $5)
         RETURNING id",
    );
    Ok(image.bind(provider).bind(registry).bind(SAMPLE).bind(digest).bind(clock.now()).fetch_one(pool).await?)
}

/// From the request to the end, pod removed: wall time and the timings of the steps, in milliseconds.
async fn analyse(pool: &PgPool, clock: &Clock, image: ImageId) -> anyhow::Result<(i64, Value)> {
    let begun = Instant::now();
    let mut tx = pool.begin().await?;
    let accepted = smartstate::request(&mut tx, clock, "bench", &[image]).await?;
    tx.commit().await?;
    let scan = accepted.images.first().context("the image is gone")?.scan;
    loop {
        let (state, outcome, message, timings): (String, Option<String>, String, Value) =
            sqlx::query_as("SELECT state, outcome, message, timings FROM scans WHERE id = $1").bind(scan).fetch_one(pool).await?;
        if state == "finished" {
            ensure!(outcome.as_deref() == Some("ok"), "the scan ended with {outcome:?}: {message}");
            return Ok((i64::try_from(begun.elapsed().as_millis())?, timings));
        }
        ensure!(begun.elapsed() < GIVE_UP, "the scan is still {state}: {message}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn print(scans: &[(i64, Value)]) {
    let step = |timings: &Value, key: &str| timings.get(key).and_then(Value::as_i64).unwrap_or(0);
    let needed = |timings: &Value| NEEDED.iter().map(|key| step(timings, key)).sum::<i64>();
    let row = |name: &str, of: &dyn Fn(&(i64, Value)) -> i64| {
        let first = scans.first().map_or(0, of);
        let rest = median(scans.iter().skip(1).map(of).collect());
        println!("  {name:<44} {:>7.2} s {:>7.2} s", first as f64 / 1e3, rest as f64 / 1e3);
    };
    println!("{SAMPLE}, one scan at a time; the first one pulls the inspector's image too; then the median of {ROUNDS}");
    println!("  {:<44} {:>9} {:>9}", "", "first", "then");
    for (name, key) in STEPS {
        row(name, &|(_, timings)| step(timings, key));
    }
    row("all of it, pod removed", &|(wall, _)| *wall);
    row("over pull + unpack + oscap (goal: 5 s)", &|(wall, timings)| wall - needed(timings));
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
