//! Private keys in text.

use super::{Kind, Secret, window};

/// Of a key in text; the largest real ones have 13 KiB.
const MAX_BYTES: usize = 32 << 10;

/// Whether `line` is where a private key begins: PEM of every kind, PGP, PuTTY, SSH2. What follows is not looked at.
pub fn starts_private_key(line: &str) -> bool {
    let pem = line.split_once("-----BEGIN ").is_some_and(|(_, rest)| rest.split_once("-----").is_some_and(|(kind, _)| is_private(kind)));
    pem || line.starts_with("PuTTY-User-Key-File-") || line.contains("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----")
}

fn is_private(kind: &str) -> bool {
    let kind = kind.strip_suffix(" BLOCK").unwrap_or(kind);
    (kind == "PRIVATE KEY" || kind.ends_with(" PRIVATE KEY")) && kind.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
}

/// The private keys in `text` that have a content, also on one line with `\n` for its ends.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("-----BEGIN ") {
        let Some((kind, _)) = window(text, at + mark.len(), 60).split_once("-----").filter(|(kind, _)| is_private(kind)) else { continue };
        let begin = at + mark.len() + kind.len() + 5;
        let body = window(text, begin, MAX_BYTES);
        // `-----END`, or another key's begin.
        let end = begin + body.find("-----").unwrap_or(body.len());
        if has_content(&text[begin..end]) {
            found.push(Secret { kind: Kind::PrivateKey, what: "private key", range: begin..end });
        }
    }
    let putty = text.find("PuTTY-User-Key-File-");
    if let (Some(head), Some((at, mark))) = (putty, text.match_indices("Private-Lines:").next())
        && head < at
    {
        found.push(Secret { kind: Kind::PrivateKey, what: "PuTTY private key", range: at + mark.len()..text.len() });
    }
    found
}

/// Forty characters of base64 at least, other than a mask.
fn has_content(body: &str) -> bool {
    // `\n` of JSON and of environment files is white space here.
    let body: String = window(body, 0, 2000).replace("\\n", " ").replace("\\r", " ").replace('\\', " ");
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let lines = body.split_whitespace().filter(|line| line.len() >= 16 && line.chars().all(base64));
    let base64: String = lines.collect();
    let distinct = base64.chars().collect::<std::collections::HashSet<_>>().len();
    base64.len() >= 40 && distinct >= 4 && !base64.to_ascii_lowercase().contains("example") && !base64.contains("xxxxx")
}
