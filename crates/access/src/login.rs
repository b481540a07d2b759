//! Proving who one is.

use crate::user::{User, UserRole};
use crate::{password, session};
use chrono::{DateTime, Duration, Utc};
use model::Clock;
use model::ids::UserId;
use sqlx::{Connection, PgConnection};
use std::net::{IpAddr, Ipv6Addr};

/// Of the advisory locks with two numbers, the class of those that judge attempts for one userid.
const LOCK: i32 = 0x5457_0004;
const FAILURES_PER_USERID_AND_ADDRESS: i64 = 5;
/// From wherever: so many that a stranger's few guesses keep nobody out, so few that guessing from many places is hopeless.
const FAILURES_PER_USERID: i64 = 100;
const FAILURES_PER_ADDRESS: i64 = 20;
const WINDOW_SECS: i64 = 300;
const FORGET_AFTER_SECS: i64 = 3600;

/// A login that succeeded.
#[derive(Debug, Clone)]
pub struct Login {
    /// For the cookie; nothing else ever holds it.
    pub session_token: String,
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the user name or the password is wrong")]
    Wrong,
    #[error("too many failed attempts; try again in {retry_after_secs} seconds")]
    Throttled { retry_after_secs: i64 },
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<sqlx::Error> for LoginError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Opens a session for who knows the password. `address`: where the request came from.
///
/// Call it outside of a transaction: the failure that it may record must survive, and a lock must not.
///
/// # Errors
/// `Wrong` for an unknown user and for a wrong password alike, after the same time; `Throttled` after too many failures, even with the right password.
pub async fn login(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str, address: &str) -> Result<Login, LoginError> {
    let user = verify_basic(conn, clock, userid, password, address).await?;
    let own = Attempt::new(&user.userid, address);
    // Those of others stay: who logs in now and then must not cover up who guesses.
    sqlx::query!("DELETE FROM login_failures WHERE LOWER(userid) = LOWER($1) AND address = $2", own.userid, own.network).execute(&mut *conn).await?;
    let session_token = session::start(conn, clock, user.id).await?;
    sqlx::query!("UPDATE users SET last_login_at = $2 WHERE id = $1", user.id.0, clock.now()).execute(conn).await?;
    Ok(Login { session_token })
}

/// The person behind userid and password, without a session: for one call of the API. Unlike [`login`] it forgets no failures: scripts call all the time.
///
/// # Errors
/// As [`login`].
pub async fn verify_basic(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str, address: &str) -> Result<User, LoginError> {
    let attempt = Attempt::new(userid, address);
    attempt.may_go_on(conn, clock.now()).await?;
    let row = sqlx::query!(
        r#"SELECT id AS "id: UserId", userid, name, role AS "role: UserRole", password_hash
           FROM users
           WHERE LOWER(userid) = LOWER($1)"#,
        attempt.userid
    )
    .fetch_optional(&mut *conn)
    .await?;
    let right = password::verify(row.as_ref().map(|row| row.password_hash.clone()), password).await?;
    attempt.settle(conn, clock.now(), right).await?;
    let row = row.ok_or(LoginError::Wrong)?;
    Ok(User { id: row.id, userid: row.userid, name: row.name, role: row.role })
}

/// Somebody tries to be `userid`.
struct Attempt {
    userid: String,
    /// What counts as one address.
    network: String,
}

impl Attempt {
    fn new(userid: &str, address: &str) -> Self {
        // A longer userid cannot exist; it must not fill the table of failures.
        Self { userid: userid.trim().chars().take(200).collect(), network: network(address) }
    }

    /// The verdict once the password was compared, which takes a while: attempts made meanwhile at the same time are judged one after the other,
    /// so that no more of them hear whether they were right than if they had been made one by one.
    async fn settle(&self, conn: &mut PgConnection, now: DateTime<Utc>, right: bool) -> Result<(), LoginError> {
        let mut tx = conn.begin().await?;
        sqlx::query!("SELECT pg_advisory_xact_lock($1, hashtext(LOWER($2)))", LOCK, self.userid).fetch_one(&mut *tx).await?;
        self.may_go_on(&mut tx, now).await?;
        if !right {
            self.record_failure(&mut tx, now).await?;
        }
        tx.commit().await?;
        if right { Ok(()) } else { Err(LoginError::Wrong) }
    }

    /// Whether the limits allow an attempt now.
    async fn may_go_on(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), LoginError> {
        let since = now - Duration::seconds(WINDOW_SECS);
        // The failure that must leave the window first: e.g. the fifth latest.
        let blocking = sqlx::query_scalar!(
            r#"SELECT MAX(failed_at)
               FROM (
                 (SELECT failed_at FROM login_failures
                  WHERE LOWER(userid) = LOWER($1) AND address = $2 AND failed_at > $3
                  ORDER BY failed_at DESC OFFSET $4 LIMIT 1)
                 UNION ALL
                 (SELECT failed_at FROM login_failures
                  WHERE LOWER(userid) = LOWER($1) AND failed_at > $3
                  ORDER BY failed_at DESC OFFSET $5 LIMIT 1)
                 UNION ALL
                 (SELECT failed_at FROM login_failures
                  WHERE address = $2 AND failed_at > $3
                  ORDER BY failed_at DESC OFFSET $6 LIMIT 1)
               ) AS blocking"#,
            self.userid,
            self.network,
            since,
            FAILURES_PER_USERID_AND_ADDRESS - 1,
            FAILURES_PER_USERID - 1,
            FAILURES_PER_ADDRESS - 1,
        )
        .fetch_one(conn)
        .await?;
        match blocking {
            None => Ok(()),
            Some(failed_at) => Err(LoginError::Throttled { retry_after_secs: ((failed_at - since).num_milliseconds() as f64 / 1000.0).ceil() as i64 }),
        }
    }

    async fn record_failure(&self, conn: &mut PgConnection, now: DateTime<Utc>) -> Result<(), LoginError> {
        sqlx::query!("DELETE FROM login_failures WHERE failed_at < $1", now - Duration::seconds(FORGET_AFTER_SECS)).execute(&mut *conn).await?;
        sqlx::query!("INSERT INTO login_failures (userid, address, failed_at) VALUES ($1, $2, $3)", self.userid, self.network, now).execute(conn).await?;
        Ok(())
    }
}

/// What counts as one address: of IPv6 the first 64 bits, since whoever has one has the others of that network too.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests;
