//! Judging what came back from a pod: is it ours, is it sane, what does it say? Nothing in it is trusted: the image it describes may be hostile.

use crate::bounded::{self, Limits, Unread};
use crate::content::NOT_LOADED;
use crate::lease::Scan;
use crate::reason::Reason;
use crate::words;
use anyhow::{Context, ensure};
use scap::report::{InspectionReport, Layer, LayerReport, LayerState, OUT_OF_MEMORY, Outcome, PackageDatabase, REPORT_VERSION, RuleResult, Severity};
use scap::tally::Tally;
use std::io::Read;

const UNPACKED_BYTES: u64 = 64 << 20;
/// No text of a rule, package or image is as long.
const TEXT_BYTES: usize = 4 << 20;
const DEPTH: usize = 32;
/// Of rules, of packages and of everything else that comes in lists.
const ITEMS: usize = 200_000;
const LIST_AT_MOST: usize = 500;
const WORD: usize = 512;
const LINE: usize = 2_000;
const TEXT: usize = 32_000;

/// Reads the report of `scan` from `packed` (zstd of JSON), cleaned of what the database cannot hold and cut to sane lengths. It takes no more than
/// `held_bytes` of memory, whatever is in `packed`.
///
/// # Errors
/// `TooMuch`: beyond a limit. `Malformed`: not a report of this version, or of another scan or image.
pub(crate) fn read(packed: &[u8], scan: &Scan, held_bytes: usize) -> Result<InspectionReport, Unread> {
    let limits = Limits { document_bytes: UNPACKED_BYTES, text_bytes: TEXT_BYTES, depth: DEPTH, items: ITEMS, held_bytes };
    let mut report: InspectionReport = bounded::from_zstd(packed, limits)?;
    belongs(&report, scan).map_err(|error| Unread::Malformed(error.to_string()))?;
    let rules: usize = report.layers.iter().map(|layer| layer.rules.len()).sum();
    if rules > ITEMS {
        return Err(Unread::TooMuch(format!("it holds more than {ITEMS} rules")));
    }
    clean(&mut report);
    Ok(report)
}

/// Reads, cleans and judges a report of whatever scan.
#[cfg(fuzzing)]
pub(crate) fn judge_json(json: &[u8]) {
    let limits = Limits { document_bytes: UNPACKED_BYTES, text_bytes: TEXT_BYTES, depth: DEPTH, items: ITEMS, held_bytes: 64 << 20 };
    if let Ok(mut report) = bounded::from_json::<InspectionReport>(json, limits) {
        clean(&mut report);
        let _ = judge(&report);
    }
}

fn belongs(report: &InspectionReport, scan: &Scan) -> anyhow::Result<()> {
    ensure!(report.version <= REPORT_VERSION, "its version {} is newer than this server's {REPORT_VERSION}", report.version);
    ensure!(report.scan_id == scan.id.to_string(), "it belongs to scan {} and not to {}", words::clean(&report.scan_id, 80), scan.id);
    ensure!(report.digest == scan.digest, "it describes {} and not {}", words::clean(&report.digest, 80), scan.digest);
    Ok(())
}

/// The size of what is in `packed` (zstd), when that is whole and within `limit`.
///
/// # Errors
/// Damaged, or larger.
pub(crate) fn unpacked_size(packed: &[u8], limit: u64) -> anyhow::Result<u64> {
    let decoder = bounded::decoder(packed)?;
    let size = std::io::copy(&mut decoder.take(limit + 1), &mut std::io::sink()).context("it is damaged")?;
    ensure!(size <= limit, "it is larger than {limit} bytes");
    Ok(size)
}

/// Removes NUL, which Postgres' texts cannot hold, and cuts to `most` bytes at a character's border.
fn cut(text: &mut String, most: usize) {
    if text.contains('\0') {
        text.retain(|c| c != '\0');
    }
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

fn cut_all(texts: &mut Vec<String>, most: usize) {
    texts.truncate(LIST_AT_MOST);
    texts.iter_mut().for_each(|text| cut(text, most));
}

fn clean(report: &mut InspectionReport) {
    for text in [&mut report.manifest_digest, &mut report.media_type] {
        cut(text, WORD);
    }
    clean_config(&mut report.config);
    if let Some(os) = &mut report.os {
        for text in [&mut os.id, &mut os.version_id, &mut os.pretty_name] {
            cut(text, WORD);
        }
        cut_all(&mut os.id_like, WORD);
    }
    match &mut report.package_database {
        PackageDatabase::Read { paths } => cut_all(paths, LINE),
        PackageDatabase::Absent => {}
        PackageDatabase::Unreadable { path, reason } => [path, reason].into_iter().for_each(|text| cut(text, LINE)),
    }
    for package in &mut report.packages {
        for text in [&mut package.name, &mut package.version, &mut package.architecture, &mut package.source, &mut package.vendor] {
            cut(text, WORD);
        }
        cut(&mut package.summary, LINE);
    }
    let mut seen = vec![];
    report.layers.retain(|layer| {
        !seen.contains(&layer.layer) && {
            seen.push(layer.layer);
            true
        }
    });
    report.layers.iter_mut().for_each(clean_layer);
    cut_all(&mut report.warnings, LINE);
    cut_all(&mut report.cut_files, WORD);
}

fn clean_config(config: &mut scap::report::ImageConfig) {
    for text in [&mut config.architecture, &mut config.os, &mut config.author, &mut config.user, &mut config.working_dir] {
        cut(text, LINE);
    }
    for list in [&mut config.env, &mut config.entrypoint, &mut config.cmd, &mut config.exposed_ports] {
        cut_all(list, TEXT);
    }
    let labels = std::mem::take(&mut config.labels);
    config.labels = labels
        .into_iter()
        .take(LIST_AT_MOST)
        .map(|(mut name, mut value)| {
            cut(&mut name, WORD);
            cut(&mut value, TEXT);
            (name, value)
        })
        .collect();
}

fn clean_layer(layer: &mut LayerReport) {
    // The inspector knows only that it got no content; that there should be some is known here.
    if layer.state == LayerState::NotCovered && layer.reason.starts_with(NOT_LOADED) {
        layer.state = LayerState::Failed;
    }
    for text in [&mut layer.reason, &mut layer.profile, &mut layer.content, &mut layer.html_reason] {
        cut(text, LINE);
    }
    layer.rules.iter_mut().for_each(clean_rule);
}

fn clean_rule(rule: &mut RuleResult) {
    cut(&mut rule.rule_id, WORD);
    cut(&mut rule.title, LINE);
    for text in [&mut rule.description, &mut rule.rationale, &mut rule.fix] {
        cut(text, TEXT);
    }
    cut(&mut rule.message, LINE);
    rule.identifiers.truncate(LIST_AT_MOST);
    for identifier in &mut rule.identifiers {
        for text in [&mut identifier.system, &mut identifier.text, &mut identifier.href] {
            cut(text, LINE);
        }
        // It becomes a link on a page.
        if !identifier.href.starts_with("https://") && !identifier.href.starts_with("http://") {
            identifier.href.clear();
        }
    }
}

/// Failed rules by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    pub critical: i32,
    pub high: i32,
    pub medium: i32,
    pub low: i32,
    pub unknown: i32,
}

impl Failed {
    pub(crate) fn count<'a>(rules: impl Iterator<Item = &'a RuleResult>) -> Self {
        let mut failed = Self::default();
        for rule in rules.filter(|rule| rule.outcome == Outcome::Fail) {
            *match rule.severity {
                Severity::Critical => &mut failed.critical,
                Severity::High => &mut failed.high,
                Severity::Medium => &mut failed.medium,
                Severity::Low => &mut failed.low,
                Severity::Unknown => &mut failed.unknown,
            } += 1;
        }
        failed
    }

    pub(crate) fn total(&self) -> i32 {
        self.critical + self.high + self.medium + self.low + self.unknown
    }

    /// `152 rules failed: 3 high, 149 low`.
    fn sentence(&self) -> String {
        let by_severity = [(self.critical, "critical"), (self.high, "high"), (self.medium, "medium"), (self.low, "low"), (self.unknown, "of unknown severity")];
        let parts: Vec<String> = by_severity.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        match self.total() {
            0 => "No rule failed".into(),
            1 => format!("1 rule failed: {}", parts.join(", ")),
            total => format!("{total} rules failed: {}", parts.join(", ")),
        }
    }
}

/// What a report amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `None`: all is well; else what is missing, and the scan ends with a warning.
    pub gap: Option<Reason>,
    pub message: String,
    pub failed: Failed,
    /// Every layer was evaluated, and every rule in them that OpenSCAP can judge; otherwise zero failures does not mean good.
    pub fully_checked: bool,
}

/// Judges a cleaned report.
pub(crate) fn judge(report: &InspectionReport) -> Verdict {
    let failed = Failed::count(report.layers.iter().flat_map(|layer| &layer.rules));
    let incomplete: Vec<String> = report
        .layers
        .iter()
        .filter(|layer| matches!(layer.state, LayerState::Failed | LayerState::NotPossible))
        .map(|layer| format!("{} ({})", layer.layer.as_str(), layer.reason))
        .collect();
    let gap = match (&report.os, &report.package_database) {
        (None, _) => Some(Reason::NoOperatingSystem),
        (_, PackageDatabase::Unreadable { path, reason }) => Some(Reason::PackagesUnreadable(format!("{path}: {reason}"))),
        _ if out_of_memory(report) => Some(Reason::OutOfMemory(format!("not evaluated: {}", incomplete.join("; ")))),
        _ if !incomplete.is_empty() => Some(Reason::LayersIncomplete(format!("Not evaluated: {}", incomplete.join("; ")))),
        _ => None,
    };
    let tallies: Vec<Tally> = report.layers.iter().map(Tally::of_layer).collect();
    let mut message = failed.sentence() + &unjudged(&tallies);
    if !report.cut_files.is_empty() {
        message += &format!("; a part of {} was left out and is not checked", report.cut_files.join(", "));
    }
    if let Some(gap) = &gap {
        message = format!("{}. {message}", gap.message());
    }
    cut(&mut message, LINE);
    let evaluated = report.layers.len() == Layer::ALL.len() && report.layers.iter().all(|layer| layer.state == LayerState::Evaluated);
    let whole = report.cut_files.is_empty() && tallies.iter().all(Tally::is_whole);
    Verdict { fully_checked: evaluated && whole && gap.is_none(), gap, message, failed }
}

/// Memory ran out for a layer.
fn out_of_memory(report: &InspectionReport) -> bool {
    report.layers.iter().any(|layer| layer.state == LayerState::Failed && layer.reason.starts_with(OUT_OF_MEMORY))
}

/// `; 12 rules could not be checked; 1 is left to people`, or nothing.
fn unjudged(tallies: &[Tally]) -> String {
    let undecided: usize = tallies.iter().map(|tally| tally.undecided).sum();
    let left: usize = tallies.iter().map(|tally| tally.left_to_people).sum();
    let mut words = match undecided {
        0 => String::new(),
        1 => "; 1 rule could not be checked".to_owned(),
        _ => format!("; {undecided} rules could not be checked"),
    };
    if left > 0 {
        words += &format!("; {left} {} left to people", if left == 1 { "is" } else { "are" });
    }
    words
}

#[cfg(test)]
pub(crate) mod tests;
