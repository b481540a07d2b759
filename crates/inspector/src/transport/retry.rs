//! When a busy registry is asked again.

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// What a registry may ask for at most; far beyond the time for retries, and far from any overflow.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

pub(super) fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// The pause that a registry asks for, in seconds or as a date.
pub(super) fn after(headers: &HeaderMap) -> Option<Duration> {
    pause(headers.get(RETRY_AFTER)?.to_str().ok()?.trim(), Utc::now())
}

/// Source: RFC 9110 §10.2.3.
fn pause(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(MAX_PAUSE, Duration::from_secs).min(MAX_PAUSE));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    Some((until - now).to_std().unwrap_or_default().min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::{MAX_PAUSE, pause};
    use std::time::Duration;

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_date_and_never_endless() {
        let now = "2026-11-28T18:00:00Z".parse().unwrap();
        let secs = |text: &str| pause(text, now).map(|pause| pause.as_secs());
        assert_eq!(secs("0"), Some(0));
        assert_eq!(secs("7"), Some(7));
        assert_eq!(secs("Sat, 28 Nov 2026 18:00:30 GMT"), Some(30));
        assert_eq!(secs("Sat, 28 Nov 2026 17:00:00 GMT"), Some(0), "it is over");
        for endless in ["18446744073709551615", "99999999999999999999999999", "Sat, 28 Nov 2099 18:00:00 GMT"] {
            assert_eq!(pause(endless, now), Some(MAX_PAUSE), "{endless}");
        }
        for nonsense in ["", "-1", "soon", "1.5", "7 s", "Sat, 99 Nov 2026 18:00:30 GMT"] {
            assert_eq!(pause(nonsense, now), None, "{nonsense}");
        }
        assert!(Duration::MAX.saturating_add(MAX_PAUSE) == Duration::MAX);
    }
}
