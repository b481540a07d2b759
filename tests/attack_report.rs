//! A scan pod, or a whole cluster, that attacks the server with what it answers: the real process stays small, the scan ends with a reason, and a scan that
//! stops servers is not taken up for ever.

mod attack;
mod cluster;
mod feed;

use crate::support::eventually;
use crate::support::product::Product;
use attack::Attack;
use cluster::Cluster;
use model::ids::{ImageId, ProviderId, ScanId};
use model::{Clock, Sealer};
use sqlx::PgPool;
use std::time::Duration;

/// Of an unoptimised build; what it must not exceed whatever comes.
const MEMORY_MIB: u64 = 256;
const ENDED_WITHIN: Duration = Duration::from_secs(300);

async fn serve(pool: &PgPool, feeds: &str) -> Product {
    let inspector = format!("registry.example.org/tidewaiter/inspector@sha256:{}", "a".repeat(64));
    let settings =
        [("SMARTSTATE__INSPECTOR_IMAGE", inspector.as_str()), ("SMARTSTATE__CONCURRENT_PER_PROVIDER", "10"), ("CONTENT__VULNERABILITY_FEEDS", feeds)];
    Product::start(pool, &settings).await
}

async fn provider(pool: &PgPool, address: &str) -> ProviderId {
    let connection = inventory::Connection::from_token(address, "token", "").unwrap();
    let new = inventory::provider::NewProvider { name: "evil".into(), kind: inventory::Kind::Kubernetes, connection };
    let mut conn = pool.acquire().await.unwrap();
    inventory::provider::create(&mut conn, &Clock::default(), &Sealer::new(&[7; 32]), "admin", &new).await.unwrap().0
}

/// An analysis of the image that asks for `attack`.
async fn request(pool: &PgPool, provider: ProviderId, attack: Attack) -> ScanId {
    sqlx::query(
        "INSERT INTO image_registries (provider_id, host, name, first_seen_at) VALUES ($1, 'evil.example.org', 'evil.example.org', NOW())
         ON CONFLICT DO NOTHING",
    )
    .bind(provider)
    .execute(pool)
    .await
    .unwrap();
    let image: ImageId = sqlx::query_scalar(
        "INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at)
         SELECT $1, MAX(id), $2, 'sha256:' || ENCODE(SHA256($2::BYTEA), 'hex'), NOW(), NOW() FROM image_registries
         RETURNING id",
    )
    .bind(provider)
    .bind(attack.repository())
    .fetch_one(pool)
    .await
    .unwrap();
    let mut tx = pool.begin().await.unwrap();
    let accepted = smartstate::request(&mut tx, &Clock::default(), "admin", &[image]).await.unwrap();
    tx.commit().await.unwrap();
    accepted.images[0].scan
}

/// The reason code and the sentence with which a scan ended.
async fn ended(pool: &PgPool, scan: ScanId) -> (String, String) {
    eventually(&format!("scan {scan} has ended"), ENDED_WITHIN, || async {
        sqlx::query_as("SELECT reason_code, message FROM scans WHERE id = $1 AND state = 'finished'").bind(scan).fetch_optional(pool).await.unwrap()
    })
    .await
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_report_that_does_not_end_ends_its_scan_and_nothing_else(pool: PgPool) {
    let mut product = serve(&pool, "[]").await;
    let (_, address) = Cluster::start().await;
    let provider = provider(&pool, &address).await;
    let mut scans = vec![];
    for attack in Attack::REPORTS.into_iter().chain([Attack::Status]) {
        scans.push((attack, request(&pool, provider, attack).await));
    }
    for (attack, scan) in scans {
        let (code, message) = ended(&pool, scan).await;
        assert_eq!(code, "wrong_report", "{attack:?}: {message}");
        assert!(message.chars().count() < 600, "{attack:?}: {message}");
        let named = match attack {
            Attack::Warnings => "warnings",
            Attack::CutFiles => "cut_files",
            Attack::Packages => "packages",
            Attack::Layers => "layers",
            Attack::Rules => "layers[0].rules",
            Attack::Identifiers => "layers[0].rules[0].identifiers",
            Attack::Environment => "config.env",
            Attack::Labels => "config.labels",
            Attack::Unknown => "package_database",
            Attack::Depth => "in each other",
            Attack::Text => "a text in it is longer",
            _ => "",
        };
        assert!(message.contains(named), "{attack:?}: {message}");
    }
    let kept: i64 = sqlx::query_scalar("SELECT (SELECT COUNT(*) FROM inspections) + (SELECT COUNT(*) FROM scan_artifacts)").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, 0);
    assert!(product.is_running() && product.is_ready().await, "{}", product.log());
    let peak = product.peak_memory_mib();
    assert!(peak <= MEMORY_MIB, "{peak} MiB");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scan_whose_servers_stop_three_times_in_one_state_is_not_taken_up_again(pool: PgPool) {
    let mut product = serve(&pool, "[]").await;
    let (cluster, address) = Cluster::start().await;
    let provider = provider(&pool, &address).await;
    let scan = request(&pool, provider, Attack::Silence).await;
    for times in 1..=3 {
        eventually(&format!("the report is asked for the {times}th time"), ENDED_WITHIN, || async {
            (cluster.reports_asked.lock().unwrap().len() >= times).then_some(())
        })
        .await;
        // As if the report had killed it.
        product.restart().await;
    }
    let (code, message) = ended(&pool, scan).await;
    assert_eq!((code.as_str(), cluster.reports_asked.lock().unwrap().len()), ("servers_stopped", 3), "{message}");
    assert!(message.starts_with("3 servers in a row stopped without a word while they fetched its results"), "{message}");
    let again = request(&pool, provider, Attack::Warnings).await;
    assert_eq!(ended(&pool, again).await.0, "wrong_report", "others are driven as before");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn packages_that_match_a_whole_feed_take_no_more_memory_than_any_others(pool: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.xml");
    feed::write(&path);
    let feeds = format!(r#"[{{ id = "debian", version = "12", location = "{}" }}]"#, path.display());
    let mut product = serve(&pool, &feeds).await;
    let (cluster, address) = Cluster::start().await;
    let provider = provider(&pool, &address).await;
    let mut scans = vec![];
    for attack in Attack::CHOICES {
        scans.push((attack, request(&pool, provider, attack).await));
    }
    for (attack, scan) in scans {
        let (code, message) = ended(&pool, scan).await;
        assert_eq!(code, "wrong_report", "{attack:?}: {message}");
        assert_eq!(message.contains("the list of packages"), attack == Attack::PackagesWithoutEnd, "{attack:?}: {message}");
    }
    assert_eq!(cluster.evaluated.lock().unwrap().len(), 3, "definitions were chosen for all but the list without end");
    let peak = product.peak_memory_mib();
    assert!(product.is_running() && peak <= MEMORY_MIB, "{peak} MiB");
}
