use super::*;
use crate::admission::admit;
use crate::admission::tests::context;
use crate::closing::end_scans;
use crate::lease::{self, Scan};
use crate::report::judge;
use crate::report::tests::{layer, report, rule};
use crate::save::{Evidence, save};
use chrono::Duration;
use inventory::removal;
use model::ids::ScanId;
use queue::task;
use scap::report::{InspectionReport, Layer, LayerState, Outcome, Severity};
use sqlx::PgPool;

/// A provider, and an image at it whose digest ends in `digest`.
async fn image(pool: &PgPool, provider: &str, digest: i64) -> (ProviderId, ImageId) {
    let row: (i64, i64) = sqlx::query_as(
        "WITH provider AS (
           INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ($1, 'kubernetes', 'https://' || $1, '', NOW(), NOW())
           ON CONFLICT (LOWER(name)) DO UPDATE SET endpoint = EXCLUDED.endpoint RETURNING id
         ), registry AS (
           INSERT INTO image_registries (provider_id, host, name, first_seen_at) SELECT id, 'r', 'r', NOW() FROM provider
           ON CONFLICT (provider_id, name) DO UPDATE SET host = EXCLUDED.host RETURNING id, provider_id
         )
         INSERT INTO container_images (provider_id, registry_id, name, tag, digest, first_seen_at, last_seen_at)
         SELECT provider_id, id, 'shop/' || $2, '1', 'sha256:' || LPAD($2::TEXT, 64, '0'), NOW(), NOW() FROM registry
         RETURNING provider_id, id",
    )
    .bind(provider)
    .bind(digest)
    .fetch_one(pool)
    .await
    .unwrap();
    (ProviderId(row.0), ImageId(row.1))
}

/// An open scan of the image that has come to fetching.
async fn fetching(ctx: &SmartState, provider: ProviderId, image: ImageId) -> Scan {
    let mut conn = ctx.pool.acquire().await.unwrap();
    ctx.clock.advance(Duration::seconds(60));
    request(&mut conn, &ctx.clock, "admin", &[image]).await.unwrap();
    let admitted = admit(&mut conn, ctx, provider, 32).await.unwrap();
    let scan = lease::take(&mut conn, ctx, admitted[0]).await.unwrap().unwrap();
    sqlx::query("UPDATE scans SET state = 'fetching' WHERE id = $1").bind(scan.id).execute(&mut *conn).await.unwrap();
    scan
}

/// A report in which so many rules failed.
fn failing(scan: &Scan, high: usize) -> InspectionReport {
    let mut report = report(scan.id.0);
    let rules = (0..high).map(|number| rule(&format!("r{number}"), Outcome::Fail, Severity::High)).collect();
    report.layers = vec![layer(Layer::Benchmark, LayerState::Evaluated, rules)];
    report
}

/// Gives whether it was saved: a scan that was ended meanwhile is not.
async fn save_report(ctx: &SmartState, scan: &Scan, report: &InspectionReport) -> bool {
    let mut conn = ctx.pool.acquire().await.unwrap();
    let evidence = Evidence { log: String::new(), events: serde_json::json!([]) };
    let saved = save(&mut conn, ctx, scan, report, &judge(report), &evidence).await.unwrap();
    sqlx::query("UPDATE scans SET state = 'finished' WHERE id = $1").bind(scan.id).execute(&mut *conn).await.unwrap();
    saved
}

async fn analyse(ctx: &SmartState, at: (ProviderId, ImageId), high: usize) -> ScanId {
    let scan = fetching(ctx, at.0, at.1).await;
    assert!(save_report(ctx, &scan, &failing(&scan, high)).await);
    scan.id
}

async fn set(ctx: &SmartState, provider: ProviderId, shares: bool) -> Shared {
    let mut tx = ctx.pool.begin().await.unwrap();
    let changed = share_results(&mut tx, &ctx.clock, provider, shares).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    changed
}

/// What counts for the image: which provider looked and how many rules failed; `None`: nothing. All images carry what the view says.
async fn counts(ctx: &SmartState, image: ImageId) -> Option<(String, i64)> {
    let wrong: i64 = sqlx::query_scalar(
        "SELECT COUNT(*)
         FROM container_images i
         JOIN image_inspections v ON v.image_id = i.id
         LEFT JOIN inspections n ON n.id = v.inspection_id
         WHERE (i.inspection_id, i.found_rank, i.found_at, i.found_os_id, i.found_complete)
               IS DISTINCT FROM (n.id, COALESCE(n.failed_rank, -1), COALESCE(n.inspected_at, 'epoch'), n.os_id, n.fully_checked)",
    )
    .fetch_one(&ctx.pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "images whose copy is not of the inspection that counts");
    sqlx::query_as(
        "SELECT COALESCE(p.name, n.provider_name), i.found_rank >> 36
         FROM container_images i
         JOIN inspections n ON n.id = i.inspection_id
         LEFT JOIN providers p ON p.id = n.provider_id
         WHERE i.id = $1",
    )
    .bind(image)
    .fetch_optional(&ctx.pool)
    .await
    .unwrap()
}

fn found(provider: &str, high: i64) -> Option<(String, i64)> {
    Some((provider.to_owned(), high))
}

/// Digest, provider and whether it is shared, of the open scans.
async fn open(ctx: &SmartState) -> Vec<(i64, i64, bool)> {
    sqlx::query_as("SELECT RIGHT(digest, 3)::BIGINT, provider_id, shares_results FROM scans WHERE state <> 'finished' ORDER BY 1, 2")
        .fetch_all(&ctx.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn providers_that_share_have_the_newest_result_of_all_of_them(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (prod, lab) = (image(&pool, "prod", 1).await, image(&pool, "lab", 1).await);
    assert_eq!(counts(&ctx, prod.1).await, None);
    analyse(&ctx, lab, 3).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, lab.1).await), (found("lab", 3), found("lab", 3)));
    analyse(&ctx, prod, 2).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, lab.1).await), (found("prod", 2), found("prod", 2)));
    analyse(&ctx, lab, 4).await;
    assert_eq!(counts(&ctx, prod.1).await, found("lab", 4));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn one_that_is_kept_apart_neither_gives_nor_takes(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (prod, lab, other) = (image(&pool, "prod", 1).await, image(&pool, "lab", 1).await, image(&pool, "other", 1).await);
    set(&ctx, lab.0, false).await;
    set(&ctx, other.0, false).await;
    analyse(&ctx, lab, 0).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, lab.1).await, counts(&ctx, other.1).await), (None, found("lab", 0), None));
    analyse(&ctx, prod, 7).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, lab.1).await, counts(&ctx, other.1).await), (found("prod", 7), found("lab", 0), None));
    analyse(&ctx, lab, 0).await;
    assert_eq!(counts(&ctx, prod.1).await, found("prod", 7), "a newer one does not count either");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_counts_follows_the_setting_at_once_both_ways_without_a_scan(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (prod, lab) = (image(&pool, "prod", 1).await, image(&pool, "lab", 1).await);
    let (only_lab, lab_own) = (image(&pool, "prod", 2).await, image(&pool, "lab", 2).await);
    let (only_prod, lab_takes) = (image(&pool, "prod", 3).await, image(&pool, "lab", 3).await);
    analyse(&ctx, prod, 5).await;
    analyse(&ctx, lab, 0).await;
    analyse(&ctx, lab_own, 0).await;
    analyse(&ctx, only_prod, 4).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, only_lab.1).await), (found("lab", 0), found("lab", 0)));
    assert_eq!(counts(&ctx, lab_takes.1).await, found("prod", 4));

    let before: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scans").fetch_one(&pool).await.unwrap();
    assert_eq!(set(&ctx, lab.0, false).await, Shared { images: 3, lost: 2, asked_again: 0 });
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, only_lab.1).await), (found("prod", 5), None), "its own from before, and none");
    assert_eq!((counts(&ctx, lab.1).await, counts(&ctx, lab_own.1).await, counts(&ctx, lab_takes.1).await), (found("lab", 0), found("lab", 0), None));
    assert_eq!(set(&ctx, lab.0, false).await, Shared::default(), "once is enough");

    assert_eq!(set(&ctx, lab.0, true).await, Shared { images: 3, lost: 0, asked_again: 0 });
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, only_lab.1).await), (found("lab", 0), found("lab", 0)));
    assert_eq!(counts(&ctx, lab_takes.1).await, found("prod", 4));
    let after: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scans").fetch_one(&pool).await.unwrap();
    assert_eq!(after, before, "nothing was scanned again");
    let mut conn = pool.acquire().await.unwrap();
    assert_eq!(share_results(&mut conn, &ctx.clock, ProviderId(77), false).await.unwrap(), None);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_digest_has_one_open_scan_among_those_who_share_and_one_at_each_that_does_not(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let mut conn = pool.acquire().await.unwrap();
    let mut images = Vec::new();
    for name in ["prod", "stage", "lab", "other"] {
        images.push(image(&pool, name, 1).await);
    }
    let twin: i64 = sqlx::query_scalar(
        "INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at)
         SELECT provider_id, registry_id, 'alias', digest, NOW(), NOW() FROM container_images WHERE id = $1 RETURNING id",
    )
    .bind(images[2].1)
    .fetch_one(&pool)
    .await
    .unwrap();
    set(&ctx, images[2].0, false).await;
    set(&ctx, images[3].0, false).await;
    let mut ids: Vec<ImageId> = images.iter().map(|image| image.1).collect();
    ids.push(ImageId(twin));
    let accepted = request(&mut conn, &ctx.clock, "admin", &ids).await.unwrap();
    assert_eq!(accepted.images.iter().filter(|image| !image.existing).count(), 3);
    assert_eq!(open(&ctx).await, [(1, images[0].0.0, true), (1, images[2].0.0, false), (1, images[3].0.0, false)]);
    let scan_of = |image: ImageId| accepted.images.iter().find(|requested| requested.image == image).unwrap().scan;
    assert_eq!((scan_of(ids[0]), scan_of(ids[2])), (scan_of(ids[1]), scan_of(ids[4])));
    assert!(scan_of(ids[0]) != scan_of(ids[2]) && scan_of(ids[2]) != scan_of(ids[3]));

    // One whose task a person removed gets one of the same provider.
    sqlx::query("DELETE FROM tasks").execute(&pool).await.unwrap();
    let again = request(&mut conn, &ctx.clock, "admin", &[ids[1], ids[2]]).await.unwrap();
    assert!(again.images.iter().all(|image| image.existing && image.task.is_some()));
    let targets: Vec<(i64, Option<i64>)> =
        sqlx::query_as("SELECT s.provider_id, t.provider_id FROM scans s LEFT JOIN tasks t ON t.id = s.task_id ORDER BY 1").fetch_all(&pool).await.unwrap();
    let (stage, lab) = (images[1].0.0, images[2].0.0);
    assert_eq!(targets, [(images[0].0.0, Some(stage)), (lab, Some(lab)), (images[3].0.0, None)]);
    for shares in [true, false] {
        let second = sqlx::query(
            "INSERT INTO scans (digest, provider_id, userid, reference, state, requested_at, shares_results)
             SELECT digest, provider_id, '', '', 'waiting', NOW(), shares_results FROM scans WHERE shares_results = $1 LIMIT 1",
        );
        assert!(second.bind(shares).execute(&pool).await.is_err(), "an index allows no second one");
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_scan_of_one_that_ends_to_share_is_its_own_and_others_get_theirs(pool: PgPool) {
    let ctx = context(&pool, 9).await;
    let (lab, prod) = (image(&pool, "lab", 1).await, image(&pool, "prod", 1).await);
    let (lab_known, prod_known) = (image(&pool, "lab", 2).await, image(&pool, "prod", 2).await);
    let only_lab = image(&pool, "lab", 3).await;
    analyse(&ctx, prod_known, 6).await;
    let scan = fetching(&ctx, lab.0, lab.1).await;
    fetching(&ctx, lab.0, lab_known.1).await;
    fetching(&ctx, lab.0, only_lab.1).await;
    assert_eq!(set(&ctx, lab.0, false).await, Shared { images: 1, lost: 1, asked_again: 1 }, "lab had what prod found in digest 2");
    let (l, p) = (lab.0.0, prod.0.0);
    assert_eq!(open(&ctx).await, [(1, l, false), (1, p, true), (2, l, false), (3, l, false)], "prod knows digest 2, and has not 3");
    assert!(save_report(&ctx, &scan, &failing(&scan, 0)).await);
    assert_eq!((counts(&ctx, lab.1).await, counts(&ctx, prod.1).await, counts(&ctx, prod_known.1).await), (found("lab", 0), None, found("prod", 6)));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_open_scan_of_one_that_begins_to_share_ends_where_another_is_under_way(pool: PgPool) {
    let ctx = context(&pool, 9).await;
    let mut conn = pool.acquire().await.unwrap();
    let (lab, prod) = (image(&pool, "lab", 1).await, image(&pool, "prod", 1).await);
    let only_lab = image(&pool, "lab", 2).await;
    set(&ctx, lab.0, false).await;
    let second = fetching(&ctx, lab.0, lab.1).await;
    fetching(&ctx, lab.0, only_lab.1).await;
    let first = fetching(&ctx, prod.0, prod.1).await;
    set(&ctx, lab.0, true).await;
    assert_eq!(open(&ctx).await, [(1, prod.0.0, true), (2, lab.0.0, true)]);
    let ended = task::find(&mut conn, second.task.unwrap()).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.reason_code.as_str()), (Some(task::TaskStatus::Cancelled), "analysed_elsewhere"));
    assert!(!save_report(&ctx, &second, &failing(&second, 0)).await, "who drove it cannot write any more");
    assert!(save_report(&ctx, &first, &failing(&first, 2)).await);
    assert_eq!((counts(&ctx, lab.1).await, counts(&ctx, prod.1).await), (found("prod", 2), found("prod", 2)));
}

async fn remove(ctx: &SmartState, provider: ProviderId) {
    let mut conn = ctx.pool.acquire().await.unwrap();
    removal::request(&mut conn, &ctx.clock, provider).await.unwrap();
    let asked_at = removal::asked_at(&mut conn, provider).await.unwrap().unwrap();
    drop(conn);
    end_scans(ctx, provider, asked_at).await.unwrap();
    removal::finish(&ctx.pool, provider).await.unwrap();
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn what_a_removed_provider_found_keeps_its_name_and_goes_on_counting_if_it_shared(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (prod, lab, apart) = (image(&pool, "prod", 1).await, image(&pool, "lab", 1).await, image(&pool, "apart", 1).await);
    set(&ctx, apart.0, false).await;
    analyse(&ctx, prod, 1).await;
    analyse(&ctx, lab, 2).await;
    let scan = analyse(&ctx, apart, 9).await;
    remove(&ctx, lab.0).await;
    remove(&ctx, apart.0).await;
    assert_eq!(counts(&ctx, prod.1).await, found("lab", 2));
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scans WHERE id = $1").bind(scan).fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0, "what was kept apart is gone with its provider");
    // A new one of the same name is another one: it shares, as new ones do.
    let again = image(&pool, "apart", 1).await;
    set(&ctx, prod.0, false).await;
    assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, again.1).await), (found("prod", 1), found("lab", 2)));
    set(&ctx, prod.0, true).await;
    assert_eq!(counts(&ctx, prod.1).await, found("lab", 2));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_provider_that_ends_to_share_while_it_is_removed_leaves_nothing_that_counts(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (prod, lab) = (image(&pool, "prod", 1).await, image(&pool, "lab", 1).await);
    analyse(&ctx, lab, 0).await;
    let mut conn = pool.acquire().await.unwrap();
    removal::request(&mut conn, &ctx.clock, lab.0).await.unwrap();
    let asked_at = removal::asked_at(&mut conn, lab.0).await.unwrap().unwrap();
    end_scans(&ctx, lab.0, asked_at).await.unwrap();
    set(&ctx, lab.0, false).await;
    assert_eq!(counts(&ctx, prod.1).await, None);
    assert!(removal::finish(&pool, lab.0).await.is_err(), "its findings would count for all");
    // The job comes again.
    end_scans(&ctx, lab.0, asked_at).await.unwrap();
    removal::finish(&pool, lab.0).await.unwrap();
    assert_eq!(counts(&ctx, prod.1).await, None);
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM inspections").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_removal_of_one_that_is_kept_apart_asks_for_nothing_elsewhere(pool: PgPool) {
    let ctx = context(&pool, 3).await;
    let (lab, _prod) = (image(&pool, "lab", 1).await, image(&pool, "prod", 1).await);
    set(&ctx, lab.0, false).await;
    let mut conn = pool.acquire().await.unwrap();
    request(&mut conn, &ctx.clock, "admin", &[lab.1]).await.unwrap();
    remove(&ctx, lab.0).await;
    assert_eq!(open(&ctx).await, []);
}

/// The setting goes to and fro while results are saved and asked for: whatever comes first, images carry what counts, and nobody waits in a circle.
#[sqlx::test(migrator = "model::MIGRATOR")]
async fn results_that_are_saved_while_the_setting_changes_count_where_it_says(pool: PgPool) {
    let ctx = context(&pool, 50).await;
    let mut images = Vec::new();
    for digest in 1..=12 {
        images.push((image(&pool, "prod", digest).await, image(&pool, "lab", digest).await));
    }
    let mut open = Vec::new();
    for (_, lab) in &images {
        open.push(fetching(&ctx, lab.0, lab.1).await);
    }
    let lab = images[0].1.0;
    let saving = async {
        let mut saved = Vec::new();
        for scan in &open {
            saved.push(save_report(&ctx, scan, &failing(scan, 1)).await);
        }
        saved
    };
    let switching = async {
        for shares in [false, true, false, true, false, true, false] {
            set(&ctx, lab, shares).await;
        }
    };
    let asking = async {
        for (prod, _) in &images {
            let mut tx = pool.begin().await.unwrap();
            request(&mut tx, &ctx.clock, "other", &[prod.1]).await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    let (saved, ..) = tokio::join!(saving, switching, asking);
    for ((prod, lab), saved) in images.iter().zip(saved) {
        let own = if saved { found("lab", 1) } else { None };
        assert_eq!((counts(&ctx, prod.1).await, counts(&ctx, lab.1).await), (None, own));
    }
    let wrong: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM scans JOIN providers ON providers.id = provider_id WHERE state <> 'finished' AND scans.shares_results <> providers.shares_results",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(wrong, 0);
}
