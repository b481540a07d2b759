//! A report becomes rows, in one transaction that names the fence.

use crate::lease::{Scan, State};
use crate::report::Verdict;
use crate::{SmartState, deadline};
use anyhow::{Context, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use inventory::findings;
use scap::report::{Definitions, InspectionReport, Layer, LayerReport, Outcome, RuleResult};
use scap::tally::Tally;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

/// Rows per statement: keeps one statement's parameters within some megabytes.
const ROWS: usize = 2_000;
/// Texts per statement: they are held once more while it is written.
const BYTES: usize = 4 << 20;

/// A result of oscap or its HTML, as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Artifact {
    pub layer: Layer,
    /// `arf` or `html`.
    pub kind: &'static str,
    /// zstd.
    pub packed: Bytes,
    pub size_bytes: i64,
}

/// What was seen of the pod before it goes.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub log: String,
    pub events: Value,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { log: String::new(), events: json!([]) }
    }
}

/// Stores everything that a scan found and moves it to `cleaning`. Gives whether it did: `false` when another server took the scan meanwhile.
///
/// # Errors
/// The database; nothing is stored then.
pub(crate) async fn save(
    conn: &mut PgConnection,
    ctx: &SmartState,
    scan: &Scan,
    report: &InspectionReport,
    verdict: &Verdict,
    evidence: &Evidence,
) -> anyhow::Result<bool> {
    let mut tx = conn.begin().await?;
    if !close(&mut tx, ctx, scan, report, verdict, evidence).await? {
        return Ok(false);
    }
    forget(&mut tx, scan).await?;
    for layer in &report.layers {
        save_layer(&mut tx, scan, layer).await?;
    }
    save_rules(&mut tx, scan, report).await.context("saving rule results")?;
    save_packages(&mut tx, scan, report).await.context("saving packages")?;
    findings::lock(&mut tx).await?;
    save_inspection(&mut tx, scan, report, verdict, ctx.clock.now()).await.context("saving the inspection")?;
    let images = findings::images_of_digest(&mut tx, &scan.digest).await?;
    findings::renew(&mut tx, &images).await?;
    tx.commit().await?;
    Ok(true)
}

/// First of all, so that the row stays locked until the commit and nobody can take the scan meanwhile.
async fn close(
    conn: &mut PgConnection,
    ctx: &SmartState,
    scan: &Scan,
    report: &InspectionReport,
    verdict: &Verdict,
    evidence: &Evidence,
) -> anyhow::Result<bool> {
    let layers = report.layers.iter().map(|layer| (layer.layer.as_str().to_owned(), Value::from(layer.duration_ms)));
    let mut timings: serde_json::Map<String, Value> = layers.collect();
    timings.insert("pull".into(), report.timings.pull_ms.into());
    timings.insert("unpack".into(), report.timings.unpack_ms.into());
    timings.insert("packages".into(), report.timings.packages_ms.into());
    let warnings: Vec<String> = scan.warnings.iter().chain(&report.warnings).cloned().collect();
    let closed = sqlx::query!(
        "UPDATE scans
         SET state = 'cleaning', outcome = $3, reason_code = $4, message = $5, advice = $6, os_name = $7, warnings = $8, timings = timings || $9,
             pod_log = $10, pod_events = $11, state_deadline_at = $12, reads_begun = 0
         WHERE id = $1
           AND fence = $2
           AND state = 'fetching'",
        scan.id.0,
        scan.fence,
        if verdict.gap.is_some() { "warn" } else { "ok" },
        verdict.gap.as_ref().map_or("", |gap| gap.code()),
        verdict.message,
        verdict.gap.as_ref().map_or("", |gap| gap.advice()),
        report.os.as_ref().map_or("", |os| &os.pretty_name),
        &warnings,
        Value::Object(timings),
        evidence.log,
        evidence.events,
        deadline::of(State::Cleaning, ctx.clock.now())
    )
    .execute(conn)
    .await?;
    Ok(closed.rows_affected() == 1)
}

/// There is nothing yet, unless a database was restored half; then what is there is replaced.
async fn forget(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<()> {
    sqlx::query!("DELETE FROM rule_results WHERE scan_id = $1", scan.id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM packages WHERE scan_id = $1", scan.id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM scan_layers WHERE scan_id = $1", scan.id.0).execute(conn).await?;
    Ok(())
}

async fn save_layer(conn: &mut PgConnection, scan: &Scan, layer: &LayerReport) -> anyhow::Result<()> {
    let failed = layer.rules.iter().filter(|rule| rule.outcome == Outcome::Fail).count();
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let without_rows = layer.definitions.map_or(0, |counts| counts.passed.saturating_add(counts.not_applicable));
    let tally = Tally::of(layer.layer, &layer.rules);
    let undecided = |counts: &Definitions| counts.undecided.saturating_add(u32::try_from(tally.undecided).unwrap_or(u32::MAX));
    sqlx::query!(
        "INSERT INTO scan_layers (scan_id, layer, state, reason, profile, content, html_reason, rules, failed, duration_millis, definitions,
           definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        scan.id.0,
        layer.layer.as_str(),
        layer.state.as_str(),
        layer.reason,
        layer.profile,
        layer.content,
        layer.html_reason,
        i32::try_from(layer.rules.len())?.saturating_add(number(without_rows)),
        i32::try_from(failed)?,
        i64::try_from(layer.duration_ms).unwrap_or(i64::MAX),
        layer.definitions.map(|counts| number(counts.in_feed)),
        layer.definitions.map(|counts| number(counts.evaluated)),
        layer.definitions.map(|counts| number(counts.passed)),
        layer.definitions.map(|counts| number(counts.left_out().saturating_add(counts.not_applicable))),
        layer.definitions.as_ref().map(|counts| number(undecided(counts)))
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores one artifact of a scan whose results are being fetched, so that no two need to be held at a time. Gives whether it did: `false` when another server
/// took the scan meanwhile. They are shown once the scan has an inspection; [`forget_artifacts`] removes those of one that gets none.
///
/// # Errors
/// The database.
pub(crate) async fn save_artifact(conn: &mut PgConnection, scan: &Scan, artifact: &Artifact) -> anyhow::Result<bool> {
    let saved = sqlx::query!(
        "INSERT INTO scan_artifacts (scan_id, layer, kind, body, size_bytes)
         SELECT id, $3, $4, $5, $6
         FROM scans
         WHERE id = $1
           AND fence = $2
           AND state = 'fetching'
         ON CONFLICT (scan_id, layer, kind) DO UPDATE SET body = EXCLUDED.body, size_bytes = EXCLUDED.size_bytes",
        scan.id.0,
        scan.fence,
        artifact.layer.as_str(),
        artifact.kind,
        &artifact.packed[..],
        artifact.size_bytes
    )
    .execute(conn)
    .await?;
    Ok(saved.rows_affected() == 1)
}

/// Removes the artifacts of a scan that ends without a result.
///
/// # Errors
/// The database.
pub(crate) async fn forget_artifacts(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<()> {
    sqlx::query!("DELETE FROM scan_artifacts WHERE scan_id = $1", scan.id.0).execute(conn).await?;
    Ok(())
}

/// Failed rules first, the worst of them first; then what could not be decided; what passed last.
fn worst_first(report: &InspectionReport) -> Vec<(Layer, &RuleResult)> {
    let rank = |outcome: Outcome| match outcome {
        Outcome::Fail => 0,
        Outcome::Error => 1,
        Outcome::Unknown => 2,
        Outcome::NotChecked => 3,
        Outcome::Informational => 4,
        Outcome::Pass => 5,
        Outcome::Fixed => 6,
        Outcome::NotApplicable => 7,
    };
    let mut rules: Vec<_> = report.layers.iter().flat_map(|layer| layer.rules.iter().map(|rule| (layer.layer, rule))).collect();
    rules.sort_by(|(a_layer, a), (b_layer, b)| {
        let key = |layer: &Layer, rule: &RuleResult| (rank(rule.outcome), std::cmp::Reverse(rule.severity), *layer);
        key(a_layer, a).cmp(&key(b_layer, b)).then_with(|| a.title.cmp(&b.title)).then_with(|| a.rule_id.cmp(&b.rule_id))
    });
    rules
}

/// A rule's names as JSON, its fields in the order of the alphabet: fingerprints are made of it.
fn identifiers(rule: &RuleResult) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Named<'a> {
        href: &'a str,
        system: &'a str,
        text: &'a str,
    }
    serde_json::to_string(&rule.identifiers.iter().map(|one| Named { href: &one.href, system: &one.system, text: &one.text }).collect::<Vec<_>>())
}

/// SHA-256 of a rule's texts, each with its length before it.
fn fingerprint(rule: &RuleResult) -> anyhow::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    for text in [&rule.rule_id, &rule.title, &rule.description, &rule.rationale, &rule.fix, &identifiers(rule)?] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    Ok(hash.finalize().to_vec())
}

/// What one statement writes of `texts`: some thousand rows, or some megabytes.
fn part<'a, 'r>(texts: &'a [&'a (Vec<u8>, &'r RuleResult)]) -> &'a [&'a (Vec<u8>, &'r RuleResult)] {
    let bytes = |rule: &RuleResult| {
        let identifiers: usize = rule.identifiers.iter().map(|one| one.system.len() + one.text.len() + one.href.len() + 50).sum();
        identifiers + [&rule.rule_id, &rule.title, &rule.description, &rule.rationale, &rule.fix].into_iter().map(String::len).sum::<usize>()
    };
    let sums = texts.iter().scan(0, |sum, (_, rule)| {
        *sum += bytes(rule);
        Some(*sum)
    });
    let rows = sums.take(ROWS).take_while(|sum| *sum <= BYTES).count().max(1).min(texts.len());
    &texts[..rows]
}

async fn save_rules(conn: &mut PgConnection, scan: &Scan, report: &InspectionReport) -> anyhow::Result<()> {
    let rules = worst_first(report);
    let texts: Vec<(Vec<u8>, &RuleResult)> = rules.iter().map(|(_, rule)| Ok((fingerprint(rule)?, *rule))).collect::<anyhow::Result<_>>()?;
    save_texts(conn, &texts).await?;
    for (part, start) in rules.chunks(ROWS).zip((0..).step_by(ROWS)) {
        let prints: Vec<Vec<u8>> = texts[start..start + part.len()].iter().map(|(print, ..)| print.clone()).collect();
        let ordinals: Vec<i32> = (start..start + part.len()).map(i32::try_from).collect::<Result<_, _>>()?;
        let layers: Vec<String> = part.iter().map(|(layer, _)| layer.as_str().into()).collect();
        let outcomes: Vec<String> = part.iter().map(|(_, rule)| rule.outcome.as_str().into()).collect();
        let severities: Vec<String> = part.iter().map(|(_, rule)| rule.severity.as_str().into()).collect();
        let messages: Vec<String> = part.iter().map(|(_, rule)| rule.message.clone()).collect();
        let saved = sqlx::query!(
            "INSERT INTO rule_results (scan_id, ordinal, rule_key, layer, outcome, severity, message)
             SELECT $1, new.ordinal, rules.id, new.layer, new.outcome, new.severity, new.message
             FROM UNNEST($2::int[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS new (ordinal, fingerprint, layer, outcome, severity, message)
             JOIN rules ON rules.fingerprint = new.fingerprint",
            scan.id.0,
            &ordinals,
            &prints,
            &layers,
            &outcomes,
            &severities,
            &messages
        )
        .execute(&mut *conn)
        .await?;
        ensure!(saved.rows_affected() == part.len() as u64, "{} of {} rule results were saved", saved.rows_affected(), part.len());
    }
    Ok(())
}

/// In the order of their fingerprints, so that two scans that bring the same new rules do not wait for each other in a circle.
async fn save_texts(conn: &mut PgConnection, texts: &[(Vec<u8>, &RuleResult)]) -> anyhow::Result<()> {
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.dedup_by(|a, b| a.0 == b.0);
    let mut left = &sorted[..];
    while !left.is_empty() {
        let part = part(left);
        left = &left[part.len()..];
        let column = |of: fn(&RuleResult) -> &String| part.iter().map(|(.., rule)| of(rule).clone()).collect::<Vec<String>>();
        let prints: Vec<Vec<u8>> = part.iter().map(|(print, ..)| print.clone()).collect();
        let identifiers: Vec<String> = part.iter().map(|(_, rule)| identifiers(rule)).collect::<Result<_, _>>()?;
        sqlx::query!(
            "INSERT INTO rules (fingerprint, rule_id, title, description, rationale, fix, identifiers)
             SELECT new.fingerprint, new.rule_id, new.title, new.description, new.rationale, new.fix, new.identifiers::jsonb
             FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS new (fingerprint, rule_id, title, description, rationale, fix, identifiers)
             ON CONFLICT (fingerprint) DO NOTHING",
            &prints,
            &column(|rule| &rule.rule_id),
            &column(|rule| &rule.title),
            &column(|rule| &rule.description),
            &column(|rule| &rule.rationale),
            &column(|rule| &rule.fix),
            &identifiers
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn save_packages(conn: &mut PgConnection, scan: &Scan, report: &InspectionReport) -> anyhow::Result<()> {
    let mut packages: Vec<_> = report.packages.iter().collect();
    packages.sort_by(|a, b| (&a.name, &a.architecture, &a.version).cmp(&(&b.name, &b.architecture, &b.version)));
    for (part, start) in packages.chunks(ROWS).zip((0..).step_by(ROWS)) {
        let column = |of: fn(&scap::report::Package) -> &str| part.iter().map(|package| of(package).to_owned()).collect::<Vec<String>>();
        let ordinals: Vec<i32> = (start..start + part.len()).map(i32::try_from).collect::<Result<_, _>>()?;
        sqlx::query!(
            "INSERT INTO packages (scan_id, ordinal, kind, name, version, architecture, source, vendor, summary)
             SELECT $1, new.*
             FROM UNNEST($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[]) AS new",
            scan.id.0,
            &ordinals,
            &column(|p| p.kind.as_str()),
            &column(|p| &p.name),
            &column(|p| &p.version),
            &column(|p| &p.architecture),
            &column(|p| &p.source),
            &column(|p| &p.vendor),
            &column(|p| &p.summary)
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn save_inspection(conn: &mut PgConnection, scan: &Scan, report: &InspectionReport, verdict: &Verdict, now: DateTime<Utc>) -> anyhow::Result<()> {
    let os = report.os.clone().unwrap_or_default();
    let failed = verdict.failed;
    sqlx::query!(
        "INSERT INTO inspections (digest, scan_id, inspected_at, os_id, os_version, os_name, architecture, media_type, compressed_size_bytes,
           unpacked_size_bytes, config, package_database, package_count, failed_critical, failed_high, failed_medium, failed_low, failed_unknown, fully_checked,
           provider_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
         ON CONFLICT (digest, provider_id) DO UPDATE SET
           scan_id = EXCLUDED.scan_id, inspected_at = EXCLUDED.inspected_at, os_id = EXCLUDED.os_id, os_version = EXCLUDED.os_version,
           os_name = EXCLUDED.os_name, architecture = EXCLUDED.architecture, media_type = EXCLUDED.media_type,
           compressed_size_bytes = EXCLUDED.compressed_size_bytes, unpacked_size_bytes = EXCLUDED.unpacked_size_bytes, config = EXCLUDED.config,
           package_database = EXCLUDED.package_database, package_count = EXCLUDED.package_count, failed_critical = EXCLUDED.failed_critical,
           failed_high = EXCLUDED.failed_high, failed_medium = EXCLUDED.failed_medium, failed_low = EXCLUDED.failed_low,
           failed_unknown = EXCLUDED.failed_unknown, fully_checked = EXCLUDED.fully_checked",
        scan.digest,
        scan.id.0,
        now,
        os.id,
        os.version_id,
        os.pretty_name,
        report.config.architecture,
        report.media_type,
        i64::try_from(report.compressed_size_bytes).unwrap_or(i64::MAX),
        i64::try_from(report.unpacked_size_bytes).unwrap_or(i64::MAX),
        json!(report.config),
        json!(report.package_database),
        i32::try_from(report.packages.len())?,
        failed.critical,
        failed.high,
        failed.medium,
        failed.low,
        failed.unknown,
        verdict.fully_checked,
        scan.provider.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
