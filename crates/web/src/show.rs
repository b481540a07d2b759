//! How values are written for people: times, sizes, counts, labels, conditions.

use askama::filters::HtmlSafe;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use std::fmt;

/// A number or truth as templates hand it on: by value, or behind any number of references.
pub trait Plain<T> {
    fn plain(&self) -> T;
}

impl Plain<i64> for i64 {
    fn plain(&self) -> i64 {
        *self
    }
}

impl Plain<i64> for i32 {
    fn plain(&self) -> i64 {
        (*self).into()
    }
}

impl Plain<bool> for bool {
    fn plain(&self) -> bool {
        *self
    }
}

impl<T, P: Plain<T> + ?Sized> Plain<T> for &P {
    fn plain(&self) -> T {
        (**self).plain()
    }
}

/// A time as "5 min ago", exact in `datetime` and on hover.
#[derive(Debug, Clone, Copy)]
pub struct Ago {
    pub at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

// Only digits and fixed words are written.
impl HtmlSafe for Ago {}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.at else { return f.write_str("<span class=\"tw-note\">never</span>") };
        let exact = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let seconds = (self.now - at).num_seconds();
        write!(f, "<time datetime=\"{exact}\" title=\"{}\">", at.format("%Y-%m-%d %H:%M:%S UTC"))?;
        match seconds.abs() {
            0..5 => f.write_str("just now")?,
            past if seconds < 0 => write!(f, "in {}", span(past))?,
            past => write!(f, "{} ago", span(past))?,
        }
        f.write_str("</time>")
    }
}

/// The largest unit of a number of seconds.
fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400..5_184_000 => format!("{} d", seconds / 86_400),
        5_184_000..63_072_000 => format!("{} months", seconds / 2_592_000),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

/// Milliseconds as "850 ms", "12.3 s" or "3 min 5 s".
pub fn millis(millis: impl Plain<i64>) -> String {
    let millis = millis.plain();
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

/// Bytes in binary units with three digits: "512 B", "1.5 MiB", "220 MiB".
pub fn bytes(bytes: impl Plain<i64>) -> String {
    let mut value = bytes.plain() as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// The largest number that lists count to.
pub const COUNTED: i64 = 10_000;

/// A count that was cut off at one over [`COUNTED`]: "3,412", or "10,000+".
pub fn bounded(count: impl Plain<i64>) -> String {
    let count = count.plain();
    if count > COUNTED { format!("{}+", thousands(COUNTED)) } else { thousands(count) }
}

/// "3,412".
pub fn thousands(number: impl Plain<i64>) -> String {
    let number = number.plain();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// What a browser's `User-Agent` means to people: its name and system; the beginning of what is not known.
///
/// Source: the order matters, for browsers name those that they want to pass for.
pub fn browser(agent: &str) -> String {
    const NAMES: [(&str, &str); 6] =
        [("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"), ("curl/", "curl")];
    const SYSTEMS: [(&str, &str); 6] =
        [("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Mac OS X", "macOS"), ("Linux", "Linux")];
    let find = |known: &[(&str, &'static str)]| known.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name);
    match (find(&NAMES), find(&SYSTEMS)) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, _) if agent.is_empty() => "Unknown browser".to_owned(),
        (None, _) => agent.chars().take(60).collect(),
    }
}

/// What a template's condition is, given by value or by reference as macros hand it on.
pub fn yes(value: impl Plain<bool>) -> bool {
    value.plain()
}

/// The first 12 digits of a digest, as people quote it.
pub fn short_digest(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..12).unwrap_or(digits)
}

/// Labels or annotations, by key; values that are not texts are written as JSON.
pub fn pairs(object: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    object.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// A nested object as pairs of dotted path and value, e.g. `limits.cpu`.
pub fn flat(object: &Value) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    flatten("", object, &mut pairs);
    pairs
}

fn flatten(path: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                flatten(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, pairs);
            }
        }
        Value::Null => {}
        Value::String(text) => pairs.push((path.to_owned(), text.clone())),
        other => pairs.push((path.to_owned(), other.to_string())),
    }
}

/// A condition of a pod or node, as Kubernetes reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub since: Option<DateTime<Utc>>,
}

/// The conditions in an array of Kubernetes' (`type`, `status`, `reason`, `message`, `lastTransitionTime`).
pub fn conditions(array: &Value) -> Vec<Condition> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |item: &Value| Condition {
        kind: text(item, "type"),
        status: text(item, "status"),
        reason: text(item, "reason"),
        message: text(item, "message"),
        since: text(item, "lastTransitionTime").parse().ok(),
    };
    array.as_array().into_iter().flatten().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        assert_eq!([bytes(0), bytes(1536), bytes(230_686_720)], ["0 B", "1.5 KiB", "220 MiB"]);
        assert_eq!([thousands(7), thousands(3412), thousands(1_234_567)], ["7", "3,412", "1,234,567"]);
        assert_eq!([bounded(10_000), bounded(10_001)], ["10,000", "10,000+"]);
        assert_eq!([millis(850), millis(12_345), millis(185_000)], ["850 ms", "12.3 s", "3 min 5 s"]);
    }

    #[test]
    fn a_browser_is_named() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        assert_eq!([browser(chrome), browser("curl/8.5"), browser("")], ["Chrome on Linux", "curl", "Unknown browser"]);
        assert_eq!(browser("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile/15E148 Safari/604.1"), "Safari on iPhone");
        assert_eq!(browser(&"x".repeat(100)), "x".repeat(60));
    }

    #[test]
    fn a_time_is_relative_and_exact() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let ago = Ago { at: Some("2026-01-01T00:05:00Z".parse().unwrap()), now };
        assert_eq!(ago.to_string(), "<time datetime=\"2026-01-01T00:05:00Z\" title=\"2026-01-01 00:05:00 UTC\">5 min ago</time>");
    }
}
