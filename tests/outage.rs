//! Registry, API server and Postgres go away in mid-scan and come back: the scan ends in success or in a readable reason, never in a hang.

use crate::scan::stage::{Ended, Stage};
use crate::support::cluster::piece;
use crate::support::turn;
use sqlx::PgPool;
use std::time::Duration;

/// How long it is away: longer than any part of it repeats a request by itself.
const AWAY: Duration = Duration::from_secs(60);

fn assert_clear(ended: &Ended, reasons: &[&str]) {
    let good = matches!(ended.outcome.as_str(), "ok" | "warn");
    let explained = reasons.contains(&ended.reason_code.as_str()) && !ended.message.is_empty() && !ended.advice.is_empty();
    assert!(good || explained, "{ended:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_registry_that_goes_away_costs_at_most_the_scan_and_says_so(pool: PgPool) {
    let _turn = turn::alone().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    // So that the node has the inspector's image.
    let alpine = stage.sample("alpine").await;
    stage.analyse(alpine).await;
    let image = stage.sample("deb12-tiny").await;
    piece("stop", "registry").await;
    let scan = stage.request(&[image]).await.images[0].scan;
    stage.until_state(scan, &["pulling", "cleaning", "finished"]).await;
    tokio::time::sleep(AWAY).await;
    piece("start", "registry").await;
    assert_clear(&stage.finished(scan).await, &["registry_unreachable"]);
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_api_server_that_goes_away_while_a_scan_runs_does_not_cost_the_scan(pool: PgPool) {
    let _turn = turn::alone().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let scan = stage.request(&[stage.sample("deb12-tiny").await]).await.images[0].scan;
    stage.until_state(scan, &["pulling", "evaluating"]).await;
    piece("stop", "apiserver").await;
    tokio::time::sleep(AWAY).await;
    piece("start", "apiserver").await;
    assert_clear(&stage.finished(scan).await, &["cluster_unreachable", "timeout"]);
    stage.strike().await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_database_that_goes_away_while_a_scan_runs_does_not_cost_the_scan(pool: PgPool) {
    let _turn = turn::alone().await;
    let mut stage = Stage::set(pool).await;
    stage.start();
    let scan = stage.request(&[stage.sample("deb12-tiny").await]).await.images[0].scan;
    stage.until_state(scan, &["pulling", "evaluating"]).await;
    let database: String = sqlx::query_scalar("SELECT CURRENT_DATABASE()").fetch_one(&stage.pool).await.unwrap();
    let outside = PgPool::connect_with(stage.pool.connect_options().as_ref().clone().database("postgres")).await.unwrap();
    let allow = |allowed: bool| sqlx::raw_sql(sqlx::AssertSqlSafe(format!(r#"ALTER DATABASE "{database}" ALLOW_CONNECTIONS {allowed}"#)));
    allow(false).execute(&outside).await.unwrap();
    sqlx::query("SELECT PG_TERMINATE_BACKEND(pid) FROM pg_stat_activity WHERE datname = $1").bind(&database).execute(&outside).await.unwrap();
    tokio::time::sleep(AWAY).await;
    allow(true).execute(&outside).await.unwrap();
    assert_clear(&stage.finished(scan).await, &[]);
    stage.strike().await;
}
