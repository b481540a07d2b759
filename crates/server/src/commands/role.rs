//! `tidewaiter role …`

use crate::cli::{RoleCommand, RoleOf};
use crate::settings::Settings;
use access::{By, audit};
use anyhow::Context;
use queue::role::{self, Role};
use queue::server::Server;
use sqlx::{PgConnection, PgPool};

pub async fn run(pool: &PgPool, settings: &Settings, by: By<'_>, command: RoleCommand) -> anyhow::Result<()> {
    let mut conn = pool.acquire().await?;
    match command {
        RoleCommand::List { server } => list(&mut conn, settings, server).await,
        RoleCommand::Enable(of) => set(&mut conn, settings, by, of, true).await,
        RoleCommand::Disable(of) => set(&mut conn, settings, by, of, false).await,
    }
}

async fn list(conn: &mut PgConnection, settings: &Settings, server: Option<String>) -> anyhow::Result<()> {
    let server = find(conn, settings, server).await?;
    for (role, on) in role::list(conn, server.id).await? {
        println!("{:16} {:4} {}", role.as_str(), if on { "on" } else { "off" }, role.label());
    }
    Ok(())
}

async fn set(conn: &mut PgConnection, settings: &Settings, by: By<'_>, of: RoleOf, on: bool) -> anyhow::Result<()> {
    let names = || Role::ALL.map(Role::as_str).join(", ");
    let role = Role::parse(&of.role).with_context(|| format!("there is no role {:?}; there are {}", of.role, names()))?;
    let server = find(conn, settings, of.server).await?;
    role::set(conn, server.id, role, on).await?;
    audit::server_role_switched(by, &server.name, role.as_str(), on);
    println!("{} of {} is {}.", role.label(), server.name, if on { "on" } else { "off" });
    Ok(())
}

async fn find(conn: &mut PgConnection, settings: &Settings, name: Option<String>) -> anyhow::Result<Server> {
    let name = name.unwrap_or_else(|| settings.server.name.clone());
    let servers = queue::server::list(conn).await?;
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    servers
        .into_iter()
        .find(|server| server.name == name)
        .with_context(|| format!("no server {name:?} has started on this database yet (known: {}); name it with --server", names.join(", ")))
}
