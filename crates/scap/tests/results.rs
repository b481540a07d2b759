//! Result files written by real OpenSCAP runs, and hostile ones.

// Tests may unwrap; the lint's own exception does not reach functions beside them.
#![allow(clippy::unwrap_used)]

use flate2::read::GzDecoder;
use scap::evaluation::{ArfError, Evaluation};
use scap::report::{Outcome, RuleResult, Severity};
use scap::{arf, oval};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn text(name: &str) -> String {
    let mut text = String::new();
    GzDecoder::new(File::open(testdata(name)).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn parsed(name: &str) -> Evaluation {
    arf::parse(BufReader::new(GzDecoder::new(File::open(testdata(name)).unwrap()))).unwrap()
}

fn rule<'a>(evaluation: &'a Evaluation, name: &str) -> &'a RuleResult {
    evaluation.rules.iter().find(|rule| rule.rule_id.ends_with(name)).unwrap()
}

/// `outcome name` per rule, as the files of expected results have it.
fn summary(evaluation: &Evaluation) -> BTreeSet<String> {
    let word = |outcome: Outcome| outcome.as_str().replace('_', "");
    evaluation.rules.iter().map(|rule| format!("{} {}", word(rule.outcome), rule.rule_id.split_once("_rule_").unwrap().1)).collect()
}

#[test]
fn every_rule_of_real_results_has_the_expected_outcome() {
    for sample in ["debian-12-bad", "debian-12-tiny", "ssg-debian-12"] {
        let expected = fs::read_to_string(testdata(&format!("{sample}.expected.txt"))).unwrap();
        let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
        assert_eq!(summary(&parsed(&format!("{sample}.arf.xml.gz"))), expected, "{sample}");
    }
}

#[test]
fn a_rule_has_its_words_and_names() {
    let evaluation = parsed("debian-12-bad.arf.xml.gz");
    assert_eq!((evaluation.title.as_str(), evaluation.profile.as_str()), ("Sample Debian 12 benchmark", ""));
    let cve = rule(&evaluation, "cve-2099-0001");
    assert_eq!(cve.title, "CVE-2099-0001: bash earlier than 0:5.2.15-2 (high)");
    assert_eq!((cve.severity, cve.outcome), (Severity::High, Outcome::Fail));
    assert_eq!((cve.description.as_str(), cve.fix.as_str()), ("Upgrade bash.", "apt-get install --only-upgrade bash"));
    assert_eq!(cve.identifiers.len(), 1);
    assert_eq!(cve.identifiers[0].system, "http://cve.mitre.org");
    assert_eq!(cve.identifiers[0].href, "https://security-tracker.debian.org/tracker/CVE-2099-0001");
    let mode = rule(&evaluation, "passwd_mode");
    assert_eq!((mode.rationale.as_str(), mode.fix.as_str()), ("because", "Change it: /etc/passwd not writable by group or others"));
    assert_eq!((mode.identifiers[0].text.as_str(), mode.identifiers[0].href.as_str()), ("CCE-99001-1", "https://ncp.nist.gov/cce"));
}

#[test]
fn a_guide_s_rules_are_plain_text_with_the_profile_s_values_in_place() {
    let evaluation = parsed("ssg-debian-12.arf.xml.gz");
    assert_eq!(evaluation.profile, "xccdf_org.ssgproject.content_profile_anssi_bp28_high");
    assert!(evaluation.score.is_some_and(|score| (83.9..84.0).contains(&score)));
    let umask = rule(&evaluation, "sudo_add_umask");
    assert!(umask.description.contains("umask=0077"), "{}", umask.description);
    assert!(umask.fix.contains("var_sudo_umask='0077'\n"), "scripts keep their lines: {}", umask.fix);
    let aide = rule(&evaluation, "aide_build_database");
    assert!(aide.description.contains("\n\n$ sudo aideinit\n\nBy default"), "paragraphs are kept: {}", aide.description);
    assert!(aide.identifiers.iter().any(|reference| reference.href.starts_with("https://")));
    assert_eq!(rule(&evaluation, "security_patches_up_to_date").message, "None of the check-content-ref elements was resolvable.");
}

#[test]
fn oval_definitions_are_judged_by_their_class() {
    let evaluation = oval::parse(text("debian-12-bad.oval-results.xml.gz").as_bytes()).unwrap();
    assert_eq!(evaluation.rules.len(), 30);
    let outcome = |number: &str| rule(&evaluation, &format!(":def:{number}")).outcome;
    assert_eq!((outcome("1"), outcome("7"), outcome("8")), (Outcome::Fail, Outcome::Fail, Outcome::Pass));
    assert_eq!((outcome("900001"), outcome("900003"), outcome("900010")), (Outcome::Fail, Outcome::Pass, Outcome::NotApplicable));
    let libc = rule(&evaluation, ":def:2");
    assert_eq!((libc.severity, libc.title.as_str()), (Severity::Critical, "CVE-2099-0002 libc6"));
    assert_eq!(libc.fix, "Upgrade libc6 to 2.36-9+deb12u3 or later.");
    assert_eq!(libc.identifiers.len(), 1);
    assert!(rule(&evaluation, ":def:8").description.is_empty(), "what passed needs no description");
}

/// An ARF in which the prefixes are not the usual ones; `results` goes into the test result.
fn small(results: &str) -> String {
    format!(
        r#"<a:asset-report-collection xmlns:a="http://scap.nist.gov/schema/asset-reporting-format/1.1" xmlns:q="http://checklists.nist.gov/xccdf/1.2">
        <a:report-requests><q:Benchmark id="b"><q:title>B</q:title><q:Group id="g"><q:title>not this</q:title><q:Group id="h">
        <q:Rule id="r" severity="low"><q:title>A &lt;b&gt; &amp; &#x41;</q:title><q:ident system="x">CVE-1</q:ident><q:reference href="javascript:alert(1)">CVE-1</q:reference></q:Rule>
        </q:Group></q:Group><q:TestResult id="embedded"><q:rule-result idref="r"><q:result>pass</q:result></q:rule-result></q:TestResult></q:Benchmark></a:report-requests>
        <a:reports><q:TestResult id="t">{results}</q:TestResult></a:reports></a:asset-report-collection>"#
    )
}

fn result(outcome: &str, definition: &str) -> String {
    format!(
        r##"<q:rule-result idref="r"><q:result>{outcome}</q:result><q:check><q:check-content-ref name="{definition}" href="#oval0"/></q:check></q:rule-result>"##
    )
}

#[test]
fn namespaces_count_and_prefixes_and_embedded_results_do_not() {
    let evaluation = arf::parse(small(&result("fail", "d")).as_bytes()).unwrap();
    assert_eq!((evaluation.title.as_str(), evaluation.rules.len()), ("B", 1));
    let rule = &evaluation.rules[0];
    assert_eq!((rule.rule_id.as_str(), rule.outcome, rule.title.as_str()), ("r", Outcome::Fail, "A <b> & A"));
    assert_eq!(rule.identifiers[0].href, "https://nvd.nist.gov/vuln/detail/CVE-1", "only web addresses become links");
}

#[test]
fn several_results_of_one_rule_are_kept_apart() {
    let results = [result("fail", "d1"), result("pass", "d2"), result("error", "d2"), result("pass", "")].concat();
    let evaluation = arf::parse(small(&results).as_bytes()).unwrap();
    let ids: Vec<&str> = evaluation.rules.iter().map(|rule| rule.rule_id.as_str()).collect();
    assert_eq!(ids, ["r#d1", "r#d2", "r#d2#2", "r#1"]);
}

#[test]
fn the_result_s_own_severity_wins() {
    let own = r#"<q:rule-result idref="r" severity="high"><q:result>fail</q:result></q:rule-result>"#;
    assert_eq!(arf::parse(small(own).as_bytes()).unwrap().rules[0].severity, Severity::High);
    assert_eq!(arf::parse(small(&result("fail", "")).as_bytes()).unwrap().rules[0].severity, Severity::Low);
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = text("debian-12-bad.arf.xml.gz");
    for end in (0..whole.trim_end().len()).step_by(whole.len() / 200) {
        assert!(matches!(arf::parse(&whole.as_bytes()[..end]), Err(ArfError::Malformed(_))), "cut at {end}");
    }
}

#[test]
fn documents_without_a_result_are_told_apart_from_broken_ones() {
    assert!(matches!(arf::parse(&b"<other/>"[..]), Err(ArfError::NoTestResult)));
    assert!(matches!(oval::parse(&b"<other/>"[..]), Err(ArfError::NoTestResult)));
    assert!(matches!(arf::parse(&b""[..]), Err(ArfError::Malformed(_))));
    assert!(matches!(oval::parse(&b"not XML"[..]), Err(ArfError::Malformed(_))));
    assert!(matches!(arf::parse(small(&result("wonderful", "")).as_bytes()), Err(ArfError::Malformed(_))));
}

#[test]
fn entities_and_deep_nesting_are_refused() {
    let bomb = r#"<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>"#;
    assert!(matches!(arf::parse(bomb.as_bytes()), Err(ArfError::Malformed(_))));
    assert!(matches!(arf::parse(&b"<a>&unknown;</a>"[..]), Err(ArfError::Malformed(_))));
    assert!(matches!(arf::parse("<a>".repeat(100).as_bytes()), Err(ArfError::Malformed(_))));
}

#[test]
fn one_text_without_end_and_one_long_field_are_bounded() {
    let endless = format!("<a>{}</a>", "x".repeat(17 << 20));
    assert!(matches!(arf::parse(endless.as_bytes()), Err(ArfError::TooLarge(_))));
    let long = small(&result("fail", "")).replace("A &lt;b&gt;", &"ä".repeat(40_000));
    let title = &arf::parse(long.as_bytes()).unwrap().rules[0].title;
    assert!(title.len() <= 64 << 10 && title.ends_with('…'));
}
