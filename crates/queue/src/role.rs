//! What a server may do, switched on and off while it runs.

use model::Clock;
use model::ids::ServerId;
use sqlx::PgConnection;

/// A role, spelled as ManageIQ spells it.
///
/// Source: ManageIQ, `db/fixtures/server_roles.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    UserInterface,
    WebServices,
    Inventory,
    SmartState,
    SmartProxy,
}

/// A server that was not seen for this long counts as gone.
pub const ALIVE_SECS: i64 = 60;

impl Role {
    /// In the order in which pages show them.
    pub const ALL: [Self; 5] = [Self::UserInterface, Self::WebServices, Self::Inventory, Self::SmartState, Self::SmartProxy];

    /// The wire string, as in `server_roles.role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserInterface => "user_interface",
            Self::WebServices => "web_services",
            Self::Inventory => "ems_inventory",
            Self::SmartState => "smartstate",
            Self::SmartProxy => "smartproxy",
        }
    }

    /// The inverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// The words on the page.
    pub fn label(self) -> &'static str {
        match self {
            Self::UserInterface => "User Interface",
            Self::WebServices => "Web Services",
            Self::Inventory => "Inventory",
            Self::SmartState => "SmartState Analysis",
            Self::SmartProxy => "SmartProxy",
        }
    }
}

/// Switches a role of a server on or off; the server follows within two seconds.
///
/// # Errors
/// The database, or no such server.
pub async fn set(conn: &mut PgConnection, server: ServerId, role: Role, enabled: bool) -> anyhow::Result<()> {
    sqlx::query!(
        "INSERT INTO server_roles (server_id, role, enabled)
         VALUES ($1, $2, $3)
         ON CONFLICT (server_id, role) DO UPDATE SET enabled = EXCLUDED.enabled
         WHERE server_roles.enabled <> EXCLUDED.enabled",
        server.0,
        role.as_str(),
        enabled
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All roles in the order of [`Role::ALL`], and whether the server has them.
///
/// # Errors
/// The database.
pub async fn list(conn: &mut PgConnection, server: ServerId) -> anyhow::Result<Vec<(Role, bool)>> {
    let rows = sqlx::query!("SELECT role, enabled FROM server_roles WHERE server_id = $1", server.0).fetch_all(conn).await?;
    let has = |role: Role| rows.iter().any(|row| row.enabled && row.role == role.as_str());
    Ok(Role::ALL.into_iter().map(|role| (role, has(role))).collect())
}

/// Whether a server that was seen within the last minute has `role`.
///
/// # Errors
/// The database.
pub async fn any_server_has(conn: &mut PgConnection, clock: &Clock, role: Role) -> anyhow::Result<bool> {
    let since = clock.now() - chrono::Duration::seconds(ALIVE_SECS);
    let has = sqlx::query_scalar!(
        r#"SELECT EXISTS (
             SELECT FROM server_roles
             JOIN servers ON servers.id = server_roles.server_id
             WHERE role = $1
               AND enabled
               AND seen_at >= $2
           ) AS "has!""#,
        role.as_str(),
        since
    )
    .fetch_one(conn)
    .await?;
    Ok(has)
}
