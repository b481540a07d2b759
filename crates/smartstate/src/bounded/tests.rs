use super::*;
use scap::report::{InspectionReport, PackageDatabase, RuleResult};
use serde_json::Value;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { document_bytes: 4 << 20, text_bytes: 1000, depth: 32, items: 10_000, held_bytes: 1 << 20 };

fn too_much<T: DeserializeOwned>(json: &str) -> String {
    match from_json::<T>(json.as_bytes(), LIMITS) {
        Err(Unread::TooMuch(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn what_is_within_its_limits_is_read_as_it_is() {
    let json = r#"{"rule_id":"a","outcome":"fail","severity":"low","title":"é\n","identifiers":[{"system":"","text":"CVE-1"}],"unknown":[[1]]}"#;
    assert_eq!(from_json::<RuleResult>(json.as_bytes(), LIMITS).unwrap(), serde_json::from_str::<RuleResult>(json).unwrap());
    let database = r#"{"paths":["a"],"state":"read"}"#;
    assert_eq!(from_json::<PackageDatabase>(database.as_bytes(), LIMITS).unwrap(), PackageDatabase::Read { paths: vec!["a".into()] });
    let any = r#"{"a":[1,-1,1.5,true,null,{"b":"c"}]}"#;
    assert_eq!(from_json::<Value>(any.as_bytes(), LIMITS).unwrap(), serde_json::from_str::<Value>(any).unwrap());
    let packed = zstd::encode_all(any.as_bytes(), 3).unwrap();
    assert_eq!(from_zstd::<Value>(&packed, LIMITS).unwrap(), serde_json::from_str::<Value>(any).unwrap());
}

#[test]
fn a_list_that_does_not_end_is_refused_where_it_is() {
    let many = |item: &str| vec![item; 20_000].join(",");
    for (json, field) in [
        (format!(r#"{{"rule_id":"","outcome":"pass","severity":"low","title":"","identifiers":[{}]}}"#, many(r#"{"system":"","text":""}"#)), "identifiers"),
        (format!(r#"{{"rule_id":"","outcome":"pass","severity":"low","identifiers":[{}]}}"#, many(r#"{"system":"","text":""}"#)), "identifiers"),
    ] {
        assert!(too_much::<RuleResult>(&json).starts_with(field), "{}", too_much::<RuleResult>(&json));
    }
    assert!(too_much::<BTreeMap<String, String>>(&format!("{{{}}}", many(r#""a":"""#))).contains("more than 10000 items"));
    // An internally tagged enum is collected whole before its type looks at it.
    assert!(too_much::<PackageDatabase>(&format!(r#"{{"x":[{}],"state":"absent"}}"#, many(r#""""#))).contains("items"));
    assert!(too_much::<InspectionReport>(&format!(r#"{{"warnings":[{}]}}"#, many(r#""""#))).starts_with("warnings: more than 10000 items"));
}

#[test]
fn what_many_lists_hold_together_counts() {
    let text = "x".repeat(900);
    let json = format!("[{}]", vec![format!("[{}]", vec![format!(r#""{text}""#); 20].join(",")); 100].join(","));
    assert!(too_much::<Vec<Vec<String>>>(&json).contains("in memory"));
    let nothing = format!("[{}]", vec!["[[],[],[],[],[],[],[],[]]"; 5_000].join(","));
    assert!(too_much::<Vec<Vec<Vec<String>>>>(&nothing).contains("in memory"));
    // Of what the type leaves out nothing is made.
    let ignored = format!(r#"{{"rule_id":"","outcome":"pass","severity":"low","title":"","unknown":{json}}}"#);
    from_json::<RuleResult>(ignored.as_bytes(), LIMITS).unwrap();
}

#[test]
fn long_texts_deep_nesting_and_large_documents_are_refused_before_they_are_parsed() {
    assert!(too_much::<Value>(&format!(r#"["{}"]"#, "x".repeat(1001))).contains("longer than 1000 bytes"));
    assert!(too_much::<Value>(&format!(r#"["{}"]"#, "\\\"".repeat(600))).contains("longer than 1000 bytes"));
    assert!(too_much::<Value>(&"[".repeat(100_000)).contains("in each other"));
    assert!(too_much::<RuleResult>(&format!(r#"{{"ignored":{}"#, "[".repeat(100_000))).contains("in each other"));
    assert!(too_much::<Value>(&" ".repeat(5 << 20)).contains("larger than"));
    let packed = zstd::encode_all(" ".repeat(100 << 20).as_bytes(), 3).unwrap();
    assert!(matches!(from_zstd::<Value>(&packed, LIMITS), Err(Unread::TooMuch(_))));
}

#[test]
fn a_frame_that_asks_for_a_large_window_is_refused() {
    let mut encoder = zstd::Encoder::new(vec![], 19).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &vec![b' '; 20 << 20]).unwrap();
    let packed = encoder.finish().unwrap();
    let limits = Limits { document_bytes: 64 << 20, ..LIMITS };
    assert!(matches!(from_zstd::<Value>(&packed, limits), Err(Unread::Malformed(_))));
}

#[test]
fn what_is_no_json_is_said_in_few_words() {
    let shown = from_json::<RuleResult>(format!(r#"{{"outcome":"{}\u0000"}}"#, "x".repeat(900)).as_bytes(), LIMITS).unwrap_err();
    assert!(matches!(&shown, Unread::Malformed(text) if text.chars().count() <= 301 && text.starts_with("outcome: ")), "{shown:?}");
    assert!(matches!(from_json::<Value>(b"{} x", LIMITS), Err(Unread::Malformed(_))));
    assert!(matches!(from_zstd::<Value>(b"no zstd", LIMITS), Err(Unread::Malformed(_))));
}
