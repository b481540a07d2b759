//! Tokens whose issuer gave them a form of their own.
//!
//! Source: the issuers' documentation of their token formats; the lists of GitHub's secret scanning and of gitleaks (MIT) name most of them.

mod forms;

use super::{Kind, Secret};
use forms::{FORMS, Form};
use std::sync::OnceLock;

/// The tokens in `text`.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let forms = &by_first_byte()[usize::from(bytes[at])];
        match forms.iter().find_map(|form| form.end(bytes, at).map(|end| (form, end))) {
            Some((form, end)) if begins(bytes, at, form) && is_real(&text[at..end], form) => {
                found.push(Secret { kind: Kind::Token, what: form.what, range: at..end });
                at = end;
            }
            _ => at += 1,
        }
    }
    found.extend(web_tokens(text));
    found.extend(structured(text));
    found
}

fn by_first_byte() -> &'static [Vec<&'static Form>; 256] {
    static TABLE: OnceLock<[Vec<&'static Form>; 256]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [const { Vec::new() }; 256];
        FORMS.iter().for_each(|form| table[usize::from(form.prefix.as_bytes()[0])].push(form));
        table
    })
}

/// No letter, digit or sign of a token stands before it.
fn begins(bytes: &[u8], at: usize, form: &Form) -> bool {
    let before = at.checked_sub(1).map(|at| bytes[at]);
    // `\n` in a JSON text is no letter before it.
    let escaped = at >= 2 && bytes[at - 2] == b'\\' && matches!(bytes[at - 1], b'n' | b't' | b'r');
    escaped
        || before
            .is_none_or(|c| !c.is_ascii_alphanumeric() && (!form.prefix.starts_with(|c: char| c.is_ascii_alphabetic()) || !matches!(c, b'_' | b'-' | b'.')))
}

/// Neither a mask nor an example of a documentation.
fn is_real(token: &str, form: &Form) -> bool {
    const NO_TOKENS: [&str; 9] = ["example", "xxxx", "redacted", "placeholder", "your", "....", "____", "dummy", "changeme"];
    let body = token[form.prefix.len()..].to_ascii_lowercase();
    let mut seen = [false; 256];
    body.bytes().for_each(|c| seen[usize::from(c)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    let worded = form.needs_digit && !body.contains(|c: char| c.is_ascii_digit());
    distinct >= 3 && !worded && !NO_TOKENS.iter().any(|word| body.contains(word))
}

fn is_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-')
}

/// How many bytes from `at` on are of a kind.
fn run(bytes: &[u8], at: usize, kind: impl Fn(u8) -> bool) -> usize {
    bytes[at.min(bytes.len())..].iter().take_while(|c| kind(**c)).count()
}

/// JSON web tokens: three parts, the first two of which are JSON objects.
fn web_tokens(text: &str) -> Vec<Secret> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("eyJ") {
        if at > 0 && is_base64url(bytes[at - 1]) {
            continue;
        }
        let header = at + run(bytes, at, is_base64url);
        let claims = header + 1 + run(bytes, header + 1, is_base64url);
        let end = claims + 1 + run(bytes, claims + 1, is_base64url);
        let whole = header - at >= 12 && bytes.get(header) == Some(&b'.') && bytes.get(claims) == Some(&b'.');
        // An encrypted one has no claims to be seen.
        let parts = whole && (bytes[header + 1..].starts_with(b"eyJ") || bytes[header + 1..].starts_with(b"ey")) && end.saturating_sub(claims + 1) >= 16;
        if parts && is_signed(&text[claims + 1..end]) {
            found.push(Secret { kind: Kind::Token, what: "JSON web token", range: at..end });
        }
    }
    found
}

fn is_signed(signature: &str) -> bool {
    let lower = signature.to_ascii_lowercase();
    !["signature", "xxxx", "redacted", "example"].iter().any(|word| lower.contains(word))
}

/// Tokens that are known by what stands in their middle, or by the address that they are a part of.
fn structured(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    let mut add = |what, range: std::ops::Range<usize>| {
        let lower = text[range.clone()].to_ascii_lowercase();
        if !["xxxx", "example", "your", "redacted", "t00000000"].iter().any(|word| lower.contains(word)) {
            found.push(Secret { kind: Kind::Token, what, range });
        }
    };
    let bytes = text.as_bytes();
    let word = |c: u8| is_base64url(c) || matches!(c, b'/');
    const ADDRESSES: [(&str, usize, &str); 6] = [
        ("hooks.slack.com/services/T", 30, "Slack webhook"),
        ("hooks.slack.com/workflows/T", 30, "Slack webhook"),
        ("discord.com/api/webhooks/", 60, "Discord webhook"),
        ("discordapp.com/api/webhooks/", 60, "Discord webhook"),
        (".webhook.office.com/webhookb2/", 60, "Microsoft Teams webhook"),
        ("hooks.zapier.com/hooks/catch/", 12, "Zapier webhook"),
    ];
    for (address, least, what) in ADDRESSES {
        for (at, _) in text.match_indices(address) {
            let begin = at + address.len();
            let length = run(bytes, begin, |c| word(c) || matches!(c, b'@'));
            if length >= least {
                add(what, begin..begin + length);
            }
        }
    }
    for (at, _) in text.match_indices(":AA") {
        let digits = bytes[..at].iter().rev().take_while(|c| c.is_ascii_digit()).count();
        let length = run(bytes, at + 1, is_base64url);
        let alone = at.checked_sub(digits + 1).is_none_or(|before| !bytes[before].is_ascii_alphanumeric() || text[..at - digits].ends_with("bot"));
        if (8..=10).contains(&digits) && length == 35 && alone {
            add("Telegram bot token", at - digits..at + 1 + length);
        }
    }
    for (at, _) in text.match_indices("Q~") {
        let before = bytes[..at].iter().rev().take(8).take_while(|c| is_base64url(**c) || matches!(c, b'.' | b'~')).count();
        let after = run(&bytes[..bytes.len().min(at + 50)], at + 2, |c| is_base64url(c) || matches!(c, b'.' | b'~'));
        if before == 4 && bytes[at - 1].is_ascii_digit() && (31..=36).contains(&after) {
            add("Azure client secret", at - 4..at + 2 + after);
        }
    }
    for (at, _) in text.match_indices(".atlasv1.") {
        let before = bytes[..at].iter().rev().take_while(|c| c.is_ascii_alphanumeric()).count();
        let after = run(bytes, at + 9, is_base64url);
        if before == 14 && after >= 60 {
            add("HCP Terraform token", at - before..at + 9 + after);
        }
    }
    for (at, _) in text.match_indices("-us") {
        let hex = bytes[..at].iter().rev().take_while(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')).count();
        let digits = run(bytes, at + 3, |c| c.is_ascii_digit());
        if hex == 32 && (1..=2).contains(&digits) {
            add("Mailchimp key", at - hex..at + 3 + digits);
        }
    }
    // A shared access signature opens what its URL names for as long as it says.
    for (at, _) in text.match_indices("sig=") {
        let length = run(&bytes[..bytes.len().min(at + 204)], at + 4, |c| is_base64url(c) || matches!(c, b'%' | b'+' | b'/' | b'='));
        let around = &text[text.floor_char_boundary(at.saturating_sub(400))..text.ceil_char_boundary((at + 400).min(text.len()))];
        if length >= 40 && around.contains("se=") && (around.contains("sv=") || around.contains("sr=")) {
            add("Azure shared access signature", at + 4..at + 4 + length);
        }
    }
    found
}
