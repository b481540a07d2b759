//! People and their rights.

use crate::password;
use anyhow::bail;
use model::Clock;
use model::ids::UserId;
use sqlx::PgConnection;

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

/// The first start's administrator, `admin`. Gives the random password that was made for it, to be shown once; `None` when `password` was given or somebody exists already.
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
        "INSERT INTO users (userid, name, role, password_hash, created_at, password_changed_at)
         VALUES ('admin', 'Administrator', 'super_administrator', $1, $2, $2)
         ON CONFLICT DO NOTHING",
        hash,
        clock.now()
    )
    .execute(conn)
    .await?;
    Ok(made.filter(|_| inserted.rows_affected() == 1))
}

/// Gives a person a new password, ends that person's sessions and forgets the failures that throttle it.
///
/// # Errors
/// No such person; too short or too long; the database.
pub async fn set_password(conn: &mut PgConnection, clock: &Clock, userid: &str, password: &str) -> anyhow::Result<()> {
    let hash = password::hash(password).await?;
    let id = sqlx::query_scalar!(
        "UPDATE users
         SET password_hash = $2, password_changed_at = $3
         WHERE LOWER(userid) = LOWER($1)
         RETURNING id",
        userid,
        hash,
        clock.now()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(id) = id else { bail!("there is no user {userid:?}") };
    sqlx::query!("DELETE FROM sessions WHERE user_id = $1", id).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM login_failures WHERE LOWER(userid) = LOWER($1)", userid).execute(conn).await?;
    Ok(())
}
