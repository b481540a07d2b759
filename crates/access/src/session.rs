//! Browser sessions.

use crate::user::{User, UserRole};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use model::Clock;
use model::ids::UserId;
use rand::RngCore;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::fmt;
use subtle::ConstantTimeEq;

/// How long a session may last.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a request.
    pub idle_mins: u32,
    /// In all.
    pub max_hours: u32,
}

/// A session that is valid now. `Debug` does not show its token.
#[derive(Clone)]
pub struct Session {
    /// Names it on pages; of no use to log in.
    pub id: i64,
    pub user: User,
    /// Every form that changes something carries it.
    pub csrf_token: String,
    /// Somebody else set the password: nothing but changing it is allowed.
    pub must_change_password: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where a session was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From<'a> {
    pub address: &'a str,
    /// What the browser calls itself.
    pub agent: &'a str,
}

/// A session as its owner sees it in a list.
#[derive(Debug, Clone)]
pub struct Open {
    pub id: i64,
    pub address: String,
    /// `User-Agent` of the login; empty when there was none.
    pub agent: String,
    pub created_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
}

impl Session {
    /// Whether a form's token is this session's; compared in constant time.
    pub fn csrf_matches(&self, token: &str) -> bool {
        self.csrf_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Requests that follow each other within this time do not each write `last_used_at`.
const TOUCH_EVERY_SECS: i64 = 30;
/// More of what a browser calls itself is of no use.
const AGENT_CHARS: usize = 300;
/// A person's sessions; one more ends the one that was used longest ago.
const PER_USER: i64 = 100;

/// 32 random bytes as base64.
fn token() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A new session; gives its token. `None` when the person has gone, or has another password than the one that was proven.
pub(crate) async fn start(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    user: UserId,
    password_changed_at: DateTime<Utc>,
    from: From<'_>,
) -> anyhow::Result<Option<String>> {
    let token_for_cookie = token();
    // FOR SHARE waits for a change of the password that is under way, and then sees it.
    let started = sqlx::query!(
        "INSERT INTO sessions (token_sha256, user_id, csrf_token, created_at, last_used_at, address, agent)
         SELECT $1, id, $3, $4, $4, $6, $7
         FROM users
         WHERE id = $2 AND password_changed_at = $5
         FOR SHARE",
        sha256(&token_for_cookie),
        user.0,
        token(),
        now,
        password_changed_at,
        from.address,
        from.agent.chars().filter(|c| !c.is_control()).take(AGENT_CHARS).collect::<String>()
    )
    .execute(&mut *conn)
    .await?;
    if started.rows_affected() == 0 {
        return Ok(None);
    }
    sqlx::query!(
        "DELETE FROM sessions
         WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 ORDER BY last_used_at DESC, id DESC OFFSET $2)",
        user.0,
        PER_USER
    )
    .execute(conn)
    .await?;
    Ok(Some(token_for_cookie))
}

/// The sessions of a person that can still be used, the latest used first.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut PgConnection, clock: &Clock, user: UserId, limits: Limits) -> anyhow::Result<Vec<Open>> {
    let now = clock.now();
    let sessions = sqlx::query_as!(
        Open,
        "SELECT id, address, agent, created_at, last_used_at
         FROM sessions
         WHERE user_id = $1 AND last_used_at > $2 AND created_at > $3
         ORDER BY last_used_at DESC, id DESC",
        user.0,
        now - Duration::minutes(limits.idle_mins.into()),
        now - Duration::hours(limits.max_hours.into())
    )
    .fetch_all(conn)
    .await?;
    Ok(sessions)
}

/// Ends one session of a person by its number; gives how many there were.
///
/// # Errors
/// The database.
pub async fn end_one(conn: &mut PgConnection, user: UserId, id: i64) -> anyhow::Result<u64> {
    Ok(sqlx::query!("DELETE FROM sessions WHERE user_id = $1 AND id = $2", user.0, id).execute(conn).await?.rows_affected())
}

/// Ends all sessions of a person but `kept`; gives how many.
///
/// # Errors
/// The database.
pub async fn end_others(conn: &mut PgConnection, user: UserId, kept: i64) -> anyhow::Result<u64> {
    Ok(sqlx::query!("DELETE FROM sessions WHERE user_id = $1 AND id <> $2", user.0, kept).execute(conn).await?.rows_affected())
}

/// The session of a cookie, when it is valid; it is then used, which puts its idle end off.
///
/// # Errors
/// The database.
pub async fn find(conn: &mut PgConnection, clock: &Clock, token: &str, limits: Limits) -> anyhow::Result<Option<Session>> {
    let found = valid(conn, clock.now(), &sha256(token), limits).await?;
    if let Some((_, last_used_at)) = &found
        && clock.now() - last_used_at > Duration::seconds(TOUCH_EVERY_SECS)
    {
        sqlx::query!("UPDATE sessions SET last_used_at = $2 WHERE token_sha256 = $1", sha256(token), clock.now()).execute(conn).await?;
    }
    Ok(found.map(|(session, _)| session))
}

/// As [`find`] for an open page that keeps itself up to date: perhaps nobody is there, so it does not put the idle end off.
///
/// # Errors
/// The database.
pub async fn find_unused(conn: &mut PgConnection, clock: &Clock, token: &str, limits: Limits) -> anyhow::Result<Option<Session>> {
    Ok(valid(conn, clock.now(), &sha256(token), limits).await?.map(|(session, _)| session))
}

/// The session and when it was last used.
async fn valid(conn: &mut PgConnection, now: DateTime<Utc>, hash: &[u8], limits: Limits) -> anyhow::Result<Option<(Session, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"SELECT sessions.id, must_change_password, user_id AS "user_id: UserId", userid, name, role AS "role: UserRole", csrf_token, last_used_at
           FROM sessions
           JOIN users ON users.id = user_id
           WHERE token_sha256 = $1
             AND last_used_at > $2
             AND sessions.created_at > $3"#,
        hash,
        now - Duration::minutes(limits.idle_mins.into()),
        now - Duration::hours(limits.max_hours.into())
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let user = User { id: row.user_id, userid: row.userid, name: row.name, role: row.role };
        let (id, must_change_password) = (row.id, row.must_change_password);
        (Session { id, user, csrf_token: row.csrf_token, must_change_password }, row.last_used_at)
    }))
}

/// Ends a session (logging out); nothing happens when there is none.
///
/// # Errors
/// The database.
pub async fn end(conn: &mut PgConnection, token: &str) -> anyhow::Result<()> {
    sqlx::query!("DELETE FROM sessions WHERE token_sha256 = $1", sha256(token)).execute(conn).await?;
    Ok(())
}

/// Removes the sessions that can no longer be used.
///
/// # Errors
/// The database.
pub async fn remove_expired(conn: &mut PgConnection, clock: &Clock, limits: Limits) -> anyhow::Result<u64> {
    let now = clock.now();
    let removed = sqlx::query!(
        "DELETE FROM sessions WHERE last_used_at <= $1 OR created_at <= $2",
        now - Duration::minutes(limits.idle_mins.into()),
        now - Duration::hours(limits.max_hours.into())
    )
    .execute(conn)
    .await?;
    Ok(removed.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Logins, create_admin_if_none};
    use model::Sealer;
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_page_that_only_refreshes_itself_does_not_keep_its_session_alive(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        let clock = Clock::at(DateTime::UNIX_EPOCH + Duration::days(1));
        let limits = Limits { idle_mins: 60, max_hours: 24 };
        create_admin_if_none(&mut conn, &clock, Some("correct horse")).await.unwrap();
        let logins = Logins::new(pool.clone(), clock.clone(), Sealer::new(&[1; 32]));
        let attempt = Attempt { userid: "admin", password: "correct horse", address: "::1", agent: "", devices: &[] };
        let token = logins.log_in(attempt).await.unwrap().session_token;
        clock.advance(Duration::minutes(50));
        assert!(find_unused(&mut conn, &clock, &token, limits).await.unwrap().is_some());
        clock.advance(Duration::minutes(11));
        assert!(find_unused(&mut conn, &clock, &token, limits).await.unwrap().is_none(), "an hour without a person");
        assert!(find(&mut conn, &clock, &token, limits).await.unwrap().is_none());
    }
}
