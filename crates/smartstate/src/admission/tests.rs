use super::*;
use crate::request::request;
use crate::request::tests::images;
use crate::{ContentSettings, Settings, lease};
use model::ids::ServerId;
use model::{Clock, Sealer};
use queue::task;
use sqlx::PgPool;

pub(crate) async fn context(pool: &PgPool, limit: i64) -> SmartState {
    queue::setup(pool).await.unwrap();
    let clock = Clock::at(chrono::DateTime::UNIX_EPOCH);
    let mut conn = pool.acquire().await.unwrap();
    let server: ServerId = queue::server::register(&mut conn, &clock, "s", "0").await.unwrap();
    let settings = Settings { concurrent_per_provider: limit, ..Settings::default() };
    SmartState::new(pool.clone(), clock, Sealer::new(&[1; 32]), settings, ContentSettings::default(), server, "s".into())
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn no_more_start_than_may_run_and_the_rest_says_why_it_waits(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 5).await;
    let accepted = request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    let admitted = admit(&mut conn, &ctx, provider, 32).await.unwrap();
    assert_eq!(admitted.len(), 3);
    assert!(admit(&mut conn, &ctx, provider, 32).await.unwrap().is_empty());
    let waiting = accepted.images.iter().find(|image| !admitted.contains(&image.scan)).unwrap();
    let task = task::find(&mut conn, waiting.task.unwrap()).await.unwrap().unwrap();
    assert_eq!(task.message, "Waiting: 3 scans already run on lab (limit 3)");
    assert_eq!(task.reason_code, "limit_reached");
    sqlx::query("UPDATE scans SET state = 'finished', outcome = 'ok' WHERE id = $1").bind(admitted[0]).execute(&mut *conn).await.unwrap();
    assert_eq!(admit(&mut conn, &ctx, provider, 32).await.unwrap().len(), 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn two_servers_that_decide_at_once_admit_no_more_than_one_would(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 10).await;
    request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    let decide = || async { admit(&mut pool.acquire().await.unwrap(), &ctx, provider, 32).await.unwrap().len() };
    let (a, b, c, d) = tokio::join!(decide(), decide(), decide(), decide());
    assert_eq!(a + b + c + d, 3);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_was_asked_for_alone_overtakes_the_nightly_bulk(pool: PgPool) {
    let ctx = context(&pool, 1).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, bulk) = images(&mut conn, 500).await;
    request(&mut conn, &ctx.clock, "schedule", &bulk).await.unwrap();
    let (_, single) = images(&mut conn, 1).await;
    let alone = request(&mut conn, &ctx.clock, "admin", &single).await.unwrap();
    assert_eq!(admit(&mut conn, &ctx, provider, 32).await.unwrap(), [alone.images[0].scan]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_cancelled_scan_does_not_start(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 1).await;
    let accepted = request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    task::request_cancel(&mut conn, &ctx.clock, &[accepted.task.unwrap()]).await.unwrap();
    assert!(admit(&mut conn, &ctx, provider, 32).await.unwrap().is_empty());
    assert!(lease::lapsed(&mut conn, &ctx).await.unwrap().is_empty());
}
