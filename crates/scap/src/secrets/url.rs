//! Logins in URLs: `scheme://user:password@host`, and what a connection string without a scheme has in its place.

use super::placeholder::is_placeholder;
use super::value::looks_random;
use super::{Kind, Secret, window, window_before};
use std::ops::Range;

/// Of user, password and host together.
const MAX_AUTHORITY_BYTES: usize = 1024;

/// The passwords (and tokens in a user's place) of the URLs in `text`.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let scheme = text[..at].bytes().rev().take_while(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c)).count();
        if scheme > 0 {
            found.extend(login(text, at + 3));
        }
    }
    found.extend(by_driver(text));
    found
}

fn secret(what: &'static str, range: Range<usize>) -> Secret {
    Secret { kind: Kind::Url, what, range }
}

/// The secret in the authority that begins at `begin`.
fn login(text: &str, begin: usize) -> Option<Secret> {
    let ahead = window(text, begin, MAX_AUTHORITY_BYTES);
    let authority = &ahead[..authority_length(ahead)];
    let (user_info, host) = authority.rsplit_once('@')?;
    if is_example(host) {
        return None;
    }
    let Some(colon) = colon(user_info) else {
        // Sentry's public keys stand there too.
        let public = user_info.len() == 32 && user_info.bytes().all(|c| c.is_ascii_hexdigit());
        let is_token = user_info.len() >= 20 && looks_random(user_info) && !public;
        return is_token.then(|| secret("token in a URL", begin..begin + user_info.len()));
    };
    let (user, password) = (&user_info[..colon], &user_info[colon + 1..]);
    if matches!(password, "" | "x-oauth-basic" | "x") && user.len() >= 20 && looks_random(user) {
        return Some(secret("token in a URL", begin..begin + user.len()));
    }
    let spoken = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let described = spoken(password, &["password", "passwd", "pass", "pw"]) && spoken(host.split(':').next().unwrap_or_default(), &["host", "hostname"]);
    let documented = described || matches!(password, "x-oauth-basic" | "[^") || is_placeholder(password) || is_encoded_reference(password);
    (!documented).then(|| secret("password in a URL", begin + colon + 1..begin + user_info.len()))
}

/// The first colon outside of a reference such as `${USER:-app}`.
fn colon(user_info: &str) -> Option<usize> {
    let mut open = 0;
    user_info.char_indices().find_map(|(at, c)| {
        match c {
            '{' | '<' => open += 1,
            '}' | '>' => open -= 1,
            _ => {}
        }
        (c == ':' && open <= 0).then_some(at)
    })
}

/// How long an authority is: to a slash, a question mark, a quote or white space, but not to those in `${…}` and `{{ … }}`.
fn authority_length(text: &str) -> usize {
    let mut open = 0;
    let end = text.char_indices().find(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        let ends = c.is_whitespace() || "/?#\"'`,;|\\".contains(*c) || matches!(c, ')' | ']') && !text[*at..].contains('@');
        ends && open <= 0
    });
    end.map_or(text.len(), |(at, _)| at)
}

/// Hosts that RFC 2606 keeps for documentation, and what stands for a host.
fn is_example(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let reserved = ["example", "example.com", "example.org", "example.net"]
        .iter()
        .any(|reserved| name == *reserved || name.strip_suffix(reserved).is_some_and(|rest| rest.ends_with('.')));
    reserved || name.ends_with(".example") || name.ends_with(".invalid") || matches!(name.as_str(), "..." | "…")
}

/// `%24%7BNAME%7D`, `%3Cpassword%3E`.
fn is_encoded_reference(password: &str) -> bool {
    let lower = password.to_ascii_lowercase();
    lower.starts_with("%24%7b") || lower.starts_with("%3c") || lower.starts_with("%7b%7b")
}

/// `user:password@tcp(host)` and `user:password@(host)` of Go's MySQL driver, and `user/password@//host` of Oracle's.
fn by_driver(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    let edge = |c: char| c.is_whitespace() || "\"'`=,;".contains(c);
    for sign in ["@tcp(", "@unix(", "@("] {
        for (at, _) in text.match_indices(sign) {
            let (from, before) = window_before(text, at, MAX_AUTHORITY_BYTES);
            let begin = from + before.rfind(edge).map_or(0, |edge| edge + before[edge..].chars().next().map_or(1, char::len_utf8));
            let Some(colon) = text[begin..at].find(':').map(|colon| begin + colon) else { continue };
            if !is_placeholder(&text[colon + 1..at]) {
                found.push(secret("password in a connection string", colon + 1..at));
            }
        }
    }
    for (at, sign) in text.match_indices("jdbc:oracle:thin:") {
        let begin = at + sign.len();
        let end = window(text, begin, MAX_AUTHORITY_BYTES).find('@').map_or(begin, |end| begin + end);
        let Some(slash) = text[begin..end].find('/').map(|slash| begin + slash) else { continue };
        if !text[begin..end].contains(edge) && !is_placeholder(&text[slash + 1..end]) {
            found.push(secret("password in a connection string", slash + 1..end));
        }
    }
    found
}
