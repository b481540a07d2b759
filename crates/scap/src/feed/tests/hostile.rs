//! Feeds that are damaged or made to harm.

use super::{FeedError, Index, index, rpm, shape};
use crate::feed::Answers;
use std::fmt::Write as _;

const HEAD: &str = "<oval_definitions xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\" xmlns:l=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#linux\">\
    <generator/>";

/// A feed of definitions with these criteria, each `1`, `2` …, and tests `1` to `3` for the packages `a`, `b` and `c`.
pub(super) fn feed(criteria: &[String], more_tests: &str) -> String {
    let mut text = format!("{HEAD}<definitions>");
    for (number, criteria) in criteria.iter().enumerate() {
        let _ = write!(text, "<definition id=\"d:def:{}\" class=\"vulnerability\" version=\"1\"><metadata/>{criteria}</definition>", number + 1);
    }
    text += "</definitions><tests>";
    for number in 1..=3 {
        let _ = write!(
            text,
            "<l:rpminfo_test id=\"d:tst:{number}\" version=\"1\" check=\"all\" comment=\"\"><l:object object_ref=\"d:obj:{number}\"/></l:rpminfo_test>"
        );
    }
    text += more_tests;
    text += "</tests><objects>";
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let _ = write!(text, "<l:rpminfo_object id=\"d:obj:{}\" version=\"1\"><l:name>{name}</l:name></l:rpminfo_object>", number + 1);
    }
    text + "</objects></oval_definitions>"
}

fn extend(number: usize) -> String {
    format!("<criteria><extend_definition definition_ref=\"d:def:{number}\"/></criteria>")
}

fn error(feed: &str) -> String {
    Index::build(feed.as_bytes()).unwrap_err().to_string()
}

#[test]
fn definitions_that_extend_each_other_in_a_circle_or_without_end_are_refused() {
    assert_eq!(error(&feed(&[extend(2), extend(1)], "")), "the definitions cannot be read: d:def:1 refers to itself in a circle");
    let chain = |length: usize| {
        feed(&(0..length).map(|number| extend(number + 2)).chain(["<criteria><criterion test_ref=\"d:tst:1\"/></criteria>".into()]).collect::<Vec<_>>(), "")
    };
    assert!(Index::build(chain(10).as_bytes()).is_ok());
    assert!(error(&chain(40)).contains("more than 16 deep"), "{}", error(&chain(40)));
    // Also when the far end is read first.
    let backwards: Vec<String> = std::iter::once("<criteria><criterion test_ref=\"d:tst:1\"/></criteria>".into()).chain((1..40).map(extend)).collect();
    assert!(error(&feed(&backwards, "")).contains("more than 16 deep"));
}

#[test]
fn definitions_that_multiply_what_they_extend_are_evaluated_once_each() {
    let double = |number: usize| {
        let extend = format!("<extend_definition definition_ref=\"d:def:{number}\"/>").repeat(50);
        // As deep as elements may nest.
        format!("{}{extend}{}", "<criteria>".repeat(55), "</criteria>".repeat(55))
    };
    let definitions: Vec<String> = (2..12).map(double).chain(["<criteria><criterion test_ref=\"d:tst:1\"/></criteria>".into()]).collect();
    let index = index(&feed(&definitions, ""));
    let selected = |name: &str| index.select(&[rpm(name)], &Answers::default()).unwrap().definitions;
    assert_eq!((selected("a"), selected("b")), (11, 0));
}

#[test]
fn what_refers_to_nothing_is_undecided_and_counted() {
    let both = |first: &str, second: &str| format!("<criteria><criterion test_ref=\"{first}\"/><criterion test_ref=\"{second}\"/></criteria>");
    let more = "<l:rpminfo_test id=\"d:tst:9\" version=\"1\" check=\"all\" comment=\"\"><l:object object_ref=\"d:obj:9\"/></l:rpminfo_test>";
    let index = index(&feed(&[both("d:tst:1", "d:tst:8"), both("d:tst:2", "d:tst:9"), both("d:tst:2", "d:tst:1"), both("d:tst:1", "d:tst:9")], more));
    let selection = index.select(&[rpm("a")], &Answers::default()).unwrap();
    assert_eq!((selection.definitions, selection.not_applicable, selection.undecided), (0, 2, 2));
    assert_eq!(selection.undecided_reason, "2 definitions could not be judged, since they refer to something that the feed does not hold.");
}

#[test]
fn what_is_no_feed_or_past_a_limit_is_refused_with_the_reason() {
    assert!(error("").contains("cannot be read"));
    assert!(error("<html/>").contains("the document is <html>"));
    assert!(error("<!DOCTYPE x [<!ENTITY a \"b\">]><x/>").contains("DOCTYPE"));
    let whole = feed(&[extend(2), "<criteria/>".into()], "");
    assert!(error(&whole[..whole.len() - 30]).contains("cannot be read"));
    assert!(error(&whole.replace("d:def:2\" class", "d:def:1\" class")).contains("the id d:def:1 occurs twice"));
    assert!(error(&whole.replace("d:tst:1\" v", "oval:io.tidewaiter.source:tst:1\" v")).contains("is kept for this product"));
    assert!(error(&whole.replace("d:obj:3", &"x".repeat(600))).contains("an id of more than 512 bytes"));
    assert!(error(&whole.replace(">c<", &format!(">{}<", "c".repeat(5000)))).contains("a name of more than 4 KiB"));
    assert!(error(&whole.replace("<criteria/>", "<criteria operator=\"NAND\"/>")).contains("NAND"));
    assert!(error(&whole.replace("<metadata/>", &format!("<metadata>{}</metadata>", "<a>x</a>".repeat(600_000)))).contains("4 MiB"));
    let many = format!("{HEAD}<definitions>{}", (0..200_001).map(|n| format!("<definition id=\"{n}\"/>")).collect::<String>());
    assert_eq!(error(&many), "the definitions are too large: more than 200,000 definitions");
}

#[test]
fn damage_at_any_place_never_panics() {
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let packages = [rpm("openssl"), rpm("bash"), super::deb("libc6", "1", "glibc", "1")];
    let mut read = 0;
    for name in ["debian", "ubuntu", "redhat", "suse"] {
        let whole = shape(name).into_bytes();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..=next(3) {
                let (from, to, length) = (next(bytes.len()), next(bytes.len()), next(40));
                match next(3) {
                    0 => bytes[to] = b"<>/\"&x=: "[next(9)],
                    1 => drop(bytes.drain(from..(from + length).min(bytes.len()))),
                    _ => {
                        let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                        bytes.splice(to..to, piece);
                    }
                }
            }
            match Index::build(&bytes[..]) {
                Ok(index) => {
                    read += 1;
                    let _ = index.questions(&packages);
                    let _ = index.select(&packages, &Answers::default());
                }
                Err(FeedError::Malformed(why) | FeedError::TooLarge(why)) => assert!(!why.is_empty()),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(read > 20, "{read}");
}
