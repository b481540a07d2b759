#![doc = include_str!("../README.md")]

pub mod api;
pub mod assets;
mod bodies;
pub mod cookies;
pub mod error;
pub mod extract;
pub mod forwarded;
pub mod freshness;
pub mod list;
pub mod live;
mod masking;
pub mod page;
pub mod pages;
pub mod request;
pub mod routes;
pub mod session;
pub mod show;
pub mod standing;
pub mod unpack;

pub use error::{Error, Result};
pub use forwarded::Network;
pub use routes::{api, plain, ui};
pub use standing::Standing;

use model::ids::ServerId;
use model::{Clock, Sealer};
use sqlx::PgPool;
use std::sync::Arc;

/// What pages and API need; clones share everything.
#[derive(Clone)]
pub struct State {
    pub pool: PgPool,
    pub clock: Clock,
    pub sealer: Sealer,
    /// All attempts to log in.
    pub logins: access::Logins,
    pub settings: Arc<Settings>,
    /// This server's row and name.
    pub server: ServerId,
    pub server_name: String,
    /// Hints for live pages; `Default::default()`.
    pub changes: live::Changes,
}

/// What an administrator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long sessions last.
    pub limits: access::Limits,
    /// The server is reached by https alone: cookies go over nothing else, and browsers are told so.
    pub secure_cookies: bool,
    /// Proxies whose word on where a request comes from counts.
    pub trusted_proxies: Vec<Network>,
    /// Where scan pods run (`smartstate.namespace`), for the check of a provider's permissions.
    pub scan_namespace: String,
}
