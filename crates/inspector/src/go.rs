//! JSON as Go's programs read it: names of fields in any case, bytes that are no UTF-8 replaced, of a name that occurs twice the last one.
//!
//! Source: Go, `encoding/json` (`Unmarshal`).

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Fields whose value is a map: its keys are people's own words, which stay as they are.
const MAPS: [&str; 4] = ["Labels", "ExposedPorts", "Volumes", "annotations"];

/// Reads a document whose fields are called `names`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], names: &[&str]) -> serde_json::Result<T> {
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_value(renamed(serde_json::from_str(&text)?, names))
}

/// The exact name counts more than one in another case.
fn renamed(value: Value, names: &[&str]) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| renamed(item, names)).collect(),
        Value::Object(fields) => {
            let (exact, other): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| names.contains(&name.as_str()));
            let inside = |name: &str, value| if MAPS.contains(&name) { value } else { renamed(value, names) };
            let mut fields: Map<String, Value> = exact.into_iter().map(|(name, value)| (name.clone(), inside(&name, value))).collect();
            for (name, value) in other {
                match names.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
                    Some(known) if !fields.contains_key(*known) => _ = fields.insert((*known).to_owned(), inside(known, value)),
                    _ => _ = fields.entry(name).or_insert(value),
                }
            }
            Value::Object(fields)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use serde::Deserialize;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Document {
        #[serde(rename = "User")]
        user: Option<String>,
        config: Option<Box<Document>>,
        #[serde(rename = "Labels")]
        labels: Option<std::collections::BTreeMap<String, String>>,
    }

    #[test]
    fn labels_keep_their_names() {
        let text = br#"{"config":{"labels":{"user":"ann","CONFIG":"x","User":"bob"}}}"#;
        let labels = parse::<Document>(text, &["User", "config", "Labels"]).unwrap().config.unwrap().labels.unwrap();
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("CONFIG", "x"), ("User", "bob"), ("user", "ann")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn names_are_taken_in_any_case_and_the_last_value_counts() {
        let user = |text: &str| parse::<Document>(text.as_bytes(), &["User", "config"]).unwrap().user;
        assert_eq!(user(r#"{"USER":"a"}"#).as_deref(), Some("a"));
        assert_eq!(user(r#"{"user":"a","User":"b"}"#).as_deref(), Some("b"));
        assert_eq!(user(r#"{"User":"a","User":"b"}"#).as_deref(), Some("b"));
        assert_eq!(parse::<Document>(br#"{"Config":{"user":"x"}}"#, &["User", "config"]).unwrap().config.unwrap().user.as_deref(), Some("x"));
        assert_eq!(parse::<Document>(b"{\"User\":\"\xff\"}", &["User"]).unwrap().user.as_deref(), Some("\u{fffd}"));
        assert!(parse::<Document>(b"{} trailing", &[]).is_err());
    }
}
