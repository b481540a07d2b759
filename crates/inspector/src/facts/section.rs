//! The sections of a configuration file, where a field's name says less than what stands around it.

use super::application::is_label;
use scap::secrets::{Pair, is_secret_value};

/// The headers that are open at a line: `auth:`, `"Jwt": {`.
#[derive(Default)]
pub(super) struct Sections<'a> {
    /// Each with its indentation, which grows.
    open: Vec<(usize, &'a str)>,
}

impl<'a> Sections<'a> {
    /// The section that `line` stands in. A header opens its section for the lines that follow.
    pub(super) fn around(&mut self, line: &'a str) -> &'a str {
        let field = line.trim_start_matches([' ', '\t', '-']);
        if field.trim_end().is_empty() {
            return "";
        }
        let indent = line.len() - field.len();
        self.open.truncate(self.open.partition_point(|(outer, _)| *outer < indent));
        let section = self.open.last().map_or("", |(_, name)| name);
        let header = field.trim_end().split_once(':').filter(|(_, rest)| matches!(rest.trim(), "" | "{"));
        self.open.extend(header.map(|(name, _)| (indent, name.trim_matches(['"', '\'', ' ']))));
        section
    }
}

/// Whether `pair` is a signing key: ASP.NET has `"Jwt": {` and `"Key": "x"`. Where a Secret is referred to, `key` is the name of a field.
pub(super) fn is_key_of(section: &str, line: &str, pair: &Pair<'_>) -> bool {
    let before = &line[..pair.range.start];
    let section = within_line(before).unwrap_or(section);
    let lower = section.to_ascii_lowercase();
    let signs = ["jwt", "auth", "token", "signing", "encryption"].iter().any(|word| lower.contains(word));
    let refers = ["secret", "secretref", "keyref"].iter().any(|end| lower.ends_with(end));
    pair.name.eq_ignore_ascii_case("key")
        && signs
        && !refers
        && is_long(pair.value)
        && (before.ends_with(['"', '\'']) || !is_worded(pair.value))
        && !is_label(pair.name, pair.value)
        && !is_label(section, pair.value)
        && is_secret_value(&format!("{section}_key"), pair.value)
}

/// The section that `before` opened in its own line: `"Jwt": {"Issuer": "a", "Key": "`.
fn within_line(before: &str) -> Option<&str> {
    let near = &before[before.ceil_char_boundary(before.len().saturating_sub(256))..];
    let header = near[..near.rfind('{')?].trim_end().strip_suffix(':')?.trim_end().trim_end_matches(['"', '\'']);
    Some(header.rsplit(['"', '\'', ' ', '{', ',']).next().unwrap_or_default())
}

fn is_long(value: &str) -> bool {
    value.len() >= 16 && !value.contains(' ') && (value.contains(|c: char| c.is_ascii_digit()) || is_secret_value("credential", value))
}

/// `admin-password-v2`, `JWT_SIGNING_KEY`: words, each with a number at its end or none.
fn is_worded(value: &str) -> bool {
    let is_word = |part: &str| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        word.chars().all(|c| c.is_ascii_lowercase()) || word.chars().all(|c| c.is_ascii_uppercase())
    };
    value.contains(['-', '_', '.']) && value.split(['-', '_', '.']).all(is_word)
}
