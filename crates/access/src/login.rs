//! Proving who one is.

use crate::user::{User, UserRole};
use crate::{password, session};
use chrono::{DateTime, Duration, Utc};
use model::Clock;
use model::ids::UserId;
use sqlx::PgConnection;

const FAILURES_PER_USERID: i64 = 5;
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
/// The failure that it may record must survive: do not roll the caller's transaction back on `Wrong`.
///
/// # Errors
/// `Wrong` for an unknown user and for a wrong password alike, after the same time; `Throttled` after too many failures, even with the right password.
pub async fn login(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str, address: &str) -> Result<Login, LoginError> {
    let user = verify_basic(conn, clock, userid, password, address).await?;
    let session_token = session::start(conn, clock, user.id).await?;
    sqlx::query!("UPDATE users SET last_login_at = $2 WHERE id = $1", user.id.0, clock.now()).execute(conn).await?;
    Ok(Login { session_token })
}

/// The person behind userid and password, without a session: for one call of the API.
///
/// # Errors
/// As [`login`].
pub async fn verify_basic(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str, address: &str) -> Result<User, LoginError> {
    // A longer one cannot exist; it must not fill the table of failures.
    let userid: String = userid.trim().chars().take(200).collect();
    if let Some(retry_after_secs) = wait_secs(conn, clock.now(), &userid, address).await? {
        return Err(LoginError::Throttled { retry_after_secs });
    }
    let row = sqlx::query!(
        r#"SELECT id AS "id: UserId", userid, name, role AS "role: UserRole", password_hash
           FROM users
           WHERE LOWER(userid) = LOWER($1)"#,
        userid
    )
    .fetch_optional(&mut *conn)
    .await?;
    if !password::verify(row.as_ref().map(|row| row.password_hash.clone()), password).await? {
        record_failure(conn, clock.now(), &userid, address).await?;
        return Err(LoginError::Wrong);
    }
    let row = row.ok_or(LoginError::Wrong)?;
    sqlx::query!("DELETE FROM login_failures WHERE LOWER(userid) = LOWER($1)", userid).execute(conn).await?;
    Ok(User { id: row.id, userid: row.userid, name: row.name, role: row.role })
}

/// How long until the limits allow another attempt; `None`: now.
async fn wait_secs(conn: &mut PgConnection, now: DateTime<Utc>, userid: &str, address: &str) -> Result<Option<i64>, LoginError> {
    let since = now - Duration::seconds(WINDOW_SECS);
    // The failure that must leave the window first: the fifth (twentieth) latest.
    let blocking = sqlx::query_scalar!(
        r#"SELECT MAX(failed_at)
           FROM (
             (SELECT failed_at FROM login_failures
              WHERE LOWER(userid) = LOWER($1) AND failed_at > $3
              ORDER BY failed_at DESC OFFSET $4 LIMIT 1)
             UNION ALL
             (SELECT failed_at FROM login_failures
              WHERE address = $2 AND failed_at > $3
              ORDER BY failed_at DESC OFFSET $5 LIMIT 1)
           ) AS blocking"#,
        userid,
        address,
        since,
        FAILURES_PER_USERID - 1,
        FAILURES_PER_ADDRESS - 1,
    )
    .fetch_one(conn)
    .await?;
    Ok(blocking.map(|failed_at| ((failed_at - since).num_milliseconds() as f64 / 1000.0).ceil() as i64))
}

async fn record_failure(conn: &mut PgConnection, now: DateTime<Utc>, userid: &str, address: &str) -> Result<(), LoginError> {
    sqlx::query!("DELETE FROM login_failures WHERE failed_at < $1", now - Duration::seconds(FORGET_AFTER_SECS)).execute(&mut *conn).await?;
    sqlx::query!("INSERT INTO login_failures (userid, address, failed_at) VALUES ($1, $2, $3)", userid, address, now).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
