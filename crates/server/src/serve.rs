//! `tidewaiter serve`: everything wired together, from start to end.

use crate::database::Database;
use crate::jobs::{self, Jobs, stopped};
use crate::listen::{self, Certificate, Door};
use crate::roles::{self, Roles};
use crate::settings::Settings;
use crate::{database, descriptors, key, routes};
use access::Limits;
use anyhow::Context;
use inventory::Inventory;
use model::ids::ServerId;
use model::{Clock, Sealer};
use smartstate::SmartState;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long requests, jobs and scans may take to end; Postgres gets the rest of the ten seconds.
const END_WITHIN: Duration = Duration::from_secs(6);

/// How long open connections of browsers are kept then: their live pages would never end.
const HANG_UP_AFTER: Duration = Duration::from_secs(1);
/// How long connections to the database may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What every part needs.
#[derive(Clone)]
struct Parts {
    pool: PgPool,
    /// For leases, heartbeats, the queue and readiness (`database::Database`).
    upkeep: PgPool,
    clock: Clock,
    sealer: Sealer,
    settings: Arc<Settings>,
    server: ServerId,
}

/// Runs the server until SIGTERM or SIGINT, and ends within ten seconds of it.
///
/// # Errors
/// Whatever keeps it from starting, in a sentence.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let files = descriptors::raise();
    let listener = bind(&settings.server.listen).await?;
    settings.server.check_exposure(listener.local_addr()?)?;
    let certificate = match settings.server.has_tls() {
        true => Some(Certificate::load(&settings.server.tls_certificate, &settings.server.tls_key)?),
        false => None,
    };
    // From here on a signal leads through an orderly end, so that no Postgres is left behind.
    let stopping = stop_on_signal()?;
    let sealer = key::load_or_make(&settings.secrets.key_file)?;
    let mut database = database::open(&settings).await?;
    let (stop_postgres, postgres_stops) = watch::channel(false);
    let postgres = database.private.take().map(|private| tokio::spawn(private.supervise(postgres_stops)));
    let served = match database.migrate().await {
        Ok(()) => {
            let entrance = Entrance { listener, certificate, files };
            serve(entrance, &database, sealer, settings, stopping).await
        }
        Err(error) => Err(error),
    };
    let closed = async { tokio::join!(database.pool.close(), database.upkeep.close()) };
    if tokio::time::timeout(CLOSE_WITHIN, closed).await.is_err() {
        tracing::debug!("some connections to the database were still in use");
    }
    stop_postgres.send_replace(true);
    if let Some(postgres) = postgres {
        postgres.await?;
    }
    served
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{listen} is in use: another server runs there. Stop it, or choose another address: TIDEWAITER__SERVER__LISTEN=127.0.0.1:3001")
        }
        _ => anyhow::anyhow!("cannot listen on {listen}: {error} (setting server.listen)"),
    })
}

/// Where requests come in.
struct Entrance {
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    /// How many files this process may open.
    files: u64,
}

async fn serve(entrance: Entrance, database: &Database, sealer: Sealer, settings: Settings, signalled: watch::Receiver<bool>) -> anyhow::Result<()> {
    let clock = Clock::default();
    let (pool, upkeep) = (database.pool.clone(), database.upkeep.clone());
    let (server, password) = enter(&pool, &clock, &settings).await?;
    let (roles, following) = roles::follow(upkeep.clone(), server).await?;
    let parts = Parts { pool, upkeep, clock, sealer, settings: Arc::new(settings), server };
    let (stop, stopping) = watch::channel(false);
    let mut running = JoinSet::new();
    start_work(&mut running, &parts, &roles, &stopping);
    let address = entrance.listener.local_addr()?;
    let scheme = if entrance.certificate.is_some() { "https" } else { "http" };
    running.spawn(answer(entrance, &parts, roles, stopping)?);
    // What a person or a script waits for, so on standard output.
    println!("Tidewaiter is ready: {scheme}://{address}  user admin  password {}", password.as_deref().unwrap_or("as set"));
    wait_for_end(&mut running, signalled).await?;
    tracing::info!("stopping");
    stop.send_replace(true);
    let ended = tokio::time::timeout(END_WITHIN, async { while running.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("some work did not end in time and is left to the next start");
        running.shutdown().await;
    }
    following.abort();
    Ok(())
}

/// Enters this server, takes up removals of providers that were asked for, and makes the first administrator; gives the password that was made for it.
async fn enter(pool: &PgPool, clock: &Clock, settings: &Settings) -> anyhow::Result<(ServerId, Option<String>)> {
    let mut tx = pool.begin().await?;
    let server = queue::server::register(&mut tx, clock, &settings.server.name, env!("CARGO_PKG_VERSION")).await?;
    inventory::removal::resume(&mut tx).await?;
    let given = std::env::var("TIDEWAITER_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty());
    let password =
        access::create_admin_if_none(&mut tx, clock, given.as_deref()).await.context("making the first administrator (TIDEWAITER_ADMIN_PASSWORD)")?;
    tx.commit().await?;
    Ok((server, password))
}

fn start_work(running: &mut JoinSet<anyhow::Result<()>>, parts: &Parts, roles: &Roles, stop: &watch::Receiver<bool>) {
    let (settings, name) = (&parts.settings, &parts.settings.server.name);
    let inventory = Inventory {
        pool: parts.pool.clone(),
        clock: parts.clock.clone(),
        sealer: parts.sealer.clone(),
        settings: inventory::Settings {
            page_size: settings.inventory.page_size,
            refresh_interval_secs: settings.inventory.refresh_interval_secs,
            objects_max: settings.inventory.objects_max,
            refresh_limit_secs: settings.inventory.refresh_limit_secs,
            scan_namespace: settings.smartstate.namespace.clone(),
        },
        server: parts.server,
    };
    let smartstate = SmartState::new(
        parts.pool.clone(),
        parts.clock.clone(),
        parts.sealer.clone(),
        settings.smartstate.clone(),
        settings.content.clone(),
        parts.server,
        name.clone(),
    )
    .with_leases_on(parts.upkeep.clone());
    let jobs = Jobs {
        pool: parts.pool.clone(),
        upkeep: parts.upkeep.clone(),
        clock: parts.clock.clone(),
        inventory: inventory.clone(),
        smartstate: smartstate.clone(),
    };
    let (watch_stop, scan_stop, job_stop) = (stop.clone(), stop.clone(), stop.clone());
    running.spawn(async move {
        inventory::watch_all(inventory, stopped(watch_stop)).await;
        Ok(())
    });
    running.spawn(async move {
        smartstate::work(smartstate, stopped(scan_stop)).await;
        Ok(())
    });
    let (roles, name) = (roles.clone(), name.clone());
    running.spawn(async move {
        jobs::work(jobs, name, roles, job_stop).await;
        Ok(())
    });
    running.spawn(keep_alive(parts.clone(), stop.clone()));
}

/// Heartbeats, and the end of sessions that nobody uses.
async fn keep_alive(parts: Parts, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(BEAT_EVERY) => {}
            () = stopped(stop.clone()) => return Ok(()),
        }
        if let Err(error) = beat(&parts).await {
            tracing::warn!(error = format!("{error:#}"), "no heartbeat: the database does not answer");
        }
    }
}

async fn beat(parts: &Parts) -> anyhow::Result<()> {
    let mut conn = parts.upkeep.acquire().await?;
    queue::server::beat(&mut conn, &parts.clock, parts.server).await?;
    access::session::remove_expired(&mut conn, &parts.clock, limits(&parts.settings)).await?;
    Ok(())
}

fn limits(settings: &Settings) -> Limits {
    Limits { idle_mins: settings.access.session_idle_mins, max_hours: settings.access.session_max_hours }
}

fn answer(entrance: Entrance, parts: &Parts, roles: Roles, stop: watch::Receiver<bool>) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
    let settings = web::Settings {
        limits: limits(&parts.settings),
        secure_cookies: parts.settings.server.is_https(),
        trusted_proxies: parts.settings.server.trusted_proxies.clone(),
        scan_namespace: parts.settings.smartstate.namespace.clone(),
    };
    let state = web::State {
        pool: parts.pool.clone(),
        clock: parts.clock.clone(),
        sealer: parts.sealer.clone(),
        logins: access::Logins::new(parts.pool.clone(), parts.clock.clone(), parts.sealer.clone()),
        settings: Arc::new(settings),
        server: parts.server,
        server_name: parts.settings.server.name.clone(),
        changes: Default::default(),
    };
    let server = &parts.settings.server;
    let door = Door {
        router: routes::router(state, parts.upkeep.clone(), roles),
        limits: listen::Limits {
            all: descriptors::connections(server.max_connections, entrance.files),
            per_address: server.max_connections_per_address,
            grace: listen::GRACE,
        },
        trusted_proxies: server.trusted_proxies.clone(),
        tls: entrance.certificate.as_ref().map(Certificate::config).transpose()?,
    };
    Ok(async move {
        let hang_up = stop.clone();
        tokio::select! {
            () = listen::answer(entrance.listener, door, stop) => {}
            () = follow(entrance.certificate) => {}
            () = async { stopped(hang_up).await; tokio::time::sleep(HANG_UP_AFTER).await } => {}
        }
        Ok(())
    })
}

/// Takes up new certificates; never ends.
async fn follow(certificate: Option<Arc<Certificate>>) {
    match certificate {
        Some(certificate) => certificate.follow().await,
        None => std::future::pending().await,
    }
}

/// Becomes true with SIGTERM or SIGINT. A second one ends the process at once.
fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        for code in [None, Some(130)] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if let Some(code) = code {
                std::process::exit(code);
            }
            stop.send_replace(true);
        }
    });
    Ok(stopping)
}

/// Ends with a signal; an error when a part of the server ended by itself.
async fn wait_for_end(running: &mut JoinSet<anyhow::Result<()>>, signalled: watch::Receiver<bool>) -> anyhow::Result<()> {
    tokio::select! {
        () = stopped(signalled) => Ok(()),
        Some(ended) = running.join_next() => match ended {
            Ok(Ok(())) => anyhow::bail!("a part of the server ended by itself"),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(anyhow::Error::new(error).context("a part of the server stopped unexpectedly")),
        },
    }
}
