//! What is a secret, and what only looks like one: passwords, tokens and keys in variables, commands, labels and files.
//!
//! One detector serves the rules of the image benchmark and the masking on pages, so that both see the same. It works on text alone: no files, no network, and
//! no asking whether a token still works. It knows secrets by four signs: the form of a provider's token ([`Kind::Token`]), a private key, a login in a URL or an
//! `Authorization` header, and a name that says that the value is one. What stands for a value (`${DB_PASSWORD}`, `<password>`, `****`, the keys in a provider's
//! documentation) is no secret; a default password that is really set is one. See docs/adr/0008.

mod command;
mod encoded;
mod header;
mod key;
mod mask;
mod name;
mod pair;
mod placeholder;
#[cfg(test)]
mod tests;
mod token;
mod url;
mod value;

use std::cell::LazyCell;
use std::ops::Range;

pub use command::in_command;
pub use key::starts_private_key;
pub use mask::{MASK, mask_command, mask_text, mask_variable, mask_variables};
pub use pair::{Pair, Style, pairs};
pub use placeholder::is_placeholder;
pub use value::is_secret_value;

/// By which sign a secret was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The form of a provider's token.
    Token,
    /// A private key in PEM or PuTTY form, with its content.
    PrivateKey,
    /// The credentials of an `Authorization` header or the like.
    Header,
    /// The login in a URL.
    Url,
    /// The name of the variable, option or field.
    Named,
}

/// A secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub kind: Kind,
    /// What it is, for people: `GitHub token`. Never the secret itself.
    pub what: &'static str,
    /// Its bytes in the text.
    pub range: Range<usize>,
}

/// The secrets that any text shows by itself: tokens, private keys, headers, logins in URLs. In the order of the text, without overlaps.
pub fn in_text(text: &str) -> Vec<Secret> {
    let mut found = token::find(text);
    found.extend(key::find(text));
    found.extend(header::find(text));
    found.extend(url::find(text));
    sorted(found)
}

/// The passwords in statements of SQL that make or change accounts.
pub fn in_sql(text: &str) -> Vec<Secret> {
    sorted(command::in_sql(text))
}

/// The logins in the URLs and connection strings of any text, also where a login is a token of a known form.
pub fn in_urls(text: &str) -> Vec<Secret> {
    sorted(url::find(text))
}

/// The secrets in the value of a variable, label or field; ranges are in `value`.
pub fn in_variable(name: &str, value: &str) -> Vec<Secret> {
    let mut found = in_text(value);
    if !name::is_documentation(name) {
        found.extend(in_pairs(value, Style::Inline));
    }
    if name::is_command(name) && !name::is_documentation(name) {
        found.extend(command::in_command_line(value));
    }
    if found.is_empty()
        && let Some(inner) = encoded::first(value)
    {
        found.push(Secret { range: 0..value.len(), ..inner });
    }
    if found.is_empty() && is_secret_value(name, value) {
        found.push(Secret { kind: Kind::Named, what: name::what(name), range: 0..value.len() });
    }
    sorted(found)
}

/// The secrets in a line of a configuration file: what [`in_text`] finds, and values whose name says so.
pub fn in_line(line: &str, style: Style) -> Vec<Secret> {
    let mut found = in_text(line);
    found.extend(in_pairs(line, style));
    sorted(found)
}

fn in_pairs(text: &str, style: Style) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let connects = LazyCell::new(|| is_connection_string(text));
    for pair in pairs(text, style) {
        if found.last().is_some_and(|last| last.range.contains(&pair.range.start)) {
            continue;
        }
        let odbc = pair.name.eq_ignore_ascii_case("pwd") && *connects && is_secret_value("password", pair.value);
        if odbc || is_secret_value(pair.name, pair.value) {
            found.push(Secret { kind: Kind::Named, what: name::what(pair.name), range: pair.range });
        } else if style != Style::Inline && pair.value.contains('=') {
            // A connection string has pairs of its own.
            let inner = in_pairs(pair.value, Style::Inline).into_iter();
            found.extend(inner.map(|secret| Secret { range: secret.range.start + pair.range.start..secret.range.end + pair.range.start, ..secret }));
        }
    }
    found
}

/// `Server=db;UID=sa;PWD=x`: here `PWD` is no shell's folder.
fn is_connection_string(text: &str) -> bool {
    let lower = window(text, 0, 4096).to_ascii_lowercase();
    lower.contains(';') && ["uid=", "user id=", "user=", "server=", "database=", "data source=", "dsn="].iter().any(|key| lower.contains(key))
}

/// At most `most` bytes of `text` from `from` on: whoever writes a hostile file shall not make us read it again and again.
fn window(text: &str, from: usize, most: usize) -> &str {
    &text[from..text.floor_char_boundary(from.saturating_add(most).min(text.len())).max(from)]
}

/// At most `most` bytes of `text` before `end`, and where they begin.
fn window_before(text: &str, end: usize, most: usize) -> (usize, &str) {
    let begin = text.ceil_char_boundary(end.saturating_sub(most)).min(end);
    (begin, &text[begin..end])
}

/// In the order of the text; of several that overlap the first and longest.
fn sorted(mut found: Vec<Secret>) -> Vec<Secret> {
    found.sort_by(|a, b| (a.range.start, b.range.end, a.kind).cmp(&(b.range.start, a.range.end, b.kind)));
    let mut end = 0;
    found.retain(|secret| {
        let apart = secret.range.start >= end;
        end = end.max(secret.range.end);
        apart
    });
    found
}
