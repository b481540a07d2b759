//! SmartState Analysis on the real cluster with the real inspector: what is found, what is said when it cannot be, and that nothing is left behind.

pub mod stage;

use sqlx::PgPool;
use stage::Stage;

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scan_finds_the_faults_that_are_in_an_image(pool: PgPool) {
    let mut stage = Stage::set(pool).await;
    stage.start();
    let (scan, ended) = stage.analyse(stage.sample("deb12-bad").await).await;
    assert!(matches!(ended.outcome.as_str(), "ok" | "warn"), "{ended:?}");
    println!("{ended:#?}");
    assert!(stage.failed(scan, "high").await >= 1);
    assert!(stage.packages(scan).await.contains(&"bash".to_owned()));
    stage.strike().await;
}
