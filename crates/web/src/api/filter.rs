//! `filter[]` expressions: `name='nginx'`, `id>10`, `tag=~'^v'`, `name='lib%'`, `id=[1,2]`, `digest!=NULL`, each may begin with `or `.
//!
//! Source: ManageIQ's REST API, "Filtering". All plain filters together, or any one that begins with `or `.

use super::error::ApiError;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    NotMatches,
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    One(String),
    Any(Vec<String>),
}

/// One parsed `filter[]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub or: bool,
    pub attribute: String,
    pub operator: Operator,
    pub value: Value,
}

/// Longest operators first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 8] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=~", Operator::Matches),
    ("!~", Operator::NotMatches),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
];

fn unquoted(text: &str) -> String {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if text.len() >= 2 && text.starts_with(quote) && text.ends_with(quote) {
            return text[1..text.len() - 1].to_owned();
        }
    }
    text.to_owned()
}

fn value(text: &str) -> Value {
    let text = text.trim();
    if text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("nil") {
        return Value::Null;
    }
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(list) => Value::Any(entries(list).into_iter().map(unquoted).collect()),
        None => Value::One(unquoted(text)),
    }
}

/// The entries of a list; a comma inside quotes separates nothing. Nothing but blanks has no entry.
fn entries(list: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (at, c) in list.char_indices() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (',', None) => {
                entries.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.push(&list[start..]);
    if list.trim().is_empty() { Vec::new() } else { entries }
}

/// Reads one expression.
///
/// # Errors
/// `BadRequest` when there is no attribute or no operator; the message shows the text and an example.
pub(crate) fn parse(text: &str) -> Result<Filter, ApiError> {
    let wrong = || ApiError::BadRequest(format!("filter {text:?} is not of the form name='value' (operators: = != < <= > >= =~ !~)"));
    let trimmed = text.trim();
    let (or, rest) = match trimmed.get(..3) {
        Some(start) if start.eq_ignore_ascii_case("or ") => (true, trimmed[3..].trim()),
        _ => (false, trimmed),
    };
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).ok_or_else(wrong)?;
    let (attribute, tail) = rest.split_at(end);
    let tail = tail.trim_start();
    if attribute.is_empty() {
        return Err(wrong());
    }
    let (sign, operator) = OPERATORS.iter().find(|(sign, _)| tail.starts_with(sign)).ok_or_else(wrong)?;
    let value = value(&tail[sign.len()..]);
    if value == Value::Any(Vec::new()) {
        return Err(ApiError::BadRequest(format!("the list in filter {text:?} is empty")));
    }
    Ok(Filter { or, attribute: attribute.to_owned(), operator: *operator, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_and_kind_of_value_is_read() {
        let cases = [
            ("name='nginx'", false, "name", Operator::Equal, Value::One("nginx".into())),
            ("or id >= 10", true, "id", Operator::GreaterOrEqual, Value::One("10".into())),
            ("tag=~\"^v1\"", false, "tag", Operator::Matches, Value::One("^v1".into())),
            ("digest!=NULL", false, "digest", Operator::NotEqual, Value::Null),
            ("name!=['a,b', c]", false, "name", Operator::NotEqual, Value::Any(vec!["a,b".into(), "c".into()])),
            ("id=[1, 2]", false, "id", Operator::Equal, Value::Any(vec!["1".into(), "2".into()])),
            ("operating_system.distribution = 'debian'", false, "operating_system.distribution", Operator::Equal, Value::One("debian".into())),
        ];
        for (text, or, attribute, operator, value) in cases {
            assert_eq!(parse(text).unwrap(), Filter { or, attribute: attribute.into(), operator, value }, "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_an_example() {
        for text in ["", "name", "='x'", "name ? 'x'", "ö='x'"] {
            assert!(matches!(parse(text), Err(ApiError::BadRequest(message)) if message.contains("name='value'")), "{text}");
        }
    }
}
