#![doc = include_str!("../README.md")]

pub mod reason;
pub mod settings;

mod admission;
mod bounded;
mod choice;
mod closing;
mod content;
mod deadline;
mod feed;
#[cfg(fuzzing)]
pub mod fuzzing;
mod launch;
mod lease;
mod packages;
mod packed;
mod platform;
mod pod;
mod proxy;
mod pull_secrets;
mod reaper;
mod reference;
mod report;
mod request;
mod save;
mod scan;
mod sharing;
mod surroundings;
mod trouble;
mod vigil;
mod words;
mod work;

pub use closing::end_scans;
pub use request::{Accepted, Requested, request, retry};
pub use settings::{ContentSettings, Feed, Settings};
pub use sharing::{Shared, share_results};
pub use work::{run, work};

use feed::Feeds;
use model::ids::{ScanId, ServerId};
use model::{Clock, Sealer};
use sqlx::PgPool;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// What analyses need; clones share everything.
#[derive(Clone)]
pub struct SmartState {
    pub(crate) pool: PgPool,
    /// For leases alone, which must be renewed however busy the others are.
    pub(crate) leases: PgPool,
    pub(crate) clock: Clock,
    pub(crate) sealer: Sealer,
    pub(crate) settings: Arc<Settings>,
    pub(crate) feeds: Arc<Feeds>,
    /// This server, whose roles decide whether it drives scans.
    pub(crate) server: ServerId,
    /// Its name, for tasks.
    pub(crate) server_name: Arc<str>,
    /// Who holds leases: the server's name and this process's own random word.
    pub(crate) owner: Arc<str>,
    /// Room for what scan pods send, in MiB: answers are read when there is room for them.
    pub(crate) room: Arc<Semaphore>,
    /// One document of vulnerability definitions is made at a time.
    pub(crate) choosing: Arc<Semaphore>,
    /// Held by the one scan that is driven although it may be what stops servers.
    pub(crate) alone: Arc<Semaphore>,
    /// The scans that this process drives now.
    pub(crate) running: Arc<Mutex<HashSet<ScanId>>>,
    /// Where this process has made network policies, or could not.
    pub(crate) policies: Arc<surroundings::Policies>,
    /// Ends what this process drives, at shutdown.
    pub(crate) stop: tokio_util::sync::CancellationToken,
    /// Wakes the loop of [`work`].
    pub(crate) wake: Arc<tokio::sync::Notify>,
}

impl SmartState {
    /// `server` and `server_name`: the row of `servers` that this process registered.
    pub fn new(pool: PgPool, clock: Clock, sealer: Sealer, settings: Settings, content: ContentSettings, server: ServerId, server_name: String) -> Self {
        let word: u32 = rand::random();
        Self {
            leases: pool.clone(),
            pool,
            clock,
            sealer,
            settings: Arc::new(settings),
            feeds: Arc::new(Feeds::new(content)),
            server,
            owner: format!("{server_name}/{word:08x}").into(),
            server_name: server_name.into(),
            room: Arc::new(Semaphore::new(scan::ROOM_MIB)),
            choosing: Arc::new(Semaphore::new(1)),
            alone: Arc::new(Semaphore::new(1)),
            running: Arc::default(),
            policies: Arc::default(),
            stop: tokio_util::sync::CancellationToken::new(),
            wake: Arc::default(),
        }
    }

    /// Renews leases on connections of their own.
    #[must_use]
    pub fn with_leases_on(self, leases: PgPool) -> Self {
        Self { leases, ..self }
    }
}
