//! Names with values in the lines of configuration files, connection strings and commands.

use super::{window, window_before};
use std::ops::Range;

/// How a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Within other text: `Server=db;Password=x`, `--token=x`, `{"password": "x"}`. White space ends a value.
    Inline,
    /// A line of a configuration file: a value goes to the end of the line, or of its quotes.
    Line,
    /// A line of source code: only what stands in quotes is a value.
    Code,
}

/// One name with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'a> {
    pub name: &'a str,
    /// Without quotes.
    pub value: &'a str,
    /// The value's bytes in the text.
    pub range: Range<usize>,
}

/// The pairs of `text`: `NAME=value`, `name: value`, `"name": "value"`, `'name' => 'value'`, `define('NAME', 'value')`, `<name>value</name>`,
/// `key="name" value="value"`.
pub fn pairs(text: &str, style: Style) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(['=', ':', ',', '>']) {
        let sign = at + next;
        at = sign + 1;
        let pair = match text.as_bytes()[sign] {
            b',' => defined(text, sign),
            b'>' => element(text, sign),
            _ => assigned(text, sign, style),
        };
        if let Some(pair) = pair {
            // A value that is quoted holds no names of its own, but for JSON in quotes.
            at = if style == Style::Inline { at } else { at.max(pair.range.end) };
            found.push(pair);
        }
    }
    found.extend(attributes(text));
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-".contains(c)
}

/// The name that ends at `end`, with white space and a quote behind it left out; the byte before it.
fn name_before(text: &str, end: usize, spaced: bool) -> Option<(&str, Option<char>)> {
    let left = if spaced { text[..end].trim_end_matches([' ', '\t']) } else { &text[..end] };
    let bare = left.trim_end_matches(['"', '\'', '\\', ']']);
    let begin = bare.rfind(|c: char| !is_name(c)).map_or(0, |before| before + bare[before..].chars().next().map_or(1, char::len_utf8));
    let name = bare[begin..].trim_start_matches('-');
    (!name.is_empty()).then(|| (name, bare[..begin].chars().next_back()))
}

fn assigned(text: &str, sign: usize, style: Style) -> Option<Pair<'_>> {
    let bytes = text.as_bytes();
    let colon = bytes[sign] == b':';
    let (before, after) = (sign.checked_sub(1).map(|at| bytes[at]), bytes.get(sign + 1).copied());
    if matches!(before, Some(b'=' | b'!' | b'<' | b'>' | b':')) && (colon || before != Some(b':'))
        || matches!(after, Some(b'=')) && !colon && style == Style::Code
    {
        return None;
    }
    if colon && (after == Some(b':') || text[sign..].starts_with("://")) {
        return None;
    }
    let end = if before == Some(b':') && !colon { sign - 1 } else { sign };
    let quoted_name = end > 0 && matches!(text[..end].trim_end().as_bytes().last(), Some(b'"' | b'\'' | b']'));
    let (name, lead) = name_before(text, end, style != Style::Inline || quoted_name)?;
    if colon && !quoted_name {
        // YAML and properties: the name is the line's first word.
        let alone = lead.is_none_or(|c| c.is_whitespace() || "-{,".contains(c));
        let left = text[..end].trim_end();
        let first = left[..left.len() - name.len()].bytes().rev().all(|c| b" \t-{*".contains(&c)) || lead.is_some_and(|c| "{,".contains(c));
        if style == Style::Inline || !alone || !first && !text[..end].trim_end_matches(is_name).trim_end().ends_with(['{', ',']) {
            return None;
        }
    }
    let mut begin = sign + 1;
    if !colon && after == Some(b'>') {
        begin += 1;
    }
    value_at(text, begin, name, style, colon || quoted_name)
}

/// The value that begins at `begin`.
fn value_at<'a>(text: &'a str, mut begin: usize, name: &'a str, style: Style, spaced: bool) -> Option<Pair<'a>> {
    if spaced || style != Style::Inline {
        begin += text[begin..].bytes().take_while(|c| matches!(c, b' ' | b'\t')).count();
    }
    let rest = &text[begin..];
    // Outside of source code backticks are a shell's command.
    let quotes = ["\\\"", "\"", "'", "`"].into_iter().filter(|quote| *quote != "`" || style == Style::Code);
    let quote = { quotes }.find(|quote| rest.starts_with(quote));
    let end = match quote {
        Some(quote) => {
            begin += quote.len();
            begin + closing(&text[begin..], quote)
        }
        None if style == Style::Code => return None,
        // An object or a list: what is inside has names of its own.
        None if rest.starts_with(['{', '[']) && !rest.starts_with("{{") && window(rest, 0, 4096).contains(['"', ':']) => return None,
        None if style == Style::Line => begin + line_value(rest),
        None => {
            let rest = window(rest, 0, 4096);
            let closes = !rest.contains(['{', '(']);
            let ends = |c: char| c.is_whitespace() || ";&,\"'`".contains(c) || closes && matches!(c, '}' | ')');
            begin + rest.find(ends).unwrap_or(rest.len())
        }
    };
    (end > begin).then(|| Pair { name, value: &text[begin..end], range: begin..end })
}

/// Where the quote is closed again, or the text ends.
fn closing(text: &str, quote: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find(quote) {
        let at = from + at;
        if quote.len() > 1 || text[..at].bytes().rev().take_while(|c| *c == b'\\').count() % 2 == 0 {
            return at;
        }
        from = at + 1;
    }
    text.len()
}

/// An unquoted value ends at a comment, a closing bracket of one line's object, or the line's end.
fn line_value(rest: &str) -> usize {
    let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
    let line = &rest[..end];
    let line = line.find(" #").or_else(|| line.find(" ;")).map_or(line, |comment| &line[..comment]);
    line.trim_end().trim_end_matches(',').len()
}

/// `define('NAME', 'value')`.
fn defined(text: &str, comma: usize) -> Option<Pair<'_>> {
    let left = window_before(text, comma, 256).1.trim_end();
    let is_call = left.to_ascii_lowercase().contains("define(") || left.to_ascii_lowercase().contains("setenv(") || left.contains("set(");
    if !is_call || !left.ends_with(['"', '\'']) {
        return None;
    }
    let (name, _) = name_before(text, comma, true)?;
    value_at(text, comma + 1, name, Style::Code, true)
}

/// `<name>value</name>`, `<property name="name">value</property>`.
fn element(text: &str, end: usize) -> Option<Pair<'_>> {
    let (from, before) = window_before(text, end, 256);
    let open = from + before.rfind('<')?;
    let tag = &text[open + 1..end];
    let name = tag.split_whitespace().next()?;
    let begin = end + 1;
    let close = window(text, begin, 4096).find("</")?;
    let value = &text[begin..begin + close];
    let attribute = tag.split_once(" name=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(attribute, _)| attribute);
    (name.chars().all(is_name) && text[begin + close + 2..].starts_with(name) && !value.trim().is_empty()).then(|| Pair {
        name: attribute.filter(|attribute| attribute.chars().all(is_name)).unwrap_or(name),
        value,
        range: begin..begin + close,
    })
}

/// `key="name" … value="value"`, as .NET writes, and `"name":"name","value":"value"`, as Kubernetes does.
fn attributes(text: &str) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    for key in ["key=\"", "name=\"", "name: ", "key: ", "\"name\":\"", "\"name\": \""] {
        for (at, _) in text.match_indices(key) {
            let name = window(text, at + key.len(), 128).split(['"', ',', '}', '\n']).next().unwrap_or_default().trim_matches(['"', '\'', ' ']);
            let after = at + key.len() + name.len();
            let Some(value) = ["value=\"", "value: ", "\"value\":\"", "\"value\": \""].iter().find_map(|sign| {
                window(text, after, 64).find(sign).filter(|gap| *gap <= 16).map(|gap| after + gap + sign.len() - usize::from(sign.ends_with('"')))
            }) else {
                continue;
            };
            if !name.is_empty() && name.chars().all(is_name) {
                found.extend(value_at(text, value, name, Style::Inline, true));
            }
        }
    }
    found
}
