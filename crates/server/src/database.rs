//! The database of this process: a given one, or the private Postgres.

use crate::postgres::{self, Private};
use crate::settings::Settings;
use anyhow::Context;
use sqlx::PgPool;

/// Five of them listen all the time.
const UPKEEP_CONNECTIONS: u32 = 10;

/// Pools, and the private Postgres behind it when there is one.
pub struct Database {
    pub pool: PgPool,
    /// A few connections of their own for what must not wait for the work: leases, heartbeats, the queue, readiness.
    pub upkeep: PgPool,
    pub private: Option<Private>,
}

/// Connects, and starts the private Postgres when no address is set.
///
/// # Errors
/// Nobody answers at the address, or no Postgres is installed; the message says what to do.
pub async fn open(settings: &Settings) -> anyhow::Result<Database> {
    let (url, private) = if settings.database.url.is_empty() {
        let private = postgres::start(&settings.database.private_dir).await.context("starting the private Postgres (no DATABASE_URL is set)")?;
        (private.url(), Some(private))
    } else {
        (settings.database.url.clone(), None)
    };
    let pool = model::database::connect(&url, settings.database.max_connections).await?;
    let upkeep = model::database::connect(&url, UPKEEP_CONNECTIONS).await?;
    Ok(Database { pool, upkeep, private })
}

impl Database {
    /// Brings all tables up to date; several servers may try at once, one does it.
    ///
    /// # Errors
    /// The database refuses, or is newer than this program.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        queue::setup(&self.pool).await?;
        model::MIGRATOR.run(&self.pool).await.context("bringing the database up to date")
    }

    /// Closes the pool, and stops the private Postgres if this process started it.
    pub async fn close(self) {
        self.pool.close().await;
        self.upkeep.close().await;
        if let Some(private) = self.private {
            private.stop_if_started().await;
        }
    }
}
