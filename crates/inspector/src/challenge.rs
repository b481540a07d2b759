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
        scope: Option<String>,
    },
}

/// The best challenge in the headers' values: Bearer before Basic; `None` when no scheme is known.
///
/// Source: RFC 9110 §11.6.1; distribution/docs/spec/auth/token.md.
pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for value in values {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let mut fields = fields(rest);
            let mut take = |name: &str| fields.remove(name);
            if let Some(realm) = take("realm") {
                return Some(Challenge::Bearer { realm, service: take("service"), scope: take("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
    }
    basic
}

/// `a="b",c=d` as a map; names in lower case.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        fields.insert(name.trim_matches([',', ' ']).to_ascii_lowercase(), value.trim().to_owned());
        rest = next;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{Challenge, parse};

    #[test]
    fn bearer_is_preferred_and_commas_within_quotes_belong_to_the_value() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let expected =
            Challenge::Bearer { realm: "https://auth.example/token".into(), service: Some("r.example".into()), scope: Some("repository:a/b:pull,push".into()) };
        assert_eq!(parse(["Basic realm=\"x\"", bearer].into_iter()), Some(expected));
        assert_eq!(parse(["basic realm=lab"].into_iter()), Some(Challenge::Basic));
        assert_eq!(parse(["Negotiate", "Bearer"].into_iter()), None);
    }
}
