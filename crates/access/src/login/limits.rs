//! When an attempt may be made: attempts that were begun and did not turn out right make the next ones wait, seconds at most.

use super::{Door, LoginError};
use anyhow::Context;
use chrono::{DateTime, Duration, Utc};
use sqlx::PgConnection;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Of the advisory locks with two numbers, the class of those that judge attempts for one userid.
const LOCK: i32 = 0x5457_0004;
/// Attempts in this time are counted.
const WINDOW_SECS: i64 = 300;
const FORGET_AFTER_SECS: i64 = 3600;

/// Attempts for one userid from one address that need not wait; the next wait two seconds each, and from the tenth on five.
const PAIR_FREE: i64 = 5;
const PAIR_MANY: i64 = 10;
const PAIR_SECS: i64 = 2;
const PAIR_MANY_SECS: i64 = 5;
/// Attempts from one address for whomever, and from a wide network of IPv6.
const ADDRESS_FREE: i64 = 20;
const ADDRESS_SECS: i64 = 3;
const WIDE_FREE: i64 = 60;
const WIDE_SECS: i64 = 1;
/// From wherever for one userid: from then on each address has one attempt that need not wait, and every answer comes late.
const USERID_FREE: i64 = 100;
/// Attempts of a browser that logged in as this user before; with more it is like any other.
const DEVICE_FREE: i64 = 10;

/// Somebody tries to be `userid`.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub userid: String,
    pub door: Door,
    /// What counts as one address.
    pub network: String,
    /// Of IPv6, what one customer may have; empty for others.
    wide: String,
    /// Addresses that may well be one person's or one company's: 256 of IPv4, a wide network of IPv6.
    pub neighbourhood: String,
}

/// An attempt that was begun: it counts until it turns out right.
#[derive(Debug)]
pub(super) struct Begun {
    id: i64,
    /// The answer has to come late.
    pub late: bool,
    /// A known browser's, which counts for itself.
    pub known: bool,
    /// The limit that is reached should it be wrong: further attempts have to wait.
    pub reaches: Option<&'static str>,
}

impl Origin {
    pub(super) fn new(userid: &str, door: Door, address: &str) -> Self {
        let address = address.parse::<IpAddr>().map(|address| address.to_canonical()).map_err(|_| address.to_owned());
        // A longer userid cannot exist; it must not fill the table. Nor can one with NUL, which the database does not take.
        let userid = userid.trim().chars().filter(|letter| *letter != '\0').take(200).collect();
        Self { userid, door, network: network(&address), wide: wide(&address), neighbourhood: neighbourhood(&address) }
    }

    /// Begins an attempt, or says how long to wait. Attempts for one userid are judged one after the other.
    pub(super) async fn begin(&self, conn: &mut PgConnection, now: DateTime<Utc>, device: Option<&str>) -> Result<Begun, LoginError> {
        sqlx::query!("SELECT pg_advisory_xact_lock($1, hashtext(LOWER($2)))", LOCK, self.userid).fetch_one(&mut *conn).await?;
        let since = now - Duration::seconds(WINDOW_SECS);
        let device = match device {
            Some(device) if self.of_device(conn, device, since).await? < DEVICE_FREE => Some(device),
            _ => None,
        };
        let (late, reaches) = match device {
            Some(_) => (false, None),
            None => self.may_go_on(conn, now, since).await?,
        };
        let id = self.insert(conn, now, device).await?;
        Ok(Begun { id, late, known: device.is_some(), reaches })
    }

    async fn of_device(&self, conn: &mut PgConnection, device: &str, since: DateTime<Utc>) -> sqlx::Result<i64> {
        sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!" FROM login_failures WHERE device = $1 AND failed_at > $2"#, device, since).fetch_one(conn).await
    }

    /// Whether the answer has to come late, and which limit this attempt reaches.
    async fn may_go_on(&self, conn: &mut PgConnection, now: DateTime<Utc>, since: DateTime<Utc>) -> Result<(bool, Option<&'static str>), LoginError> {
        // No count goes far beyond what is compared, however many rows an attack leaves.
        let found = sqlx::query!(
            r#"SELECT pair.count AS "pair!", pair.last AS pair_last,
                      origin.count AS "origin!", origin.last AS origin_last,
                      wide.count AS "wide!", wide.last AS wide_last,
                      anywhere.count AS "anywhere!"
               FROM (SELECT COUNT(*), MAX(failed_at) AS last FROM
                       (SELECT failed_at FROM login_failures
                        WHERE LOWER(userid) = LOWER($1) AND address = $2 AND door = $4 AND device IS NULL AND failed_at > $5
                        ORDER BY failed_at DESC LIMIT 200) AS of) AS pair,
                    (SELECT COUNT(*), MAX(failed_at) AS last FROM
                       (SELECT failed_at FROM login_failures
                        WHERE address = $2 AND door = $4 AND device IS NULL AND failed_at > $5
                        ORDER BY failed_at DESC LIMIT 200) AS of) AS origin,
                    (SELECT COUNT(*), MAX(failed_at) AS last FROM
                       (SELECT failed_at FROM login_failures
                        WHERE wide_address = $3 AND wide_address <> '' AND door = $4 AND device IS NULL AND failed_at > $5
                        ORDER BY failed_at DESC LIMIT 200) AS of) AS wide,
                    (SELECT COUNT(*) FROM
                       (SELECT FROM login_failures
                        WHERE LOWER(userid) = LOWER($1) AND door = $4 AND device IS NULL AND failed_at > $5
                        LIMIT 200) AS of) AS anywhere"#,
            self.userid,
            self.network,
            self.wide,
            self.door.as_str(),
            since
        )
        .fetch_one(conn)
        .await?;
        let late = found.anywhere >= USERID_FREE;
        let pair_secs = match found.pair {
            count if count < if late { 1 } else { PAIR_FREE } => 0,
            count if count < PAIR_MANY && !late => PAIR_SECS,
            _ => PAIR_MANY_SECS,
        };
        let limits = [
            ("user and address", pair_secs, found.pair, PAIR_FREE, found.pair_last),
            ("address", if found.origin < ADDRESS_FREE { 0 } else { ADDRESS_SECS }, found.origin, ADDRESS_FREE, found.origin_last),
            ("wide network", if found.wide < WIDE_FREE { 0 } else { WIDE_SECS }, found.wide, WIDE_FREE, found.wide_last),
        ];
        for (_, secs, _, _, last) in limits {
            let until = last.unwrap_or(now) + Duration::seconds(secs);
            if secs > 0 && until > now {
                return Err(LoginError::Throttled { retry_after_secs: ((until - now).num_milliseconds() as f64 / 1000.0).ceil() as i64 });
            }
        }
        let anywhere = (found.anywhere + 1 == USERID_FREE).then_some("user");
        let reaches = limits.into_iter().find(|(_, _, count, free, _)| count + 1 == *free).map(|(limit, ..)| limit);
        Ok((late, reaches.or(anywhere)))
    }

    async fn insert(&self, conn: &mut PgConnection, now: DateTime<Utc>, device: Option<&str>) -> anyhow::Result<i64> {
        sqlx::query!("DELETE FROM login_failures WHERE failed_at < $1", now - Duration::seconds(FORGET_AFTER_SECS)).execute(&mut *conn).await?;
        let id = sqlx::query_scalar!(
            "INSERT INTO login_failures (userid, address, wide_address, door, device, failed_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             RETURNING id",
            self.userid,
            self.network,
            self.wide,
            self.door.as_str(),
            device,
            now
        )
        .fetch_one(conn)
        .await
        .context("counting an attempt to log in")?;
        Ok(id)
    }

    /// After a good login: this attempt does not count, nor do those before it of the same browser. Of one that was not known, these are those of the same
    /// userid, address and door.
    pub(super) async fn forget_own(&self, conn: &mut PgConnection, begun: &Begun, device: Option<&str>) -> sqlx::Result<()> {
        // Those of others stay: who logs in now and then must not cover up who guesses.
        let userid = device.is_none().then_some(self.userid.as_str());
        sqlx::query!(
            "DELETE FROM login_failures
             WHERE id = $1
                OR LOWER(userid) = LOWER($2) AND address = $3 AND door = $4
                OR device = $5",
            begun.id,
            userid,
            self.network,
            self.door.as_str(),
            device
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

impl Begun {
    /// It does not count after all: it was right, or was never judged.
    pub(super) async fn forget(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("DELETE FROM login_failures WHERE id = $1", self.id).execute(conn).await?;
        Ok(())
    }
}

/// Of IPv6 the first 64 bits, since whoever has one address has the others of that network too.
fn network(address: &Result<IpAddr, String>) -> String {
    match address {
        Ok(IpAddr::V6(address)) => format!("{}/64", first_bits(*address, 64)),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(text) => text.clone(),
    }
}

fn wide(address: &Result<IpAddr, String>) -> String {
    match address {
        Ok(IpAddr::V6(address)) => format!("{}/48", first_bits(*address, 48)),
        _ => String::new(),
    }
}

fn neighbourhood(address: &Result<IpAddr, String>) -> String {
    match address {
        Ok(IpAddr::V4(address)) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() >> 8 << 8)),
        Ok(IpAddr::V6(_)) => wide(address),
        Err(text) => text.clone(),
    }
}

fn first_bits(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits))
}

/// From where so many attempts failed in the last hour that the next had to wait; for administrators.
#[derive(Debug, Clone)]
pub struct Slowed {
    pub userid: String,
    pub address: String,
    /// `pages` or `api`.
    pub door: String,
    pub attempts: i64,
    pub last_at: DateTime<Utc>,
}

/// The latest twenty.
///
/// # Errors
/// The database.
pub async fn slowed(conn: &mut PgConnection, now: DateTime<Utc>) -> anyhow::Result<Vec<Slowed>> {
    let rows = sqlx::query_as!(
        Slowed,
        r#"SELECT LOWER(userid) AS "userid!", address, door, COUNT(*) AS "attempts!", MAX(failed_at) AS "last_at!"
           FROM login_failures
           WHERE failed_at > $1
           GROUP BY LOWER(userid), address, door
           HAVING COUNT(*) >= $2
           ORDER BY MAX(failed_at) DESC
           LIMIT 20"#,
        now - Duration::seconds(FORGET_AFTER_SECS),
        PAIR_FREE
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_of_ipv6_counts_as_one_address_and_one_customers_networks_as_a_wide_one() {
        let of = |address: &str| {
            let origin = Origin::new("admin", Door::Pages, address);
            (origin.network, origin.wide)
        };
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), ("2001:db8:1:2::/64".into(), "2001:db8:1::/48".into()));
        assert_eq!(of("2001:db8:1:2:ffff::1").0, "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:3::1"), ("2001:db8:1:3::/64".into(), "2001:db8:1::/48".into()));
        assert_eq!(of("::ffff:10.0.0.1"), ("10.0.0.1".into(), String::new()));
        assert_eq!(of("unknown"), ("unknown".into(), String::new()));
        let near = |address: &str| Origin::new("admin", Door::Pages, address).neighbourhood;
        assert_eq!((near("10.1.2.3"), near("2001:db8:1:2::5")), ("10.1.2.0/24".into(), "2001:db8:1::/48".into()));
    }
}
