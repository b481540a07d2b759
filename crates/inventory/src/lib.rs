#![doc = include_str!("../README.md")]

mod ask;
mod bounded;
mod client;
pub mod connection;
pub mod failure;
pub mod findings;
mod kubeconfig;
mod openshift;
mod parse;
pub mod pause;
mod permissions;
mod positions;
pub mod provider;
mod read;
pub mod reference;
mod refresh;
pub mod removal;
mod room;
mod rows;
mod save;
mod shape;
mod status;
mod supervisor;
mod validate;
mod versions;
mod watch;

pub use bounded::BodyLimit;
pub use client::client;
pub use connection::{Auth, Connection, Kind};
pub use failure::{ConnectError, Reason};
pub use refresh::refresh;
pub use supervisor::watch_all;
pub use validate::{Validated, validate, validate_stored};
pub use versions::Versions;

use model::ids::ServerId;
use model::{Clock, Sealer};
use sqlx::PgPool;

/// What refreshing and watching need.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// Tidewaiter's database.
    pub pool: PgPool,
    /// Where timestamps come from.
    pub clock: Clock,
    /// Opens the stored credentials.
    pub sealer: Sealer,
    /// Section `[inventory]` of the settings.
    pub settings: Settings,
    /// The server this runs on; its role `ems_inventory` decides whether it watches.
    pub server: ServerId,
}

/// Section `[inventory]` of the settings, and the namespace of `[smartstate]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many objects to ask of the API server at once.
    pub page_size: u32,
    /// After how many seconds a watched provider is read again in full.
    pub refresh_interval_secs: u64,
    /// Most objects of one kind that a provider may have.
    pub objects_max: usize,
    /// How long a refresh may take.
    pub refresh_limit_secs: u64,
    /// The namespace of Tidewaiter's own scan pods, which are no part of the inventory.
    pub scan_namespace: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page_size: 500, refresh_interval_secs: 86_400, objects_max: 300_000, refresh_limit_secs: 1_800, scan_namespace: "tidewaiter".into() }
    }
}
