//! Browsers that logged in before: a long-lived cookie, sealed with the server's key, says for whom.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use model::Sealer;
use model::ids::UserId;
use rand::RngCore;

/// How long a browser is remembered after its last login.
pub const REMEMBERED_DAYS: u64 = 180;
/// As many cookies are tried: a browser has one per person who uses it.
const TRIED_AT_MOST: usize = 8;

/// What a cookie says. It counts once the database says that the password has not been changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// 16 random bytes in hexadecimal.
    pub id: String,
    pub user: i64,
    pub password_changed_micros: i64,
}

impl Device {
    /// Whether it was given to this person, since the last change of the password.
    pub(super) fn is_of(&self, user: UserId, password_changed_at: DateTime<Utc>) -> bool {
        self.user == user.0 && self.password_changed_micros == password_changed_at.timestamp_micros()
    }
}

/// Nobody else's cookie opens under this.
fn context(userid: &str) -> String {
    format!("device:{}", userid.trim().to_lowercase())
}

/// The first of `cookies` that was sealed by this server for `userid` and is not too old.
pub(super) fn claimed(sealer: &Sealer, userid: &str, cookies: &[String], now: DateTime<Utc>) -> Option<Device> {
    cookies.iter().take(TRIED_AT_MOST).find_map(|cookie| open(sealer, userid, cookie, now))
}

fn open(sealer: &Sealer, userid: &str, cookie: &str, now: DateTime<Utc>) -> Option<Device> {
    let sealed = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    let text = String::from_utf8(sealer.open(&sealed, &context(userid)).ok()?).ok()?;
    let mut parts = text.split(' ');
    let (id, user, changed, given) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let given = DateTime::from_timestamp(given.parse().ok()?, 0)?;
    let fresh = now - given < Duration::days(REMEMBERED_DAYS as i64);
    fresh.then_some(Device { id: id.to_owned(), user: user.parse().ok()?, password_changed_micros: changed.parse().ok()? })
}

/// The cookie after a good login; a browser that had one keeps its id.
pub(super) fn seal(
    sealer: &Sealer,
    before: Option<&Device>,
    userid: &str,
    user: UserId,
    password_changed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> anyhow::Result<String> {
    let id = before.map_or_else(random_id, |device| device.id.clone());
    let text = format!("{id} {user} {} {}", password_changed_at.timestamp_micros(), now.timestamp());
    Ok(URL_SAFE_NO_PAD.encode(sealer.seal(text.as_bytes(), &context(userid))?))
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_for_its_user_its_key_its_password_and_half_a_year() {
        let (sealer, now, user) = (Sealer::new(&[1; 32]), DateTime::UNIX_EPOCH + Duration::days(20_000), UserId(7));
        let cookie = seal(&sealer, None, "Alice", user, now, now).unwrap();
        let claim = |userid: &str, now| claimed(&sealer, userid, &["junk".to_owned(), cookie.clone()], now);
        let device = claim("ALICE ", now).unwrap();
        assert!(device.is_of(user, now) && !device.is_of(UserId(8), now) && !device.is_of(user, now + Duration::microseconds(1)));
        assert_eq!(claim("bob", now), None);
        assert_eq!(claim("alice", now + Duration::days(REMEMBERED_DAYS as i64)), None);
        assert_eq!(claimed(&Sealer::new(&[2; 32]), "alice", std::slice::from_ref(&cookie), now), None);
        let again = seal(&sealer, Some(&device), "alice", user, now, now).unwrap();
        assert_eq!(claimed(&sealer, "alice", &[again], now).unwrap().id, device.id);
    }
}
