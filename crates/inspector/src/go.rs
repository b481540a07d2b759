//! JSON as Go's programs read it: names of fields in any case, bytes that are no UTF-8 replaced, of a name that occurs twice the last one.
//!
//! Source: Go, `encoding/json` (`Unmarshal`).

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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
            let mut fields: Map<String, Value> = exact.into_iter().map(|(name, value)| (name, renamed(value, names))).collect();
            for (name, value) in other {
                match names.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
                    Some(known) if !fields.contains_key(*known) => _ = fields.insert((*known).to_owned(), renamed(value, names)),
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
