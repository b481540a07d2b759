//! Configuration → Server: which roles the servers have.

use crate::State;
use crate::error::{Error, Result};
use crate::extract::Form;
use crate::page::{Flash, Page, redirect, respond};
use crate::session::Visit;
use access::Permission;
use access::login::Slowed;
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Response;
use axum::routing::get;
use chrono::Duration;
use queue::role::{self, ALIVE_SECS, Role};
use queue::server::{self, Server};
use serde::Deserialize;

pub fn routes() -> Router<State> {
    Router::new().route("/configuration/server", get(show).post(switch))
}

struct WithRoles {
    server: Server,
    alive: bool,
    /// The one that answers this request.
    this: bool,
    roles: Vec<(Role, bool)>,
}

#[derive(Template)]
#[template(path = "configuration/server.html")]
struct ServerPage {
    page: Page,
    servers: Vec<WithRoles>,
    may_change: bool,
    /// Of the last hour; empty for people who may not configure.
    slowed: Vec<Slowed>,
}

/// What a role does, for people who see the switch.
pub(crate) fn purpose(role: &Role) -> &'static str {
    match role {
        Role::UserInterface => "These pages. Switched off, this server answers no browser any more; another server, or the command line, switches it on again.",
        Role::WebServices => "The API under /api.",
        Role::Inventory => "Reads and watches the providers.",
        Role::SmartState => "Decides which image is analysed next, and where.",
        Role::SmartProxy => "Drives the analyses: scan pods, content, results.",
    }
}

async fn show(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let mut servers = Vec::new();
    for server in server::list(&mut conn).await? {
        let roles = role::list(&mut conn, server.id).await?;
        servers.push(WithRoles { alive: visit.now - server.seen_at < Duration::seconds(ALIVE_SECS), this: server.id == state.server, roles, server });
    }
    servers.sort_by_key(|each| (!each.this, each.server.name.clone()));
    let page = visit.page("server", "Server").crumb("Configuration", "/configuration/server").live("server_roles");
    let may_change = visit.user.may(Permission::Configure);
    let slowed = if may_change { access::login::slowed(&mut conn, visit.now).await? } else { Vec::new() };
    respond(&visit, &ServerPage { page, servers, may_change, slowed })
}

#[derive(Debug, Deserialize)]
struct Switch {
    server: i64,
    role: String,
    on: bool,
}

async fn switch(visit: Visit, extract::State(state): extract::State<State>, Form(form): Form<Switch>) -> Result<Response> {
    visit.must(Permission::Configure)?;
    let role = Role::parse(&form.role).ok_or_else(|| Error::BadRequest("There is no such role.".to_owned()))?;
    let mut conn = state.pool.acquire().await?;
    let servers = server::list(&mut conn).await?;
    let server = servers.into_iter().find(|server| server.id.0 == form.server).ok_or(Error::NotFound("This server"))?;
    role::set(&mut conn, server.id, role, form.on).await?;
    access::audit::server_role_switched(visit.by(), &server.name, role.as_str(), form.on);
    let how = if form.on { "on" } else { "off" };
    Ok(redirect("/configuration/server", Flash::success(format!("{} was switched {how} on {}; the server follows within seconds.", role.label(), server.name))))
}
