use super::*;
use crate::admission::tests::context;
use crate::admission::{admit, providers_waiting, tell_missing_role};
use crate::lease::tests::taken;
use crate::lease::{self, Guard, LEASE_SECS, Signal};
use crate::request::request;
use crate::request::tests::images;
use inventory::removal;
use queue::task::{Task, TaskState};
use sqlx::PgPool;

async fn task(conn: &mut PgConnection, id: TaskId) -> Task {
    task::find(conn, id).await.unwrap().unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_that_is_being_removed_takes_no_new_scans_and_its_waiting_ones_end_at_once(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 3).await;
    let accepted = request(&mut conn, &ctx.clock, "admin", &images[..2]).await.unwrap();
    assert!(removal::request(&mut conn, &ctx.clock, provider).await.unwrap());
    assert!(providers_waiting(&mut conn).await.unwrap().is_empty());
    assert!(request(&mut conn, &ctx.clock, "admin", &images[2..]).await.unwrap().images.is_empty());

    let asked_at = removal::asked_at(&mut conn, provider).await.unwrap().unwrap();
    end_scans(&ctx, provider, asked_at).await.unwrap();
    let bulk = task(&mut conn, accepted.task.unwrap()).await;
    assert_eq!((bulk.state, bulk.message.as_str()), (TaskState::Finished, "2 finished: 2 cancelled"));
    let one = task(&mut conn, accepted.images[0].task.unwrap()).await;
    assert_eq!((one.status, one.reason_code.as_str(), one.message.as_str()), (Some(TaskStatus::Cancelled), "provider_gone", "The provider was removed"));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_another_provider_runs_too_is_asked_for_again_there(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 2).await;
    let elsewhere: i64 = sqlx::query_scalar(
        "WITH other AS (
           INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('other', 'kubernetes', 'https://other', '', NOW(), NOW())
           RETURNING id
         ), registry AS (
           INSERT INTO image_registries (provider_id, host, name, first_seen_at) SELECT id, 'r', 'r', NOW() FROM other RETURNING id, provider_id
         )
         INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         SELECT registry.provider_id, registry.id, 'shop/1', '1', digest, NOW(), NOW() FROM registry, container_images WHERE container_images.id = $1
         RETURNING id",
    )
    .bind(images[0])
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    removal::request(&mut conn, &ctx.clock, provider).await.unwrap();
    let asked_at = removal::asked_at(&mut conn, provider).await.unwrap().unwrap();
    for _ in 0..2 {
        end_scans(&ctx, provider, asked_at).await.unwrap();
        let open: Vec<i64> = sqlx::query_scalar("SELECT image_id FROM scans WHERE state = 'waiting'").fetch_all(&mut *conn).await.unwrap();
        assert_eq!(open, [elsewhere]);
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_driven_scan_hears_of_the_removal_and_one_that_does_not_end_is_ended_after_the_deadline(pool: PgPool) {
    let (ctx, scan) = lease::tests::taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    removal::request(&mut conn, &ctx.clock, scan.provider).await.unwrap();
    assert_eq!(Guard::keep(&ctx, &scan).stopped().await, Signal::ProviderGone);

    let asked_at = removal::asked_at(&mut conn, scan.provider).await.unwrap().unwrap();
    while end_some(&mut conn, &ctx, scan.provider, false).await.unwrap() > 0 {}
    assert!(has_open(&mut conn, scan.provider).await.unwrap(), "its server has time to remove the pod");
    assert!(removal::finish(&pool, scan.provider).await.is_err(), "nothing is deleted while a scan is open");

    ctx.clock.advance(Duration::seconds(END_WITHIN_SECS));
    end_scans(&ctx, scan.provider, asked_at).await.unwrap();
    let ended = task(&mut conn, scan.task.unwrap()).await;
    assert_eq!((ended.status, ended.reason_code.as_str()), (Some(TaskStatus::Cancelled), "provider_gone"));
    let fence: i64 = sqlx::query_scalar("SELECT fence FROM scans WHERE id = $1").bind(scan.id).fetch_one(&mut *conn).await.unwrap();
    assert!(fence > scan.fence, "who drove it cannot write any more");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_result_that_was_saved_before_the_deadline_stays_one(pool: PgPool) {
    let (ctx, scan) = lease::tests::taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    sqlx::query("UPDATE scans SET state = 'cleaning', outcome = 'warn', message = 'Some parts were not checked'").execute(&mut *conn).await.unwrap();
    removal::request(&mut conn, &ctx.clock, scan.provider).await.unwrap();
    end_some(&mut conn, &ctx, scan.provider, true).await.unwrap();
    let ended = task(&mut conn, scan.task.unwrap()).await;
    assert_eq!((ended.status, ended.message.as_str()), (Some(TaskStatus::Warn), "Some parts were not checked"));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn findings_outlive_the_provider_that_they_were_made_at(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 1).await;
    request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    sqlx::query("UPDATE scans SET state = 'finished', outcome = 'ok'").execute(&mut *conn).await.unwrap();
    sqlx::query(
        "INSERT INTO inspections (digest, scan_id, inspected_at, compressed_size_bytes, unpacked_size_bytes, config, package_database, package_count, fully_checked, provider_id)
         SELECT digest, id, requested_at, 1, 1, '{}', '{}', 0, TRUE, provider_id FROM scans",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    removal::finish(&pool, provider).await.unwrap();
    let count = async |what: &str| sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {what}"))).fetch_one(&pool).await.unwrap();
    assert_eq!(count("providers").await, 1, "nobody asked for its removal");

    removal::request(&mut conn, &ctx.clock, provider).await.unwrap();
    let asked_at = removal::asked_at(&mut conn, provider).await.unwrap().unwrap();
    end_scans(&ctx, provider, asked_at).await.unwrap();
    removal::finish(&pool, provider).await.unwrap();
    assert_eq!((count("providers").await, count("container_images").await), (0, 0));
    assert_eq!(count("inspections JOIN scans ON scans.id = scan_id WHERE scans.provider_id IS NULL AND image_id IS NULL AND provider_name = 'lab'").await, 1);
    removal::finish(&pool, provider).await.unwrap();
    assert!(!removal::request(&mut conn, &ctx.clock, provider).await.unwrap());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_task_whose_scan_is_gone_ends_and_says_so(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let (provider, images) = images(&mut conn, 2).await;
    let accepted = request(&mut conn, &ctx.clock, "admin", &images).await.unwrap();
    let (gone, stays) = (&accepted.images[0], &accepted.images[1]);
    sqlx::query("DELETE FROM scans WHERE id = $1").bind(gone.scan).execute(&mut *conn).await.unwrap();
    end_tasks_without_scan(&ctx).await.unwrap();
    let ended = task(&mut conn, gone.task.unwrap()).await;
    assert_eq!((ended.status, ended.reason_code.as_str()), (Some(TaskStatus::Error), "scan_gone"));
    assert_eq!(task(&mut conn, stays.task.unwrap()).await.state, TaskState::Queued);
    assert_eq!(admit(&mut conn, &ctx, provider, 32).await.unwrap(), [stays.scan]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scan_that_its_server_left_says_why_it_stands_still_and_can_be_cancelled(pool: PgPool) {
    let (ctx, scan) = taken(&pool).await;
    let mut conn = pool.acquire().await.unwrap();
    let id = scan.task.unwrap();
    let reason = Reason::NoServerRole("the role SmartProxy".into());
    tell_missing_role(&mut conn, &ctx, &reason).await.unwrap();
    assert_ne!(task::find(&mut conn, id).await.unwrap().unwrap().message, reason.message(), "it is driven");
    ctx.clock.advance(Duration::seconds(LEASE_SECS + 1));
    tell_missing_role(&mut conn, &ctx, &reason).await.unwrap();
    assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().message, reason.message());
    cancel_undriven(&mut conn, &ctx).await.unwrap();
    assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().status, None, "nobody cancelled it");
    task::request_cancel(&mut conn, &ctx.clock, &[id]).await.unwrap();
    cancel_undriven(&mut conn, &ctx).await.unwrap();
    assert_eq!(task::find(&mut conn, id).await.unwrap().unwrap().status, Some(TaskStatus::Cancelled));
    let (state, outcome, fence): (String, String, i64) = sqlx::query_as("SELECT state, outcome, fence FROM scans").fetch_one(&pool).await.unwrap();
    assert_eq!((state.as_str(), outcome.as_str(), fence), ("finished", "cancelled", scan.fence + 1));
}
