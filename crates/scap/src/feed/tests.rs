//! Tests of choosing.

mod hostile;
mod random;

use super::{Answer, Answers, FeedError, Index, Selection, SourceEntry, source_entries};
use crate::report::{Package, PackageKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn shape(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/feed").join(format!("{name}.xml"))).unwrap()
}

fn index(feed: &str) -> Index {
    Index::build(feed.as_bytes()).unwrap()
}

fn package(kind: PackageKind, name: &str, version: &str) -> Package {
    let (name, version) = (name.to_owned(), version.to_owned());
    let (architecture, source, source_version, vendor, summary) = Default::default();
    Package { kind, name, version, architecture, source, source_version, vendor, summary }
}

fn deb(name: &str, version: &str, source: &str, source_version: &str) -> Package {
    Package { source: source.into(), source_version: source_version.into(), ..package(PackageKind::Deb, name, version) }
}

fn rpm(name: &str) -> Package {
    package(PackageKind::Rpm, name, "1-1")
}

/// The ids of elements in a document, of which each begins with `kind` (`def`, `tst` …), without what is before.
fn ids(selection: &Selection, kind: &str) -> BTreeSet<String> {
    let text = std::str::from_utf8(&selection.document).unwrap();
    let ids = text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    ids.filter_map(|id| id.split_once(&format!(":{kind}:")).map(|(_, number)| number.to_owned())).collect()
}

fn set(numbers: &[&str]) -> BTreeSet<String> {
    numbers.iter().map(|&number| number.to_owned()).collect()
}

#[test]
fn only_definitions_about_installed_packages_are_chosen_with_all_that_they_refer_to() {
    let index = index(&shape("suse"));
    let selection = index.select(&[rpm("sles-release"), rpm("libopenssl3"), rpm("kernel-azure"), rpm("kernel-default-devel")], &Answers::default()).unwrap();
    assert_eq!((index.definitions(), selection.definitions, selection.not_applicable, selection.undecided), (4, 2, 2, 0));
    assert_eq!(ids(&selection, "def"), set(&["1", "3"]));
    assert_eq!(ids(&selection, "tst"), set(&["1", "11", "12", "14"]));
    assert_eq!(ids(&selection, "obj"), ids(&selection, "tst"));
    assert_eq!(selection.matched_names, 3, "the release, the library and one kernel");
    let none = index.select(&[rpm("bash")], &Answers::default()).unwrap();
    assert_eq!((none.definitions, none.not_applicable), (0, 4), "the product's own package is not there");
    let names: BTreeSet<&str> = index.names().collect();
    assert_eq!(names, ["sles-release", "openssl", "libopenssl3", "bash", "MozillaFirefox"].into());
}

#[test]
fn names_in_variables_and_definitions_that_others_extend_are_followed() {
    let index = index(&shape("ubuntu"));
    let selection = index.select(&[deb("libssl3", "3.0.2-0ubuntu1.10", "openssl", "3.0.2-0ubuntu1.10")], &Answers::default()).unwrap();
    assert_eq!((selection.definitions, selection.not_applicable), (1, 4), "the inventory definition is no rule");
    assert_eq!((ids(&selection, "def"), ids(&selection, "var")), (set(&["1", "100"]), set(&["1"])));
    assert_eq!(selection.source_definitions, 0, "a list names binaries");
}

#[test]
fn names_that_mean_sources_are_looked_for_among_sources() {
    let index = index(&shape("debian"));
    let packages = [deb("libc6", "2.36-9", "glibc", "2.36-9"), deb("util-linux", "2.38.1-5", "", ""), deb("libuuid1", "2.38.1-5", "util-linux", "2.38.1-5")];
    let selection = index.select(&packages, &Answers::default()).unwrap();
    let text = String::from_utf8(selection.document.clone()).unwrap();
    assert_eq!((selection.definitions, selection.source_definitions, selection.matched_names), (2, 2, 2));
    assert!(text.contains("<name>source_glibc</name>") && text.contains("<name>source_util-linux</name>") && !text.contains("<name>glibc</name>"));
    assert!(text.contains("<through xmlns=\"https://tidewaiter.io/oval\">Through libc6 (of the source package glibc 2.36-9).</through></metadata>"));
    assert!(text.contains("Through libuuid1, util-linux (of the source package util-linux 2.38.1-5)."));
    assert!(
        text.contains("xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#linux\">\n      <name>source_glibc"),
        "the element's own namespace stays"
    );
}

#[test]
fn a_name_that_a_feed_of_binaries_lists_means_no_source() {
    let feed = shape("ubuntu").replace("package in jammy", "in jammy");
    // Some definitions list binaries, and nothing says that `glibc` is a source.
    let selection = index(&feed).select(&[deb("libc6", "2.35", "glibc", "2.35")], &Answers::default()).unwrap();
    assert_eq!((selection.definitions, selection.source_definitions), (0, 0));
    // In a feed that says nothing at all the image decides.
    let feed = shape("debian").replace(" DPKG is earlier", " is earlier").replace("<title>CVE-2026-0001 glibc", "<title>CVE-2026-0001");
    let feed = feed.replace("<product>", "<product>x-");
    let index = index(&feed);
    let selected = |packages: &[Package]| index.select(packages, &Answers::default()).unwrap();
    assert_eq!(selected(&[deb("libc6", "2.35", "glibc", "2.35")]).source_definitions, 1, "only a source has the name");
    let both = selected(&[deb("util-linux", "2.38.1-5", "", "")]);
    assert_eq!((both.definitions, both.source_definitions), (1, 0), "where both have it, it is what OpenSCAP takes it for");
}

#[test]
fn a_few_lists_of_binaries_do_not_hide_sources_in_a_feed_that_says_nothing() {
    let feed = shape("ubuntu").replace("package in jammy", "in jammy");
    let begin = feed.find("<definition class=\"vulnerability\" id=\"oval:com.example.jammy:def:3\"").unwrap();
    let end = begin + feed[begin..].find("</definition>").unwrap() + "</definition>".len();
    let more: String = (300..340).map(|number| feed[begin..end].replace(":def:3\"", &format!(":def:{number}\""))).collect();
    let feed = format!("{}{more}{}", &feed[..end], &feed[end..]);
    let selection = index(&feed).select(&[deb("libc6", "2.35", "glibc", "2.35")], &Answers::default()).unwrap();
    assert_eq!((selection.definitions, selection.source_definitions), (41, 41), "only a source has the name");
}

#[test]
fn values_that_find_other_names_than_their_own_keep_their_definitions() {
    let installed = [deb("libssl3", "3.0.2", "openssl", "3.0.2")];
    for value in ["libssl3:amd64", "gpg-pubkey"] {
        let feed = shape("ubuntu").replace("<value>libssl3</value>", &format!("<value>{value}</value>"));
        let selection = index(&feed).select(&installed, &Answers::default()).unwrap();
        assert!(ids(&selection, "def").contains("1"), "{value}");
    }
}

#[test]
fn a_test_that_two_definitions_mean_differently_is_written_for_both() {
    let feed =
        shape("debian").replace("test_ref=\"oval:org.example.debian:tst:1\"", "test_ref=\"oval:org.example.debian:tst:2\"").replace("glibc DPKG", "x DPKG");
    let feed = feed.replace("<title>CVE-2026-0002 util-linux", "<title>CVE-2026-0002:").replace(
        "<criterion comment=\"x DPKG is earlier than 99\"",
        "<criterion comment=\"bash is there\" test_ref=\"oval:org.example.debian:tst:3\"/><criterion comment=\"util-linux is there\"",
    );
    let selection = index(&feed).select(&[deb("util-linux", "1", "", ""), deb("zlib", "1", "", "")], &Answers::default()).unwrap();
    let text = String::from_utf8(selection.document.clone()).unwrap();
    assert!(text.contains("<name>source_util-linux</name>") && text.contains("<name>util-linux</name>"), "{text}");
}

#[test]
fn sources_have_their_own_versions_and_those_of_what_was_signed() {
    let packages = [
        deb("libssl3", "3.0.13-1", "openssl", "3.0.13-1"),
        deb("libssl1.1", "1.1.1n-0", "openssl", "1.1.1n-0"),
        deb("libreoffice-core", "4:7.4.7-1", "libreoffice", "1:7.4.7-1"),
        deb("bash", "5.2-1", "", ""),
        deb("linux-image-6.1.0-18-amd64", "6.1.76-1", "linux-signed-amd64", "6.1.76+1"),
        deb("linux-image-amd64", "6.1.112-1", "linux-signed-amd64", "6.1.112+1"),
        deb("grub-efi-amd64-signed", "1+2.06+13+deb12u1", "", ""),
        deb("shim-helpers-amd64-signed", "1+15.8+1~deb12u1", "", ""),
        deb("linux-image-5.15.0-91-generic", "5.15.0-91.101", "linux-signed", "5.15.0-91.101"),
        deb("source_fake", "99", "", ""),
        rpm("zlib"),
    ];
    let entry = |source: &str, version: &str| SourceEntry { name: format!("source_{source}"), version: version.into(), source: source.into() };
    assert_eq!(
        source_entries(&packages),
        [
            entry("bash", "5.2-1"),
            entry("grub-efi-amd64-signed", "1+2.06+13+deb12u1"),
            entry("grub2", "2.06-13+deb12u1"),
            entry("libreoffice", "1:7.4.7-1"),
            entry("linux", "5.15.0-91.101"),
            entry("linux-signed", "5.15.0-91.101"),
            entry("linux-signed-amd64", "6.1.76+1"),
            entry("openssl", "1.1.1n-0"),
            entry("shim", "15.8-1~deb12u1"),
            entry("shim-helpers-amd64-signed", "1+15.8+1~deb12u1"),
        ]
    );
}

fn red_hat(packages: &[Package], answers: &[Answer]) -> Result<Selection, FeedError> {
    let index = index(&shape("redhat"));
    let questions = index.questions(packages).unwrap();
    assert_eq!(questions.ids, ["oval:io.tidewaiter.question:def:1"], "the major version's test spares nothing that packages do not");
    let text = String::from_utf8(questions.document).unwrap();
    assert!(text.contains("<red-def:rpmverifyfile_test check=\"none satisfy\"") && !text.contains("rpminfo_test") && text.contains(":obj:901\""));
    index.select(packages, &Answers(questions.ids.into_iter().zip(answers.iter().copied()).collect()))
}

#[test]
fn without_an_answer_definitions_are_undecided_and_with_one_they_are_chosen_by_their_packages() {
    let packages = [rpm("redhat-release"), rpm("openssl"), rpm("bash")];
    let told = red_hat(&packages, &[Answer::False]).unwrap();
    assert_eq!((told.definitions, told.not_applicable, told.undecided), (3, 2, 0));
    for answers in [&[][..], &[Answer::Unknown]] {
        let untold = red_hat(&packages, answers).unwrap();
        assert_eq!((untold.definitions, untold.not_applicable, untold.undecided), (3, 0, 2));
        assert_eq!(
            untold.undecided_reason,
            "2 definitions could not be judged, since OpenSCAP could not answer on what they hang (Red Hat Enterprise Linux must be installed)."
        );
    }
    let elsewhere = red_hat(&packages, &[Answer::True]).unwrap_err().to_string();
    assert!(elsewhere.starts_with("the definitions are made for another system: 5 of 5 hold whatever is installed"), "{elsewhere}");
    assert!(elsewhere.contains("(Red Hat Enterprise Linux must be installed)"), "{elsewhere}");
    let inapplicable = red_hat(&packages, &[Answer::NotApplicable]).unwrap();
    assert_eq!((inapplicable.definitions, inapplicable.undecided), (3, 0), "as OpenSCAP has it for the whole feed");
}

#[test]
fn answers_are_read_from_results() {
    let results = "<r:oval_results xmlns:r=\"http://oval.mitre.org/XMLSchema/oval-results-5\"><r:results><r:system><r:definitions>\
        <r:definition definition_id=\"a\" result=\"true\"/><r:definition definition_id=\"b\" result=\"not applicable\"/>\
        <r:definition definition_id=\"c\" result=\"error\"/></r:definitions></r:system></r:results></r:oval_results>";
    let answers = Answers::read(results.as_bytes()).unwrap();
    let expected = [("a", Answer::True), ("b", Answer::NotApplicable), ("c", Answer::Unknown)].map(|(id, answer)| (id.to_owned(), answer));
    assert_eq!(answers.0, expected.into());
    assert!(Answers::read(&results.as_bytes()[..200]).is_err());
}

#[test]
fn a_feed_for_packages_of_another_kind_is_refused() {
    let refused = |feed: &str, package: Package| index(&shape(feed)).select(&[package], &Answers::default()).unwrap_err();
    assert_eq!(
        refused("suse", deb("bash", "1", "", "")).to_string(),
        "the definitions are made for another system: they look at packages of the kind rpm, of which the image has none"
    );
    assert!(matches!(refused("debian", rpm("bash")), FeedError::OtherSystem(_)));
}

#[test]
fn definitions_of_compliance_are_never_left_out() {
    let feed = shape("suse").replace("class=\"vulnerability\"", "class=\"compliance\"");
    let selection = index(&feed).select(&[rpm("bash")], &Answers::default()).unwrap();
    assert_eq!((selection.definitions, selection.not_applicable), (4, 0), "false is bad there");
}

#[test]
fn names_that_cannot_be_compared_keep_their_definitions() {
    let kept = |from: &str, to: &str| {
        let feed = shape("suse");
        assert!(feed.contains(from));
        let selection = index(&feed.replace(from, to)).select(&[rpm("sles-release")], &Answers::default()).unwrap();
        (selection.definitions, selection.not_applicable)
    };
    assert_eq!(kept("<name>MozillaFirefox<", "<name>MozillaFirefox<"), (0, 4));
    assert_eq!(kept("<name>MozillaFirefox<", "<name operation=\"not equal\">MozillaFirefox<"), (1, 3));
    assert_eq!(kept("<name>MozillaFirefox<", "<name>gpg-pubkey<"), (1, 3), "keys are packages to rpm");
    assert_eq!(kept("^kernel-(default|azure)$", "^(a+)+\\1$"), (1, 3), "a pattern that only PCRE knows");
    assert_eq!(kept("^kernel-(default|azure)$", "^SLES"), (0, 4));
    assert_eq!(kept("^kernel-(default|azure)$", "(?i)^SLES"), (1, 3));
    assert_eq!(kept("comment=\"bash is &lt;4.0-1\"", "check_existence=\"none_exist\" comment=\"\""), (1, 3), "it holds without the package");
}

#[test]
fn results_say_through_which_packages_and_count_what_passed() {
    let definition = |id: &str| {
        format!(
            "<definition id=\"{id}\" class=\"vulnerability\" version=\"1\"><metadata><title>{id}</title>\
             <through xmlns=\"https://tidewaiter.io/oval\">Through libc6 (of the source package glibc 1).</through><through>no</through></metadata></definition>"
        )
    };
    let results: String = [("a", "true"), ("b", "false"), ("c", "error"), ("d", "not applicable")]
        .map(|(id, result)| format!("<r:definition definition_id=\"{id}\" result=\"{result}\"/>"))
        .concat();
    let text = format!(
        "<r:oval_results xmlns:r=\"http://oval.mitre.org/XMLSchema/oval-results-5\"><oval_definitions xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\">\
         <definitions>{}</definitions></oval_definitions><r:results><r:system><r:definitions>{results}</r:definitions></r:system></r:results></r:oval_results>",
        ["a", "b", "c", "d"].map(definition).concat()
    );
    let all = crate::oval::parse(text.as_bytes()).unwrap();
    assert_eq!((all.rules.len(), all.rules[0].message.as_str(), all.rules[1].message.as_str()), (4, "Through libc6 (of the source package glibc 1).", ""));
    let found = crate::oval::parse_found(text.as_bytes()).unwrap();
    assert_eq!(found.rules.iter().map(|rule| rule.rule_id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!((found.left_out.passed, found.left_out.not_applicable), (1, 1));
}
