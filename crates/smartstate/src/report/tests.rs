use super::*;
use crate::pod::tests::scan;
use scap::report::{Definitions, ImageConfig, Layer, OperatingSystem, Package, PackageKind, Timings};

const HELD: usize = 64 << 20;

pub(crate) fn rule(id: &str, outcome: Outcome, severity: Severity) -> RuleResult {
    RuleResult {
        rule_id: id.into(),
        outcome,
        severity,
        title: format!("Title of {id}"),
        description: String::new(),
        rationale: String::new(),
        fix: String::new(),
        identifiers: vec![],
        message: String::new(),
    }
}

pub(crate) fn layer(layer: Layer, state: LayerState, rules: Vec<RuleResult>) -> LayerReport {
    LayerReport {
        layer,
        state,
        reason: "a reason".into(),
        profile: String::new(),
        content: String::new(),
        rules,
        has_arf: false,
        has_html: false,
        html_reason: String::new(),
        duration_ms: 5,
        definitions: None,
    }
}

/// A report of scan `id` that is all well: 2 of 4 rules failed, 1 package.
pub(crate) fn report(id: i64) -> InspectionReport {
    let package = |name: &str| Package {
        kind: PackageKind::Deb,
        name: name.into(),
        version: "1".into(),
        architecture: "amd64".into(),
        source: String::new(),
        source_version: String::new(),
        vendor: String::new(),
        summary: String::new(),
    };
    InspectionReport {
        version: REPORT_VERSION,
        scan_id: id.to_string(),
        digest: scan(id).digest,
        manifest_digest: scan(id).digest,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        compressed_size_bytes: 10,
        unpacked_size_bytes: 20,
        config: ImageConfig::default(),
        os: Some(OperatingSystem { id: "debian".into(), version_id: "12".into(), pretty_name: "Debian 12".into(), id_like: vec![] }),
        package_database: PackageDatabase::Read { paths: vec!["var/lib/dpkg/status".into()] },
        packages: vec![package("zlib"), package("bash")],
        layers: vec![
            layer(Layer::Benchmark, LayerState::Evaluated, vec![rule("a", Outcome::Pass, Severity::High), rule("b", Outcome::Fail, Severity::Low)]),
            layer(Layer::Guide, LayerState::Evaluated, vec![rule("c", Outcome::Fail, Severity::High)]),
            layer(Layer::Vulnerabilities, LayerState::Evaluated, vec![rule("d", Outcome::Pass, Severity::Critical)]),
        ],
        timings: Timings::default(),
        warnings: vec![],
        cut_files: vec![],
    }
}

fn packed(report: &InspectionReport) -> Vec<u8> {
    zstd::encode_all(&serde_json::to_vec(report).unwrap()[..], 1).unwrap()
}

#[test]
fn a_report_of_another_scan_image_or_form_is_refused() {
    let refused = |change: fn(&mut InspectionReport)| {
        let mut report = report(7);
        change(&mut report);
        read(&packed(&report), &scan(7), HELD).unwrap_err().to_string()
    };
    assert!(refused(|report| report.scan_id = "8".into()).contains("scan 8"));
    assert!(refused(|report| report.digest = "sha256:else".into()).contains("sha256:else"));
    assert!(refused(|report| report.version += 1).contains("version"));
    assert!(read(b"no zstd", &scan(7), HELD).is_err());
    assert!(read(&zstd::encode_all(&b"{}"[..], 1).unwrap(), &scan(7), HELD).is_err());
    read(&packed(&report(7)), &scan(7), HELD).unwrap();
}

#[test]
fn what_a_hostile_image_puts_into_a_report_is_made_harmless() {
    let mut hostile = report(7);
    hostile.packages[0].name = "a\0b".into();
    hostile.packages[1].name = "ü".repeat(10_000);
    hostile.config.env = vec!["X=\0".into(); 10_000];
    hostile.layers[0].rules[0].identifiers = vec![scap::report::Identifier { system: String::new(), text: "CVE-1".into(), href: "javascript:alert(1)".into() }];
    hostile.layers.push(layer(Layer::Benchmark, LayerState::Evaluated, vec![]));
    let clean = read(&packed(&hostile), &scan(7), HELD).unwrap();
    assert_eq!(clean.packages[0].name, "ab");
    assert!(clean.packages[1].name.len() <= WORD + 3);
    assert_eq!(clean.config.env, vec!["X="; LIST_AT_MOST]);
    assert_eq!(clean.layers[0].rules[0].identifiers[0].href, "");
    assert_eq!(clean.layers.len(), 3);
}

#[test]
fn a_verdict_counts_failures_and_names_what_is_missing() {
    let good = judge(&report(7));
    assert_eq!(good.message, "2 rules failed: 1 high, 1 low");
    assert!(good.gap.is_none() && good.fully_checked);

    let mut unread = report(7);
    unread.package_database = PackageDatabase::Unreadable { path: "var/lib/dpkg/status".into(), reason: "line 3 is no field".into() };
    let verdict = judge(&unread);
    assert_eq!(verdict.gap.as_ref().unwrap().code(), "packages_unreadable");
    assert!(verdict.message.starts_with("The package database of this image cannot be read: var/lib/dpkg/status: line 3 is no field"));
    assert!(!verdict.fully_checked);

    let mut nothing = report(7);
    nothing.os = None;
    assert!(judge(&nothing).message.starts_with("No operating system found in this image"));

    let mut uncovered = report(7);
    uncovered.layers[2].state = LayerState::NotCovered;
    let verdict = judge(&uncovered);
    assert!(verdict.gap.is_none() && !verdict.fully_checked);
}

#[test]
fn rules_that_were_not_judged_are_counted_and_never_green() {
    let judged = |place: usize, outcomes: &[Outcome]| {
        let mut report = report(7);
        report.layers[place].rules = outcomes.iter().map(|outcome| rule("x", *outcome, Severity::Low)).collect();
        let verdict = judge(&report);
        (verdict.message, verdict.fully_checked)
    };
    let said = |message: &str, whole| (message.to_owned(), whole);
    assert_eq!(judged(2, &[Outcome::Pass, Outcome::Error]), said("2 rules failed: 1 high, 1 low; 1 rule could not be checked", false));
    assert_eq!(judged(1, &[Outcome::Unknown, Outcome::Error, Outcome::Pass]), said("1 rule failed: 1 low; 2 rules could not be checked", false));
    assert_eq!(judged(1, &[Outcome::Pass, Outcome::NotChecked]), said("1 rule failed: 1 low; 1 is left to people", true));
    for nothing in [&[][..], &[Outcome::NotApplicable; 3]] {
        assert_eq!(judged(1, nothing), said("1 rule failed: 1 low", false));
    }
}

#[test]
fn what_did_not_fit_into_memory_and_what_was_left_out_is_said() {
    let mut starved = report(7);
    starved.layers[2] = layer(Layer::Vulnerabilities, LayerState::Failed, vec![]);
    starved.layers[2].reason = format!("{OUT_OF_MEMORY} and was stopped.");
    let verdict = judge(&starved);
    assert_eq!(verdict.gap.unwrap().code(), "out_of_memory");
    assert!(verdict.message.contains("vulnerabilities (OpenSCAP ran out") && verdict.message.ends_with("2 rules failed: 1 high, 1 low"), "{}", verdict.message);

    let mut cut = report(7);
    cut.cut_files = vec!["/etc/passwd".into()];
    let verdict = judge(&cut);
    assert_eq!(
        (verdict.message.as_str(), verdict.fully_checked),
        ("2 rules failed: 1 high, 1 low; a part of /etc/passwd was left out and is not checked", false)
    );
}

#[test]
fn a_feed_that_could_not_be_loaded_makes_its_layer_a_failed_one() {
    let mut report = report(7);
    report.layers[2] = layer(Layer::Vulnerabilities, LayerState::NotCovered, vec![]);
    report.layers[2].reason = format!("{NOT_LOADED}no such file");
    let read = read(&packed(&report), &scan(7), HELD).unwrap();
    assert_eq!(read.layers[2].state, LayerState::Failed);
    assert_eq!(judge(&read).gap.unwrap().code(), "layers_incomplete");
}

#[test]
fn a_feed_that_concerns_nothing_installed_is_a_whole_check_and_one_that_cannot_decide_is_none() {
    let judged = |counts: Definitions| {
        let mut report = report(7);
        report.layers[2] = layer(Layer::Vulnerabilities, LayerState::Evaluated, vec![]);
        report.layers[2].definitions = Some(counts);
        let verdict = judge(&report);
        (verdict.message, verdict.fully_checked)
    };
    let all = Definitions { in_feed: 40_000, ..Definitions::default() };
    assert_eq!(judged(all), ("2 rules failed: 1 high, 1 low".into(), true));
    assert!(judged(Definitions { evaluated: 7, passed: 7, ..all }).1);
    assert_eq!(judged(Definitions { undecided: 3, ..all }), ("2 rules failed: 1 high, 1 low; 3 rules could not be checked".into(), false));
    assert!(!judged(Definitions::default()).1, "an empty feed says nothing");
}

/// What a scan pod that was taken over sends: each in a few kilobytes, each without end where a report has a list.
#[test]
fn a_report_whose_lists_do_not_end_is_refused_while_it_is_read() {
    let whole = String::from_utf8(serde_json::to_vec(&report(7)).unwrap()).unwrap();
    let endless = |item: &str| format!("[{}]", vec![item; 300_000].join(","));
    for (field, item) in [
        ("warnings", r#""""#),
        ("cut_files", r#""""#),
        ("packages", r#"{"kind":"deb","name":"","version":"","architecture":""}"#),
        ("layers", r#"{"layer":"guide","state":"failed","duration_ms":0}"#),
    ] {
        let json = whole.replacen('{', &format!(r#"{{"{field}":{},"#, endless(item)), 1);
        let refused = read(&zstd::encode_all(json.as_bytes(), 1).unwrap(), &scan(7), HELD).unwrap_err();
        assert!(matches!(&refused, Unread::TooMuch(text) if text.starts_with(field)), "{refused:?}");
    }
    for (within, field) in [("config", "env"), ("config", "labels"), ("os", "id_like"), ("package_database", "paths"), ("package_database", "other")] {
        let list = if field == "labels" { format!("{{{}}}", vec![r#""":"""#; 300_000].join(",")) } else { endless(r#""""#) };
        let json = whole.replacen(&format!(r#""{within}":{{"#), &format!(r#""{within}":{{"{field}":{list},"#), 1);
        let refused = read(&zstd::encode_all(json.as_bytes(), 1).unwrap(), &scan(7), HELD);
        assert!(matches!(&refused, Err(Unread::TooMuch(text)) if text.contains(within)), "{within}.{field}: {refused:?}");
    }
    let rule = r#"{"rule_id":"","outcome":"pass","severity":"low","title":"","identifiers":[]}"#;
    for (field, item, named) in [("rules", rule, "layers[0].rules"), ("identifiers", r#"{"system":"","text":""}"#, "layers[0].rules[0].identifiers")] {
        let json = whole.replacen(&format!(r#""{field}":["#), &format!(r#""{field}":[{},"#, vec![item; 300_000].join(",")), 1);
        let refused = read(&zstd::encode_all(json.as_bytes(), 1).unwrap(), &scan(7), HELD).unwrap_err();
        assert!(matches!(&refused, Unread::TooMuch(text) if text.starts_with(named)), "{refused:?}");
    }
}
