//! The migration that keeps results apart, on data: up, down, up.

#![allow(clippy::unwrap_used)]

use sqlx::PgPool;

const BEFORE: i64 = 20_261_124_170_000;
const APART: i64 = 20_261_128_141_000;

async fn run(pool: &PgPool, statement: &'static str) {
    sqlx::raw_sql(statement).execute(pool).await.unwrap();
}

/// Of each image: its provider, the failed rules of high severity it shows (-1: none are known), and whether all was checked.
async fn found(pool: &PgPool) -> Vec<(String, i64, Option<bool>)> {
    sqlx::query_as("SELECT p.name, i.found_rank >> 36, found_complete FROM container_images i JOIN providers p ON p.id = provider_id ORDER BY i.id")
        .fetch_all(pool)
        .await
        .unwrap()
}

fn image(provider: &str, high: i64) -> (String, i64, Option<bool>) {
    (provider.to_owned(), high, (high >= 0).then_some(true))
}

#[sqlx::test(migrations = false)]
async fn results_know_their_providers_afterwards_and_are_one_per_digest_again_before(pool: PgPool) {
    model::MIGRATOR.run_to(BEFORE, &pool).await.unwrap();
    run(
        &pool,
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at)
         VALUES ('prod', 'kubernetes', '', '', NOW(), NOW()), ('lab', 'kubernetes', '', '', NOW(), NOW());
         INSERT INTO image_registries (provider_id, host, name, first_seen_at) SELECT id, 'r', 'r', NOW() FROM providers;
         INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at)
         SELECT provider_id, id, 'app' || n, 'sha256:' || REPEAT(n::TEXT, 64), NOW(), NOW() FROM image_registries, GENERATE_SERIES(1, 3) n ORDER BY n, id;
         INSERT INTO scans (digest, provider_id, userid, reference, state, outcome, requested_at)
         VALUES ('sha256:' || REPEAT('1', 64), 2, '', '', 'finished', 'ok', NOW()), ('sha256:' || REPEAT('2', 64), NULL, '', '', 'finished', 'ok', NOW()),
                ('sha256:' || REPEAT('3', 64), 2, '', '', 'waiting', NULL, NOW());
         INSERT INTO inspections (digest, scan_id, inspected_at, compressed_size_bytes, unpacked_size_bytes, config, package_database, package_count,
                                  failed_high, fully_checked)
         SELECT digest, id, NOW() - INTERVAL '1 day', 1, 1, '{}', '{}', 0, id, TRUE FROM scans WHERE state = 'finished';",
    )
    .await;
    let before = found(&pool).await;
    assert_eq!(before, [image("prod", 1), image("lab", 1), image("prod", 2), image("lab", 2), image("prod", -1), image("lab", -1)]);

    model::MIGRATOR.run_to(APART, &pool).await.unwrap();
    assert_eq!(found(&pool).await, before);
    let places: Vec<(Option<i64>, String, i64)> = sqlx::query_as(
        "SELECT n.provider_id, n.provider_name, COUNT(i.id) FROM inspections n JOIN container_images i ON i.inspection_id = n.id GROUP BY n.id ORDER BY n.digest",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(places, [(Some(2), String::new(), 2), (None, "a removed provider".to_owned(), 2)]);

    // The lab is kept apart, and both look at both digests; the lab has an open scan of its own.
    run(
        &pool,
        "UPDATE providers SET shares_results = FALSE WHERE name = 'lab';
         UPDATE scans SET shares_results = FALSE WHERE state <> 'finished';
         INSERT INTO tasks (kind, name, state, message, userid, target_kind, target_name, children_total, created_at, updated_at)
         VALUES ('image_scan_bulk', '', 'active', '', '', 'none', '', 1, NOW(), NOW()), ('image_scan_bulk', '', 'queued', '', '', 'none', '', 2, NOW(), NOW());
         INSERT INTO tasks (parent_id, kind, name, state, message, userid, target_kind, target_name, created_at, updated_at)
         VALUES (1, 'image_scan', '', 'active', '', '', 'none', '', NOW(), NOW()), (2, 'image_scan', '', 'waiting', '', '', 'none', '', NOW(), NOW()),
                (2, 'image_scan', '', 'waiting', '', '', 'none', '', NOW(), NOW());
         UPDATE scans SET task_id = 3 WHERE state <> 'finished';
         INSERT INTO scans (digest, provider_id, userid, reference, state, requested_at, shares_results, task_id)
         VALUES ('sha256:' || REPEAT('4', 64), 2, '', '', 'waiting', NOW(), FALSE, 4);
         INSERT INTO scans (digest, provider_id, userid, reference, state, requested_at) VALUES ('sha256:' || REPEAT('3', 64), 1, '', '', 'waiting', NOW());
         INSERT INTO inspections (digest, provider_id, scan_id, inspected_at, compressed_size_bytes, unpacked_size_bytes, config, package_database,
                                  package_count, failed_high, fully_checked)
         VALUES ('sha256:' || REPEAT('1', 64), 1, 1, NOW() - INTERVAL '2 days', 1, 1, '{}', '{}', 0, 7, TRUE),
                ('sha256:' || REPEAT('2', 64), 2, 1, NOW(), 1, 1, '{}', '{}', 0, 0, TRUE);
         UPDATE container_images i SET inspection_id = n.id, found_rank = n.failed_rank, found_at = n.inspected_at, found_os_id = n.os_id,
                                       found_complete = n.fully_checked
         FROM image_inspections v JOIN inspections n ON n.id = v.inspection_id WHERE v.image_id = i.id;",
    )
    .await;
    assert_eq!(found(&pool).await, [image("prod", 7), image("lab", 1), image("prod", 2), image("lab", 0), image("prod", -1), image("lab", -1)]);

    model::MIGRATOR.undo(&pool, BEFORE).await.unwrap();
    let after = found(&pool).await;
    assert_eq!(after, [image("prod", 7), image("lab", 7), image("prod", 2), image("lab", 2), image("prod", -1), image("lab", -1)]);
    let open: Vec<i64> = sqlx::query_scalar("SELECT provider_id FROM scans WHERE state <> 'finished'").fetch_all(&pool).await.unwrap();
    assert_eq!(open, [1], "one open scan per digest");
    let tasks: Vec<(String, Option<String>, String)> = sqlx::query_as("SELECT state, status, message FROM tasks ORDER BY id").fetch_all(&pool).await.unwrap();
    let task = |state: &str, status: Option<&str>, message: &str| (state.to_owned(), status.map(str::to_owned), message.to_owned());
    let cancelled = task("finished", Some("cancelled"), "Cancelled");
    let (all, some) = (task("finished", Some("cancelled"), "1 finished: 1 cancelled"), task("active", None, "1 of 2 finished"));
    assert_eq!(tasks, [all, some, cancelled.clone(), cancelled, task("waiting", None, "")], "who asked for the others is told");
    let told: Vec<i64> = sqlx::query_scalar("SELECT task_id FROM task_events ORDER BY task_id").fetch_all(&pool).await.unwrap();
    assert_eq!(told, [1, 3, 4]);
    run(&pool, "UPDATE inspections SET failed_high = 9 WHERE digest LIKE 'sha256:2%'").await;
    run(&pool, "DELETE FROM inspections WHERE digest LIKE 'sha256:1%'").await;
    assert_eq!(found(&pool).await[..4], [image("prod", -1), image("lab", -1), image("prod", 9), image("lab", 9)], "the triggers are back");

    model::MIGRATOR.run(&pool).await.unwrap();
    assert_eq!(found(&pool).await[..4], [image("prod", -1), image("lab", -1), image("prod", 9), image("lab", 9)]);
}
