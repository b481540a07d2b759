//! Proving who one is.

mod device;
mod lane;
mod limits;
mod proven;

pub use device::REMEMBERED_DAYS;
pub use limits::{Slowed, slowed};

use crate::audit::{self, By};
use crate::user::{User, UserRole};
use crate::{password, session};
use anyhow::Context;
use chrono::{DateTime, Utc};
use device::Device;
use lane::{Lanes, Place};
use limits::{Begun, Origin};
use model::ids::UserId;
use model::{Clock, Sealer};
use proven::Proven;
use sqlx::{Connection, PgConnection, PgPool};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Connections to the database that attempts use at most.
const CONNECTIONS: usize = 2;
/// How late an answer comes while somebody guesses at a userid from many places.
const LATE: Duration = Duration::from_secs(2);

/// Where an attempt comes in. Both count apart: a script with an old password must not slow down the people behind the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Pages,
    Api,
}

impl Door {
    /// As in `login_failures.door`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Api => "api",
        }
    }
}

/// Somebody at the login page.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub userid: &'a str,
    pub password: &'a str,
    /// Where the request came from.
    pub address: &'a str,
    /// What the browser calls itself.
    pub agent: &'a str,
    /// The cookies of earlier logins ([`Login::device`]) that the browser has.
    pub devices: &'a [String],
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("userid", &self.userid).field("address", &self.address).finish_non_exhaustive()
    }
}

/// A login that succeeded. `Debug` shows neither token.
#[derive(Clone)]
pub struct Login {
    /// For the cookie; nothing else ever holds it.
    pub session_token: String,
    /// For the cookie by which this browser is known at its next login.
    pub device: String,
    pub user: UserId,
    /// The person has to choose a password first.
    pub must_change_password: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).field("must_change_password", &self.must_change_password).finish_non_exhaustive()
    }
}

/// A change of one's own password. `Debug` shows no password.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    pub new: &'a str,
    /// Who asks, with the current password.
    pub attempt: Attempt<'a>,
}

impl fmt::Debug for NewPassword<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPassword").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the user name or the password is wrong")]
    Wrong,
    #[error("too many failed attempts; try again in {retry_after_secs} seconds")]
    Throttled { retry_after_secs: i64 },
    #[error("too many people log in at the moment; try again in a second")]
    Busy,
    /// Of the API alone.
    #[error("the password was set by somebody else and must be changed first")]
    MustChange,
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<sqlx::Error> for LoginError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

/// Why a password stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The new one is refused; a sentence says why.
    #[error("{0}")]
    New(String),
    /// The current one is.
    #[error(transparent)]
    Current(#[from] LoginError),
}

/// A person's row.
#[derive(Clone)]
struct Person {
    user: User,
    password_hash: String,
    password_changed_at: DateTime<Utc>,
    must_change_password: bool,
}

/// All attempts to log in of this process. Clones share everything.
///
/// No connection is held while a password is compared; as many are compared at a time as the machine has cores.
#[derive(Clone)]
pub struct Logins(Arc<Inside>);

struct Inside {
    pool: PgPool,
    clock: Clock,
    sealer: Sealer,
    lanes: Lanes,
    connections: Semaphore,
    proven: Proven,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins(…)")
    }
}

impl Logins {
    /// `sealer` signs the cookies of known browsers.
    pub fn new(pool: PgPool, clock: Clock, sealer: Sealer) -> Self {
        let connections = Semaphore::new(CONNECTIONS);
        Self(Arc::new(Inside { pool, clock, sealer, lanes: Lanes::new(), connections, proven: Proven::new() }))
    }

    /// Opens a session for who knows the password.
    ///
    /// # Errors
    /// `Wrong` for an unknown user and for a wrong password alike, after the same time; `Throttled` after too many failures, even with the right password,
    /// for five seconds at most; `Busy` while too many attempts are being made.
    pub async fn log_in(&self, attempt: Attempt<'_>) -> Result<Login, LoginError> {
        let origin = Origin::new(attempt.userid, Door::Pages, attempt.address);
        let (person, device) = self.prove_in_browser(&origin, attempt).await?;
        self.open_session(attempt, &person, device.as_ref()).await
    }

    /// The person behind userid and password, without a session: for one call of the API. Unlike [`Logins::log_in`] it forgets no failures: scripts call all the time.
    ///
    /// # Errors
    /// As [`Logins::log_in`]; `MustChange` when somebody else set the password.
    pub async fn verify_basic(&self, userid: &str, password: &str, address: &str) -> Result<User, LoginError> {
        let origin = Origin::new(userid, Door::Api, address);
        let person = self.find(&origin.userid).await?;
        let stored = person.as_ref().map_or("", |person| person.password_hash.as_str());
        let key = self.0.proven.key(&origin.userid, stored, password);
        if !self.0.proven.has(&key) {
            let (logins, password, address) = (self.clone(), password.to_owned(), address.to_owned());
            let attempt = async move { logins.prove_call(&origin, &password, &address).await };
            self.0.proven.once(key, attempt).await?;
        }
        match person {
            Some(person) if person.must_change_password => Err(LoginError::MustChange),
            Some(person) => Ok(person.user),
            None => Err(LoginError::Wrong),
        }
    }

    async fn prove_call(&self, origin: &Origin, password: &str, address: &str) -> Result<(), LoginError> {
        let by = By { userid: &origin.userid, address };
        let (person, begun) = self.begin(origin, None).await?;
        let person = self.judge(origin, by, person, &begun, password, None).await?;
        begun.forget(&mut *self.0.pool.acquire().await?).await?;
        audit::logged_in(By { userid: &person.user.userid, address }, Door::Api, false);
        Ok(())
    }

    /// Changes one's own password: ends all sessions of the person and opens a new one for the browser that asked.
    ///
    /// # Errors
    /// `New`: the new password is refused. `Current`: as [`Logins::log_in`].
    pub async fn change_password(&self, change: NewPassword<'_>) -> Result<Login, PasswordError> {
        let attempt = change.attempt;
        if change.new == attempt.password {
            return Err(PasswordError::New("The new password is the old one. Choose another.".to_owned()));
        }
        password::check(change.new).map_err(PasswordError::New)?;
        let origin = Origin::new(attempt.userid, Door::Pages, attempt.address);
        let by = By { userid: &origin.userid, address: attempt.address };
        let proven = self.prove_in_browser(&origin, attempt).await;
        let (mut person, device) = proven.inspect_err(|_| audit::password_change_refused(by, &origin.userid))?;
        let hash = password::hash(change.new).await.map_err(LoginError::from)?;
        let proven_at = std::mem::replace(&mut person.password_changed_at, self.0.clock.now());
        self.store_password(&person, proven_at, &hash).await?;
        person.password_hash = hash;
        person.must_change_password = false;
        audit::password_changed(by, &person.user.userid);
        Ok(self.open_session(attempt, &person, device.as_ref()).await?)
    }

    /// `proven_at`: of when the password is that was proven. When somebody else has set another one meanwhile, that one stays.
    async fn store_password(&self, person: &Person, proven_at: DateTime<Utc>, hash: &str) -> Result<(), LoginError> {
        let mut tx = self.0.pool.begin().await?;
        let stored = sqlx::query!(
            "UPDATE users SET password_hash = $2, password_changed_at = $3, must_change_password = FALSE WHERE id = $1 AND password_changed_at = $4",
            person.user.id.0,
            hash,
            person.password_changed_at,
            proven_at
        )
        .execute(&mut *tx)
        .await?;
        if stored.rows_affected() == 0 {
            return Err(LoginError::Wrong);
        }
        sqlx::query!("DELETE FROM sessions WHERE user_id = $1", person.user.id.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The person at the login page, or whoever types the current password again.
    async fn prove_in_browser(&self, origin: &Origin, attempt: Attempt<'_>) -> Result<(Person, Option<Device>), LoginError> {
        let device = device::claimed(&self.0.sealer, &origin.userid, attempt.devices, self.0.clock.now());
        let (person, begun) = self.begin(origin, device.as_ref()).await?;
        let by = By { userid: &origin.userid, address: attempt.address };
        let person = self.judge(origin, by, person, &begun, attempt.password, device.as_ref()).await?;
        let known = device.as_ref().filter(|_| begun.known);
        origin.forget_own(&mut *self.0.pool.acquire().await?, &begun, known.map(|device| device.id.as_str())).await?;
        audit::logged_in(By { userid: &person.user.userid, address: attempt.address }, Door::Pages, begun.known);
        Ok((person, device))
    }

    /// Finds the person and counts the attempt, in a transaction of its own that is over before the password is looked at.
    async fn begin(&self, origin: &Origin, device: Option<&Device>) -> Result<(Option<Person>, Begun), LoginError> {
        self.0.lanes.note(&origin.neighbourhood);
        let place = self.enter(origin, device)?;
        let _connection = place.turn(&self.0.connections).await.context("waiting for a connection")?;
        let mut conn = self.0.pool.acquire().await?;
        let mut tx = conn.begin().await?;
        let person = find(&mut tx, &origin.userid).await?;
        let of_person = |device: &&Device| person.as_ref().is_some_and(|person| device.is_of(person.user.id, person.password_changed_at));
        let device = device.filter(of_person).map(|device| device.id.as_str());
        let begun = origin.begin(&mut tx, self.0.clock.now(), device).await?;
        tx.commit().await?;
        Ok((person, begun))
    }

    fn enter(&self, origin: &Origin, known: Option<&Device>) -> Result<Place, LoginError> {
        self.0.lanes.enter(&origin.network, self.0.lanes.is_fresh(&origin.neighbourhood), known)
    }

    /// Compares the password. Who is wrong, or unknown, hears it after the same time; the attempt goes on counting then.
    async fn judge(
        &self,
        origin: &Origin,
        by: By<'_>,
        person: Option<Person>,
        begun: &Begun,
        password: &str,
        device: Option<&Device>,
    ) -> Result<Person, LoginError> {
        if begun.late {
            tokio::time::sleep(LATE).await;
        }
        // A browser whose cookie the database did not confirm, or that failed too often, has no place of a known one.
        let place = self.enter(origin, device.filter(|_| begun.known));
        let Ok(place) = place else {
            begun.forget(&mut *self.0.pool.acquire().await?).await?;
            return Err(LoginError::Busy);
        };
        let turn = place.turn(password::turns()).await.context("waiting to compare a password")?;
        let right = password::verify(turn, person.as_ref().map(|person| person.password_hash.clone()), password).await?;
        match person {
            Some(person) if right => {
                self.0.lanes.forget(&origin.neighbourhood);
                Ok(person)
            }
            _ => {
                audit::login_failed(by, origin.door);
                if let Some(limit) = begun.reaches {
                    audit::logins_slowed(by, origin.door, limit);
                }
                Err(LoginError::Wrong)
            }
        }
    }

    async fn open_session(&self, attempt: Attempt<'_>, person: &Person, device: Option<&Device>) -> Result<Login, LoginError> {
        let now = self.0.clock.now();
        let mut tx = self.0.pool.begin().await?;
        let from = session::From { address: attempt.address, agent: attempt.agent };
        // Nothing when the password was changed, or the person removed, while it was compared.
        let session_token = session::start(&mut tx, now, person.user.id, person.password_changed_at, from).await?.ok_or(LoginError::Wrong)?;
        sqlx::query!("UPDATE users SET last_login_at = $2 WHERE id = $1", person.user.id.0, now).execute(&mut *tx).await?;
        tx.commit().await?;
        let before = device.filter(|device| device.is_of(person.user.id, person.password_changed_at));
        let device = device::seal(&self.0.sealer, before, &person.user.userid, person.user.id, person.password_changed_at, now)?;
        Ok(Login { session_token, device, user: person.user.id, must_change_password: person.must_change_password })
    }

    async fn find(&self, userid: &str) -> Result<Option<Person>, LoginError> {
        let mut conn = self.0.pool.acquire().await?;
        Ok(find(&mut conn, userid).await?)
    }
}

async fn find(conn: &mut PgConnection, userid: &str) -> sqlx::Result<Option<Person>> {
    let row = sqlx::query!(
        r#"SELECT id AS "id: UserId", userid, name, role AS "role: UserRole", password_hash, password_changed_at, must_change_password
           FROM users
           WHERE LOWER(userid) = LOWER($1)"#,
        userid
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Person {
        user: User { id: row.id, userid: row.userid, name: row.name, role: row.role },
        password_hash: row.password_hash,
        password_changed_at: row.password_changed_at,
        must_change_password: row.must_change_password,
    }))
}

#[cfg(test)]
mod tests;
