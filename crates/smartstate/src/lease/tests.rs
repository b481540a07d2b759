use super::*;
use crate::admission::admit;
use crate::admission::tests::context;
use crate::request::request;
use crate::request::tests::images;
use sqlx::PgPool;

/// One scan, admitted and taken.
pub(crate) async fn taken(pool: &PgPool) -> (SmartState, Scan) {
    let ctx = context(pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 1).await;
    request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    let admitted = admit(&mut conn, &ctx, provider, 32).await.unwrap();
    let scan = take(&mut conn, &ctx, admitted[0]).await.unwrap().unwrap();
    (ctx, scan)
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_living_lease_keeps_others_away_and_a_lapsed_one_is_taken_over_with_a_higher_fence(pool: PgPool) {
    let (ctx, scan) = taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    assert!(take(&mut conn, &ctx, scan.id).await.unwrap().is_none());
    assert!(lapsed(&mut conn, &ctx).await.unwrap().is_empty());
    ctx.clock.advance(Duration::seconds(LEASE_SECS + 1));
    assert_eq!(lapsed(&mut conn, &ctx).await.unwrap(), [(scan.id, 0)]);
    let again = take(&mut conn, &ctx, scan.id).await.unwrap().unwrap();
    assert!(again.fence > scan.fence);
    assert_eq!(look(&ctx, scan.id, scan.fence, true).await.unwrap(), Signal::Lost);
    assert_eq!(look(&ctx, again.id, again.fence, true).await.unwrap(), Signal::GoOn);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn whoever_drives_a_scan_hears_of_its_cancellation(pool: PgPool) {
    let (ctx, scan) = taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    queue::task::request_cancel(&mut conn, &ctx.clock, &[scan.task.unwrap()]).await.unwrap();
    let guard = Guard::keep(&ctx, &scan);
    assert_eq!(guard.stopped().await, Signal::Cancelled);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn leases_that_are_given_back_can_be_taken_at_once(pool: PgPool) {
    let (ctx, scan) = taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    give_back(&mut conn, &ctx).await.unwrap();
    assert!(take(&mut conn, &ctx, scan.id).await.unwrap().is_some());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn servers_that_stop_while_they_read_are_counted_and_those_that_stop_elsewhere_are_not(pool: PgPool) {
    let (ctx, scan) = taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    let taken_again = async |conn: &mut PgConnection| {
        sqlx::query("UPDATE scans SET lease_until = NULL").execute(&mut *conn).await.unwrap();
        take(conn, &ctx, scan.id).await.unwrap().unwrap()
    };
    let again = taken_again(&mut conn).await;
    assert_eq!(again.reads_begun, 0, "it was not read");
    assert_eq!(begin_reading(&mut conn, &scan).await.unwrap(), None, "another server has it");
    assert_eq!(begin_reading(&mut conn, &again).await.unwrap(), Some(1));
    let again = taken_again(&mut conn).await;
    assert_eq!(begin_reading(&mut conn, &again).await.unwrap(), Some(2));
    leave(&mut conn, &again).await.unwrap();
    let again = taken_again(&mut conn).await;
    assert_eq!(again.reads_begun, 1, "the second one left it");
    end_reading(&mut conn, &again).await.unwrap();
    sqlx::query("UPDATE scans SET lease_until = NULL").execute(&pool).await.unwrap();
    assert_eq!(lapsed(&mut conn, &ctx).await.unwrap(), [(scan.id, 0)]);
}
