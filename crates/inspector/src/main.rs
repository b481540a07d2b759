//! The program inside a scan pod.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use inspector::handover::Part;
use inspector::platform::Platform;
use inspector::pull::pull;
use inspector::reference::Reference;
use inspector::registry::Access;
use inspector::serve::{Ended, serve};
use inspector::settings::{RETRY_FOR, Settings};
use inspector::unpack::Limits;
use scap::protocol::{PORT, env};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);

#[derive(Parser)]
#[command(name = "tidewaiter-inspector", version, about = "Looks into one container image for Tidewaiter.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Pull and inspect the image of the environment and serve the result (the default).
    Serve {
        #[arg(long, default_value_t = ANY)]
        listen: SocketAddr,
    },
    /// Pull and unpack the image of the environment, leave it in the work folder, and end; tells meanwhile how far it is.
    PullImage {
        #[arg(long, default_value_t = ANY)]
        listen: SocketAddr,
    },
    /// Inspect the image that `pull-image` left in the work folder and serve the result.
    Inspect {
        #[arg(long, default_value_t = ANY)]
        listen: SocketAddr,
    },
    /// Pull and unpack an image, then print the times as JSON.
    Pull {
        /// registry/name@sha256:…
        image: String,
        /// An empty or new folder; gets `root` and `state`.
        #[arg(long)]
        into: PathBuf,
        /// host:port of a registry spoken to without TLS.
        #[arg(long)]
        plain_http: Vec<String>,
        /// Folder whose subfolders hold Docker configuration files.
        #[arg(long, default_value = "/auth")]
        auth: PathBuf,
        /// PEM file of additional roots.
        #[arg(long)]
        registry_ca: Option<PathBuf>,
        /// os/architecture of the wanted variant; this machine's when none is given.
        #[arg(long, value_parser = |text: &str| Platform::parse(text).ok_or("it is no os/architecture"))]
        platform: Option<Platform>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let (listen, part) = match Arguments::parse().command.unwrap_or(Command::Serve { listen: ANY }) {
        Command::Serve { listen } => (listen, Part::Whole),
        Command::PullImage { listen } => (listen, Part::Pull),
        Command::Inspect { listen } => (listen, Part::Inspect),
        Command::Pull { image, into, plain_http, auth, registry_ca, platform } => {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            let access = Access { plain_http, ca_file: registry_ca, auth_dir: auth, platform, retry_for: RETRY_FOR };
            return print_pull(&image, &access, &into).await;
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).init();
    run(listen, part).await
}

async fn run(listen: SocketAddr, part: Part) -> anyhow::Result<()> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    let ended = serve(listener, settings, part, shutdown).await?;
    tracing::info!(?ended, "the end");
    // Unpacking cannot be interrupted; nothing of it is needed any more. A pull that was broken off left nothing to go on from.
    std::process::exit(i32::from(part == Part::Pull && ended != Ended::Finished))
}

async fn print_pull(image: &str, access: &Access, into: &std::path::Path) -> anyhow::Result<()> {
    let reference = Reference::parse(image).map_err(anyhow::Error::msg)?;
    let limits = match std::env::var(env::MAX_UNPACKED_BYTES) {
        Ok(bytes) => Limits { unpacked_bytes: bytes.parse().context(env::MAX_UNPACKED_BYTES)?, ..Limits::default() },
        Err(_) => Limits::default(),
    };
    let begun = Instant::now();
    let unpacked = match pull(&reference, access, limits, into, |_| {}).await {
        Ok(unpacked) => unpacked,
        Err(failure) => {
            eprintln!("{:?}: {}", failure.code, failure.message);
            std::process::exit(1);
        }
    };
    let printed = serde_json::json!({
        "total_ms": u64::try_from(begun.elapsed().as_millis())?,
        "pull_ms": unpacked.pull_ms,
        "unpack_ms": unpacked.unpack_ms,
        "compressed_bytes": unpacked.compressed_bytes,
        "unpacked_bytes": unpacked.unpacked_bytes,
        "entries": unpacked.entries,
        "inodes": unpacked.inodes,
        "manifest_digest": unpacked.manifest_digest,
        "warnings": unpacked.warnings,
    });
    println!("{printed:#}");
    Ok(())
}
