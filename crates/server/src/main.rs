#![doc = include_str!("../README.md")]

mod cli;
mod commands;
mod database;
mod descriptors;
mod jobs;
mod key;
mod listen;
mod postgres;
mod roles;
mod routes;
mod serve;
mod settings;

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise. kube_client warns with whole answers that it does not understand, secrets included.
const LOG: &str = "info,sqlx=warn,apalis=warn,apalis_core=warn,apalis_postgres=warn,kube=warn,kube_client=error,hyper=warn,rustls=warn";

/// Gives back to the system what is no longer needed; the C library's keeps it, for each thread that ever needed it (docs/adr/0009).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).init();
    // Several dependencies bring several of these; TLS refuses to work until one is chosen.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a cryptography provider was chosen before");
    }
    match commands::run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewaiter: {error:#}");
            ExitCode::FAILURE
        }
    }
}
