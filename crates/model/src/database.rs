//! The pool and the schema.

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::time::Duration;

/// All of Tidewaiter's migrations, up and down.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// The channel on which triggers announce the names of changed tables.
pub const CHANGES: &str = "tidewaiter_changed";

/// A pool of at most `max_connections` on `url`, with a first connection tried.
///
/// # Errors
/// The address is not a Postgres address, or nobody answers there within ten seconds; the message names neither user nor password.
pub async fn connect(url: &str, max_connections: u32) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url.parse().context("the database address is not of the form postgres://user:password@host:port/name")?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options.application_name("tidewaiter"))
        .await
        .with_context(|| format!("connecting to Postgres at {place}"))
}
