//! People and their rights.

use crate::password;
use anyhow::bail;
use chrono::{DateTime, Utc};
use model::Clock;
use model::ids::UserId;
use sqlx::{Connection, PgConnection};
use std::fmt;

/// What a person may do; every page and call names the one it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// See inventory, results, tasks.
    View,
    /// Ask for analyses and refreshes.
    ScanImages,
    /// Cancel and retry tasks.
    ManageTasks,
    /// Add, change and delete providers.
    ManageProviders,
    /// Server roles and settings.
    Configure,
    /// See values of images and containers that look like secrets; others see them masked.
    SeeSecrets,
}

impl Permission {
    /// As in "your role does not allow you to …".
    pub fn label(self) -> &'static str {
        match self {
            Self::View => "see this",
            Self::ScanImages => "ask for analyses and refreshes",
            Self::ManageTasks => "cancel or retry tasks",
            Self::ManageProviders => "change providers",
            Self::Configure => "change this server's settings",
            Self::SeeSecrets => "see values that look like secrets",
        }
    }
}

/// Source: ManageIQ's shipped roles of the same names, cut to what exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum UserRole {
    SuperAdministrator,
    Operator,
    Auditor,
}

/// A person who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub userid: String,
    pub name: String,
    pub role: UserRole,
}

impl User {
    /// The only place where rights are decided.
    pub fn may(&self, permission: Permission) -> bool {
        match self.role {
            UserRole::SuperAdministrator => true,
            UserRole::Operator => matches!(permission, Permission::View | Permission::ScanImages | Permission::ManageTasks),
            UserRole::Auditor => permission == Permission::View,
        }
    }
}

impl UserRole {
    /// In the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::SuperAdministrator, Self::Operator, Self::Auditor];

    /// As in `users.role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuperAdministrator => "super_administrator",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The inverse of [`UserRole::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The words on the page.
    pub fn label(self) -> &'static str {
        match self {
            Self::SuperAdministrator => "Super Administrator",
            Self::Operator => "Operator",
            Self::Auditor => "Auditor",
        }
    }
}

/// The first start's administrator, `admin`. Gives the random password that was made for it, to be shown once and changed at the first login;
/// `None` when `password` was given or somebody exists already.
///
/// # Errors
/// The database; `password` is too short or too long.
pub async fn create_admin_if_none(conn: &mut PgConnection, clock: &Clock, password: Option<&str>) -> anyhow::Result<Option<String>> {
    if sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM users) AS "exists!""#).fetch_one(&mut *conn).await? {
        return Ok(None);
    }
    let (made, password) = match password {
        Some(password) => (None, password.to_owned()),
        None => {
            let password = password::random();
            (Some(password.clone()), password)
        }
    };
    let hash = password::hash(&password).await?;
    let inserted = sqlx::query!(
        "INSERT INTO users (userid, name, role, password_hash, created_at, password_changed_at, must_change_password)
         VALUES ('admin', 'Administrator', 'super_administrator', $1, $2, $2, $3)
         ON CONFLICT DO NOTHING",
        hash,
        clock.now(),
        made.is_some()
    )
    .execute(conn)
    .await?;
    Ok(made.filter(|_| inserted.rows_affected() == 1))
}

/// A person to be added, who has to change the password at the first login.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    pub userid: &'a str,
    /// Shown on pages; empty: the userid is.
    pub name: &'a str,
    pub role: UserRole,
    pub password: &'a str,
}

impl fmt::Debug for NewUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("userid", &self.userid).field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Adds a person.
///
/// # Errors
/// The userid is taken or cannot be one, or the password is too short or too long: a sentence says so. The database.
pub async fn add(conn: &mut PgConnection, clock: &Clock, new: NewUser<'_>) -> anyhow::Result<()> {
    check_userid(new.userid)?;
    let hash = password::hash(new.password).await?;
    let added = sqlx::query!(
        "INSERT INTO users (userid, name, role, password_hash, created_at, password_changed_at, must_change_password)
         VALUES ($1, $2, $3, $4, $5, $5, TRUE)
         ON CONFLICT DO NOTHING",
        new.userid,
        new.name,
        new.role.as_str(),
        hash,
        clock.now()
    )
    .execute(conn)
    .await?;
    if added.rows_affected() == 0 {
        bail!("there is a user {:?} already", new.userid);
    }
    Ok(())
}

/// What basic authentication, the log and command lines can carry. `cli:…` is how commands sign.
fn check_userid(userid: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_alphanumeric() || "._-@+".contains(c);
    if userid.is_empty() || userid.chars().count() > 100 || !userid.chars().all(plain) {
        bail!("a user's name has 1 to 100 letters, digits and . _ - @ +; {userid:?} has not");
    }
    Ok(())
}

/// Takes a person away, with its sessions. What was recorded under its userid stays.
///
/// # Errors
/// No such person, or the last super administrator. The database.
pub async fn remove(conn: &mut PgConnection, userid: &str) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let id = changeable(&mut tx, userid, None).await?;
    sqlx::query!("DELETE FROM users WHERE id = $1", id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a person another role, at once.
///
/// # Errors
/// As [`remove`].
pub async fn set_role(conn: &mut PgConnection, userid: &str, role: UserRole) -> anyhow::Result<()> {
    let mut tx = conn.begin().await?;
    let id = changeable(&mut tx, userid, Some(role)).await?;
    sqlx::query!("UPDATE users SET role = $2 WHERE id = $1", id, role.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// The person's number, when it may become `role` (`None`: go). All administrators are locked, so that two changes at once cannot take away the last.
async fn changeable(conn: &mut PgConnection, userid: &str, role: Option<UserRole>) -> anyhow::Result<i64> {
    let administrators = sqlx::query_scalar!("SELECT id FROM users WHERE role = 'super_administrator' ORDER BY id FOR UPDATE").fetch_all(&mut *conn).await?;
    let id = sqlx::query_scalar!("SELECT id FROM users WHERE LOWER(userid) = LOWER($1)", userid).fetch_optional(conn).await?;
    let Some(id) = id else { bail!("there is no user {userid:?}") };
    if administrators == [id] && role != Some(UserRole::SuperAdministrator) {
        bail!("{userid} is the last super administrator; give that role to somebody else first");
    }
    Ok(id)
}

/// A row of `users`, as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    pub userid: String,
    pub name: String,
    pub role: UserRole,
    pub must_change_password: bool,
    pub last_login_at: Option<DateTime<Utc>>,
}

/// All people, by userid.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut PgConnection) -> anyhow::Result<Vec<Listed>> {
    let users = sqlx::query_as!(
        Listed,
        r#"SELECT userid, name, role AS "role: UserRole", must_change_password, last_login_at
           FROM users
           ORDER BY LOWER(userid)"#
    )
    .fetch_all(conn)
    .await?;
    Ok(users)
}

/// Gives a person a new password, ends that person's sessions and forgets the failures that make it wait.
///
/// `must_change`: the person has to choose another at the next login, since somebody else knows this one.
///
/// # Errors
/// No such person; too short or too long; the database.
pub async fn set_password(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str, must_change: bool) -> anyhow::Result<()> {
    let hash = password::hash(password).await?;
    let id = sqlx::query_scalar!(
        "UPDATE users
         SET password_hash = $2, password_changed_at = $3, must_change_password = $4
         WHERE LOWER(userid) = LOWER($1)
         RETURNING id",
        userid,
        hash,
        clock.now(),
        must_change
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(id) = id else { bail!("there is no user {userid:?}") };
    sqlx::query!("DELETE FROM sessions WHERE user_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM login_failures WHERE LOWER(userid) = LOWER($1)", userid).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
