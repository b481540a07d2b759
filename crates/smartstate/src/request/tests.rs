use super::*;
use chrono::DateTime;
use sqlx::PgPool;

/// A provider with `count` images of different digests, in one registry.
pub(crate) async fn images(conn: &mut PgConnection, count: i64) -> (ProviderId, Vec<ImageId>) {
    let now = DateTime::UNIX_EPOCH;
    let provider: ProviderId = sqlx::query_scalar(
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('lab', 'kubernetes', 'https://lab', '', $1, $1)
         ON CONFLICT (LOWER(name)) DO UPDATE SET endpoint = EXCLUDED.endpoint RETURNING id",
    )
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let registry: i64 = sqlx::query_scalar(
        "INSERT INTO image_registries (provider_id, host, name, first_seen_at) VALUES ($1, 'r', 'r', $2)
         ON CONFLICT (provider_id, name) DO UPDATE SET host = EXCLUDED.host RETURNING id",
    )
    .bind(provider)
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let images = sqlx::query_scalar(
        "INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         SELECT $1, $2, 'shop/' || n, '1', 'sha256:' || LPAD(n::text, 64, '0'), $3, $3
         FROM GENERATE_SERIES((SELECT COUNT(*) FROM container_images) + 1, (SELECT COUNT(*) FROM container_images) + $4) AS n
         RETURNING id",
    )
    .bind(provider)
    .bind(registry)
    .bind(now)
    .bind(count)
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    (provider, images)
}

async fn setup(pool: &PgPool) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
    queue::setup(pool).await.unwrap();
    pool.acquire().await.unwrap()
}

async fn count(conn: &mut PgConnection, what: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {what}"))).fetch_one(conn).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn thousands_of_images_are_asked_for_in_one_go(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let (_, images) = images(&mut conn, 3_000).await;
    let accepted = request(&mut conn, &Clock::default(), "admin", &images).await.unwrap();
    assert_eq!(accepted.images.len(), 3_000);
    assert!(accepted.images.iter().all(|image| !image.existing && image.task.is_some()));
    assert_eq!(count(&mut conn, "scans WHERE bulk AND state = 'waiting' AND task_id IS NOT NULL").await, 3_000);
    assert_eq!(count(&mut conn, "apalis.jobs").await, 3_000);
    let parent = task::find(&mut conn, accepted.task.unwrap()).await.unwrap().unwrap();
    assert_eq!((parent.kind, parent.children_total), (TaskKind::ImageScanBulk, 3_000));
    let wrong = count(&mut conn, "scans JOIN tasks ON tasks.id = task_id WHERE target_id <> image_id").await;
    assert_eq!(wrong, 0, "scans whose task is another image's");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_digest_under_analysis_is_not_analysed_twice(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let (_, images) = images(&mut conn, 2).await;
    let clock = Clock::default();
    queue::server::register(&mut conn, &clock, "s", "0").await.unwrap();
    let first = request(&mut conn, &clock, "admin", &images[..1]).await.unwrap();
    // The same digest under another name.
    let alias: ImageId = sqlx::query_scalar(
        "INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at)
         SELECT provider_id, registry_id, 'alias', digest, first_seen_at, last_seen_at FROM container_images WHERE id = $1 RETURNING id",
    )
    .bind(images[0])
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let again = request(&mut conn, &clock, "other", &[alias]).await.unwrap();
    assert_eq!(again.task, first.task);
    assert!(again.images[0].existing);
    let both = request(&mut conn, &clock, "admin", &[images[0], alias, images[1]]).await.unwrap();
    assert_eq!(both.images.iter().filter(|image| !image.existing).map(|image| image.image).collect::<Vec<_>>(), [images[1]]);
    let parent = task::find(&mut conn, both.task.unwrap()).await.unwrap().unwrap();
    assert_eq!(parent.children_total, 1);
    assert!(parent.message.contains("2 are already being analysed"), "{}", parent.message);
    assert_eq!(count(&mut conn, "scans").await, 2);
    let nothing = request(&mut conn, &clock, "admin", &[ImageId(-1)]).await.unwrap();
    assert!(nothing.task.is_none() && nothing.images.is_empty());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_request_that_no_server_will_serve_says_so_and_where_to_change_it(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let (_, images) = images(&mut conn, 1).await;
    let clock = Clock::default();
    let server = queue::server::register(&mut conn, &clock, "s", "0").await.unwrap();
    queue::role::set(&mut conn, server, Role::SmartProxy, false).await.unwrap();
    let accepted = request(&mut conn, &clock, "admin", &images).await.unwrap();
    let task = task::find(&mut conn, accepted.task.unwrap()).await.unwrap().unwrap();
    assert_eq!((task.state, task.reason_code.as_str()), (TaskState::Waiting, "no_server_role"));
    assert_eq!(task.message, "Waiting: no server has the role SmartProxy");
    assert!(task.advice.contains("/configuration/server"));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn roles_that_two_servers_share_between_them_are_none_to_drive_a_scan_with(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let clock = Clock::default();
    let missing = |reason: Option<Reason>| reason.map(|reason| reason.message());
    let one = queue::server::register(&mut conn, &clock, "one", "0").await.unwrap();
    queue::role::set(&mut conn, one, Role::SmartProxy, false).await.unwrap();
    assert_eq!(missing(missing_role(&mut conn, &clock).await.unwrap()).unwrap(), "Waiting: no server has the role SmartProxy");
    let other = queue::server::register(&mut conn, &clock, "other", "0").await.unwrap();
    assert_eq!(missing(missing_role(&mut conn, &clock).await.unwrap()), None);
    queue::role::set(&mut conn, other, Role::SmartState, false).await.unwrap();
    let said = missing(missing_role(&mut conn, &clock).await.unwrap()).unwrap();
    assert_eq!(said, "Waiting: no server has both roles, SmartState Analysis and SmartProxy: each is another server's");
    queue::role::set(&mut conn, other, Role::SmartProxy, false).await.unwrap();
    queue::role::set(&mut conn, one, Role::SmartState, false).await.unwrap();
    let said = missing(missing_role(&mut conn, &clock).await.unwrap()).unwrap();
    assert_eq!(said, "Waiting: no server has the roles SmartState Analysis and SmartProxy");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_scan_whose_task_was_removed_gets_another_to_follow(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let (_, images) = images(&mut conn, 1).await;
    let clock = Clock::default();
    let first = request(&mut conn, &clock, "admin", &images).await.unwrap();
    sqlx::query("DELETE FROM tasks").execute(&mut *conn).await.unwrap();
    let again = request(&mut conn, &clock, "other", &images).await.unwrap();
    assert_eq!((again.images[0].scan, again.images[0].existing), (first.images[0].scan, true));
    let followed: Option<TaskId> = sqlx::query_scalar("SELECT task_id FROM scans").fetch_one(&mut *conn).await.unwrap();
    assert!(again.task.is_some() && again.task == followed && again.task != first.task);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_retry_asks_for_what_did_not_end_well(pool: PgPool) {
    let mut conn = setup(&pool).await;
    let (_, images) = images(&mut conn, 3).await;
    let clock = Clock::default();
    let accepted = request(&mut conn, &clock, "admin", &images).await.unwrap();
    let bulk = accepted.task.unwrap();
    assert_eq!(retry(&mut conn, &clock, "admin", bulk).await.unwrap(), None, "it is not finished");
    sqlx::query("UPDATE scans SET state = 'finished', outcome = 'ok'").execute(&mut *conn).await.unwrap();
    let tasks: Vec<TaskId> = accepted.images.iter().filter_map(|image| image.task).collect();
    task::finish(&mut conn, &clock, tasks[0], task::TaskStatus::Ok, "", "", "").await.unwrap();
    task::finish(&mut conn, &clock, tasks[1], task::TaskStatus::Error, "", "", "").await.unwrap();
    task::finish(&mut conn, &clock, tasks[2], task::TaskStatus::Warn, "", "", "").await.unwrap();
    let again = retry(&mut conn, &clock, "admin", bulk).await.unwrap().unwrap();
    assert_eq!(task::find(&mut conn, again).await.unwrap().unwrap().children_total, 2);
}
