use super::*;
use crate::lease::tests::taken;
use crate::packages::is_any_installed;
use crate::report::judge;
use crate::report::tests::{layer, report, rule};
use model::ids::ScanId;
use scap::report::{Definitions, LayerState, OperatingSystem, Outcome, Severity};
use sqlx::PgPool;

/// A scan that has come to fetching, with a report that fits it.
async fn fetching(pool: &PgPool) -> (SmartState, Scan, InspectionReport) {
    let (ctx, scan) = taken(pool).await;
    sqlx::query("UPDATE scans SET state = 'fetching' WHERE id = $1").bind(scan.id).execute(pool).await.unwrap();
    let report = report(scan.id.0);
    (ctx, scan, report)
}

async fn store(pool: &PgPool, ctx: &SmartState, scan: &Scan, report: &InspectionReport) -> anyhow::Result<bool> {
    let artifact = Artifact { layer: Layer::Benchmark, kind: "arf", packed: Bytes::from_static(b"zstd"), size_bytes: 9 };
    let evidence = Evidence { log: "log".into(), events: json!([]) };
    let mut conn = pool.acquire().await?;
    if !save_artifact(&mut conn, scan, &artifact).await? {
        return Ok(false);
    }
    save(&mut conn, ctx, scan, report, &judge(report), &evidence).await
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_report_becomes_rows_worst_first(pool: PgPool) {
    let (ctx, scan, report) = fetching(&pool).await;
    assert!(store(&pool, &ctx, &scan, &report).await.unwrap());
    let rules: Vec<String> = sqlx::query_scalar("SELECT rule_id FROM rule_results JOIN rules ON rules.id = rule_key WHERE scan_id = $1 ORDER BY ordinal")
        .bind(scan.id)
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(rules, ["c", "b", "d", "a"]);
    let packages: Vec<String> = sqlx::query_scalar("SELECT name FROM packages ORDER BY ordinal").fetch_all(&pool).await.unwrap();
    assert_eq!(packages, ["bash", "zlib"]);
    let inspection: (i32, i32, i32, bool, String) =
        sqlx::query_as("SELECT failed_high, failed_low, package_count, fully_checked, os_name FROM inspections WHERE digest = $1")
            .bind(&scan.digest)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(inspection, (1, 1, 2, true, "Debian 12".into()));
    let ended: (String, String, String) = sqlx::query_as("SELECT state, outcome, message FROM scans").fetch_one(&pool).await.unwrap();
    assert_eq!(ended, ("cleaning".into(), "ok".into(), "2 rules failed: 1 high, 1 low".into()));
    let layers: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM scan_layers").fetch_one(&pool).await.unwrap();
    assert_eq!(layers, 3);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_server_that_lost_its_lease_saves_nothing(pool: PgPool) {
    let (ctx, mut scan, report) = fetching(&pool).await;
    scan.fence -= 1;
    assert!(!store(&pool, &ctx, &scan, &report).await.unwrap());
    let saved: i64 = sqlx::query_scalar("SELECT (SELECT COUNT(*) FROM rule_results) + (SELECT COUNT(*) FROM inspections)").fetch_one(&pool).await.unwrap();
    assert_eq!(saved, 0);
    scan.fence += 1;
    assert!(store(&pool, &ctx, &scan, &report).await.unwrap());
    assert!(!store(&pool, &ctx, &scan, &report).await.unwrap(), "saved twice");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_texts_of_a_rule_are_kept_once_for_all_results(pool: PgPool) {
    let (ctx, scan, mut report) = fetching(&pool).await;
    let same = (0..5_000).map(|_| rule("same", scap::report::Outcome::Fail, Severity::High)).collect();
    report.layers[2] = layer(Layer::Vulnerabilities, LayerState::Evaluated, same);
    assert!(store(&pool, &ctx, &scan, &report).await.unwrap());
    let (rules, results): (i64, i64) =
        sqlx::query_as("SELECT (SELECT COUNT(*) FROM rules WHERE rule_id = 'same'), (SELECT COUNT(*) FROM rule_results)").fetch_one(&pool).await.unwrap();
    assert_eq!((rules, results), (1, 5_003));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn definitions_without_a_row_are_counted(pool: PgPool) {
    let (ctx, scan, mut report) = fetching(&pool).await;
    report.layers[2] =
        layer(Layer::Vulnerabilities, LayerState::Evaluated, vec![rule("cve", Outcome::Fail, Severity::High), rule("odd", Outcome::Unknown, Severity::Low)]);
    report.layers[2].definitions = Some(Definitions { in_feed: 40_000, evaluated: 9, undecided: 3, passed: 6, not_applicable: 1 });
    assert!(store(&pool, &ctx, &scan, &report).await.unwrap());
    let counts: (i32, i32, i32, i32, i32, i32, i32) = sqlx::query_as(
        "SELECT rules, failed, definitions, definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided
         FROM scan_layers WHERE layer = 'vulnerabilities'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(counts, (9, 1, 40_000, 9, 6, 40_000 - 9 - 3 + 1, 4));
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM rule_results WHERE layer = 'vulnerabilities'").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 2);
    let whole: bool = sqlx::query_scalar("SELECT fully_checked FROM inspections").fetch_one(&pool).await.unwrap();
    assert!(!whole, "some are undecided");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn whether_a_feed_fits_a_system_is_seen_in_all_its_images(pool: PgPool) {
    let (ctx, scan, mut report) = fetching(&pool).await;
    report.packages[1].source = "shells".into();
    assert!(store(&pool, &ctx, &scan, &report).await.unwrap());
    let mut conn = pool.acquire().await.unwrap();
    let made: Vec<ScanId> = sqlx::query_scalar(
        "WITH other AS (
           INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at, shares_results)
           VALUES ('other', 'kubernetes', '', '', NOW(), NOW(), TRUE), ('apart', 'kubernetes', '', '', NOW(), NOW(), FALSE)
           RETURNING id, shares_results
         )
         INSERT INTO scans (digest, provider_id, userid, reference, state, requested_at, shares_results)
         SELECT '', id, '', '', 'waiting', NOW(), shares_results FROM other ORDER BY id
         RETURNING id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let (other, apart) = (made[0], made[1]);
    let system = |version: &str| OperatingSystem { id: "debian".into(), version_id: version.into(), ..OperatingSystem::default() };
    for (version, except, name, fits) in [
        ("12", other, "bash", true),
        ("12", other, "shells", true),
        ("12", other, "absent", false),
        ("11", other, "bash", false),
        ("12", scan.id, "bash", false),
        ("12", apart, "bash", false),
    ] {
        let found = is_any_installed(&mut conn, &system(version), except, &["nothing".into(), name.into()]).await.unwrap();
        assert_eq!(found, fits, "{name} in {version}, but for {except}");
    }
    // A cluster that is not trusted does not make a feed look as if it fitted.
    sqlx::query("UPDATE providers SET shares_results = FALSE WHERE id = $1").bind(scan.provider).execute(&pool).await.unwrap();
    assert!(!is_any_installed(&mut conn, &system("12"), other, &["bash".into()]).await.unwrap());
}
