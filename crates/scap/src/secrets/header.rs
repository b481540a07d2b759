//! Credentials in HTTP headers, wherever a text writes one down: a `.git/config`, a command, a variable.

use super::placeholder::{is_placeholder, unquoted};
use super::{Kind, Secret, window};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true));
/// Headers whose value is the secret itself.
const KEYS: [&str; 9] =
    ["x-api-key", "private-token", "job-token", "deploy-token", "x-vault-token", "x-auth-token", "x-access-token", "x-jfrog-art-api", "x-auth-key"];

/// The credentials in `text`.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, name) in lower.match_indices("authorization") {
        found.extend(authorization(text, skip_separator(text, at + name.len())));
    }
    let token = lower.starts_with("token ") && text.len() >= 26 && text.split_whitespace().count() == 2;
    if lower.starts_with("basic ") || lower.starts_with("bearer ") || token {
        found.extend(authorization(text, 0));
    }
    for name in KEYS {
        let mut behind = 0;
        for (at, _) in lower.match_indices(name) {
            if at < behind {
                continue;
            }
            let begin = skip_separator(text, at + name.len());
            // In a URL it is GitHub's user for tokens.
            let is_header = text[at + name.len()..begin].contains(':') && !text[..at].ends_with('/');
            let end = begin + word(&text[begin..]);
            if is_header && end - begin >= 8 && !is_placeholder(&text[begin..end]) && !text[begin..end].contains("://") {
                found.push(Secret { kind: Kind::Header, what: "token in an HTTP header", range: begin..end });
                behind = end;
            }
        }
    }
    found
}

/// Behind quotes, white space, a colon and an equal sign.
fn skip_separator(text: &str, at: usize) -> usize {
    at + text[at..].bytes().take(12).take_while(|c| b" \t:=\"'\\>".contains(c)).count()
}

/// The length of what stands until white space, a quote or the like.
fn word(text: &str) -> usize {
    let text = window(text, 0, 8192);
    text.find(|c: char| c.is_whitespace() || "\"'`,;)}\\".contains(c)).unwrap_or(text.len())
}

/// The credentials of `scheme credentials` at `at`.
fn authorization(text: &str, at: usize) -> Option<Secret> {
    let rest = &text[at..];
    let scheme = rest.bytes().take(16).take_while(u8::is_ascii_alphabetic).count();
    // OTEL_EXPORTER_OTLP_HEADERS writes white space as %20.
    let encoded = if rest[scheme..].starts_with("%20") { 3 } else { 0 };
    let gap = encoded.max(rest[scheme..].bytes().take(8).take_while(|c| *c == b' ').count());
    if gap == 0 {
        return None;
    }
    let begin = at + scheme + gap;
    // Templates have white space inside.
    let end = if text[begin..].starts_with("{{") { begin } else { begin + word(&text[begin..]) };
    let credentials = &text[begin..end];
    let real = match rest[..scheme].to_ascii_lowercase().as_str() {
        "basic" => is_login(credentials),
        "bearer" | "token" | "apikey" | "digest" | "gitlab" | "splunk" => credentials.len() >= 8 && !is_placeholder(credentials) && !is_word(credentials),
        _ => false,
    };
    real.then_some(Secret { kind: Kind::Header, what: "credentials of an HTTP Authorization header", range: begin..end })
}

/// Plain words (`Bearer authentication`) are a sentence.
fn is_word(credentials: &str) -> bool {
    credentials.chars().all(|c| c.is_ascii_lowercase() || "-_.".contains(c))
}

/// Whether it is the base64 of a user and a password, other than those of every documentation.
pub(super) fn is_login(credentials: &str) -> bool {
    let Some(login) = BASE64.decode(unquoted(credentials)).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return false };
    let documented = ["user:pass", "user:password", "username:password", "user:passwd", "aladdin:open sesame", "aladdin:opensesame", "login:password"];
    login.split_once(':').is_some_and(|(user, password)| {
        let token = matches!(password, "" | "x-oauth-basic") && user.len() >= 16 && !is_placeholder(user);
        !documented.contains(&login.to_ascii_lowercase().as_str()) && (token || !is_placeholder(password))
    })
}
