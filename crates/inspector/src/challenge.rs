//! What a registry asks for when it answers 401: the header `WWW-Authenticate`.

use std::collections::BTreeMap;

/// A way to log in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token from `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        /// Several are parted by spaces.
        scope: Option<String>,
    },
}

/// The best challenge in the headers' values, each of which may hold several: Bearer before Basic; `None` when no scheme is known.
///
/// Source: RFC 9110 §11.6.1; distribution/docs/spec/auth/token.md.
pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, mut fields) in values.flat_map(offers) {
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = fields.remove("realm").filter(|realm| !realm.is_empty()) {
                return Some(Challenge::Bearer { realm, service: fields.remove("service"), scope: fields.remove("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// The schemes of one value with their fields by name in lower case; of a name that occurs twice the first counts.
fn offers(value: &str) -> Vec<(&str, BTreeMap<String, String>)> {
    let mut offers: Vec<(&str, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let end = rest.find([',', ' ', '\t', '=', '"']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match (after.trim_start().strip_prefix('='), offers.last_mut()) {
            (Some(after), Some((_, fields))) if !word.is_empty() => {
                let (value, after) = field_value(after.trim_start());
                fields.entry(word.to_ascii_lowercase()).or_insert(value);
                rest = after;
            }
            _ if rest.is_empty() => return offers,
            // Neither name nor scheme: passed over, a character at a time.
            _ if word.is_empty() => rest = rest.strip_prefix(|_: char| true).unwrap_or_default(),
            _ => {
                offers.push((word, BTreeMap::new()));
                rest = after;
            }
        }
    }
}

/// A quoted string with its escapes resolved, or a word; and what follows it.
fn field_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::{Challenge, parse};

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned), scope: scope.map(str::to_owned) })
    }

    #[test]
    fn bearer_is_preferred_and_commas_within_quotes_belong_to_the_value() {
        let told = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let expected = bearer("https://auth.example/token", Some("r.example"), Some("repository:a/b:pull,push"));
        assert_eq!(parse(["Basic realm=\"x\"", told].into_iter()), expected);
        assert_eq!(parse([format!("Basic realm=\"x\", {told}").as_str()].into_iter()), expected, "in one header");
        assert_eq!(parse([format!("{told}, Basic realm=\"x\"").as_str()].into_iter()), expected);
        assert_eq!(parse(["basic realm=lab"].into_iter()), Some(Challenge::Basic));
        assert_eq!(parse(["Negotiate", "Bearer"].into_iter()), None);
        assert_eq!(parse(["Negotiate, Basic realm=\"x\""].into_iter()), Some(Challenge::Basic));
        assert_eq!(parse(["Negotiate YIIabc==, Basic"].into_iter()), Some(Challenge::Basic));
        assert_eq!(parse(["Bearer error=\"x\", Basic realm=\"y\""].into_iter()), Some(Challenge::Basic), "Bearer without a realm helps nobody");
    }

    #[test]
    fn fields_are_read_however_they_are_written() {
        let plain = bearer("https://a.example/t?x=y", Some("s"), None);
        for told in [
            "Bearer realm=https://a.example/t?x=y,service=s",
            "bearer   Realm = \"https://a.example/t?x=y\" , SERVICE = s",
            "BEARER realm=\"https://a.example/t?x=y\" service=\"s\"",
            ",, Bearer service=s,realm=\"https://a.example/t?x=y\",realm=\"https://second.example\"",
        ] {
            assert_eq!(parse([told].into_iter()), plain, "{told}");
        }
        let escaped = r#"Bearer realm="https://a.example/t",service="a \"b\" \\ c, d",scope="x",error="insufficient_scope""#;
        assert_eq!(parse([escaped].into_iter()), bearer("https://a.example/t", Some("a \"b\" \\ c, d"), Some("x")));
        assert_eq!(parse(["Bearer realm=\"https://a.example/t"].into_iter()), bearer("https://a.example/t", None, None), "not closed");
    }

    #[test]
    fn nonsense_is_no_challenge_and_ends() {
        for nonsense in ["", " ", ",,,", "=", "==\"", "\"", "=a=b", "Bearer realm", "Bearer =", "ä=\"", "Bearer \\", "\\\"=,"] {
            assert_eq!(parse([nonsense].into_iter()), None, "{nonsense}");
        }
    }
}
