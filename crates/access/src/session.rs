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
use subtle::ConstantTimeEq;

/// How long a session may last.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Without a request.
    pub idle_mins: u32,
    /// In all.
    pub max_hours: u32,
}

/// A session that is valid now.
#[derive(Debug, Clone)]
pub struct Session {
    pub user: User,
    /// Every form that changes something carries it.
    pub csrf_token: String,
}

impl Session {
    /// Whether a form's token is this session's; compared in constant time.
    pub fn csrf_matches(&self, token: &str) -> bool {
        self.csrf_token.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Requests that follow each other within this time do not each write `last_used_at`.
const TOUCH_EVERY_SECS: i64 = 30;

/// 32 random bytes as base64.
fn token() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A new session; gives its token.
pub(crate) async fn start(conn: &mut PgConnection, clock: &Clock, user: UserId) -> anyhow::Result<String> {
    let token_for_cookie = token();
    sqlx::query!(
        "INSERT INTO sessions (token_sha256, user_id, csrf_token, created_at, last_used_at)
         VALUES ($1, $2, $3, $4, $4)",
        sha256(&token_for_cookie),
        user.0,
        token(),
        clock.now()
    )
    .execute(conn)
    .await?;
    Ok(token_for_cookie)
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
        r#"SELECT user_id AS "user_id: UserId", userid, name, role AS "role: UserRole", csrf_token, last_used_at
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
        (Session { user, csrf_token: row.csrf_token }, row.last_used_at)
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
    use crate::{create_admin_if_none, login};
    use sqlx::PgPool;

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_page_that_only_refreshes_itself_does_not_keep_its_session_alive(pool: PgPool) {
        let mut conn = pool.acquire().await.unwrap();
        let clock = Clock::at(DateTime::UNIX_EPOCH + Duration::days(1));
        let limits = Limits { idle_mins: 60, max_hours: 24 };
        create_admin_if_none(&mut conn, &clock, Some("correct horse")).await.unwrap();
        let token = login(&mut conn, &clock, "admin", "correct horse", "::1").await.unwrap().session_token;
        clock.advance(Duration::minutes(50));
        assert!(find_unused(&mut conn, &clock, &token, limits).await.unwrap().is_some());
        clock.advance(Duration::minutes(11));
        assert!(find_unused(&mut conn, &clock, &token, limits).await.unwrap().is_none(), "an hour without a person");
        assert!(find(&mut conn, &clock, &token, limits).await.unwrap().is_none());
    }
}
