//! Hints that tables changed: one connection listens to Postgres, every open page gets at most one hint a second.

use crate::State;
use axum::extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

/// At most one hint in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Before listening is tried again after Postgres went away.
const RETRY: Duration = Duration::from_secs(2);
/// Browsers connect again by themselves; so a server that stops need not wait longer for its open pages.
const LIFE: Duration = Duration::from_secs(600);

/// Hints for all open pages of this server. Clones share one connection, made when the first page asks.
#[derive(Debug, Clone)]
pub struct Changes {
    sender: broadcast::Sender<Arc<str>>,
    listening: Arc<AtomicBool>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { sender: broadcast::channel(16).0, listening: Arc::default() }
    }
}

impl Changes {
    fn subscribe(&self, pool: &PgPool) -> broadcast::Receiver<Arc<str>> {
        let receiver = self.sender.subscribe();
        if !self.listening.swap(true, Ordering::AcqRel) {
            tokio::spawn(listen(pool.clone(), self.clone()));
        }
        receiver
    }
}

/// Listens until no page is open; comes back when Postgres does.
async fn listen(pool: PgPool, changes: Changes) {
    while changes.sender.receiver_count() > 0 {
        if let Err(error) = forward(&pool, &changes.sender).await {
            tracing::warn!(%error, "listening for changes failed; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
    changes.listening.store(false, Ordering::Release);
}

async fn forward(pool: &PgPool, sender: &broadcast::Sender<Arc<str>>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(model::database::CHANGES).await?;
    // What happened while nobody listened is unknown: every page looks again.
    let _ = sender.send("tasks scans inspections providers pods container_images server_roles".into());
    while sender.receiver_count() > 0 {
        let Ok(first) = tokio::time::timeout(RETRY, listener.recv()).await else { continue };
        let mut tables = BTreeSet::from([first?.payload().to_owned()]);
        let until = Instant::now() + PAUSE;
        let _ = sender.send(join(&tables));
        tables.clear();
        while let Ok(more) = timeout_at(until, listener.recv()).await {
            tables.insert(more?.payload().to_owned());
        }
        if !tables.is_empty() {
            let _ = sender.send(join(&tables));
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn join(tables: &BTreeSet<String>) -> Arc<str> {
    tables.iter().map(String::as_str).collect::<Vec<_>>().join(" ").into()
}

/// `GET /events`: events named `changed` whose data are table names, separated by blanks.
pub async fn events(extract::State(state): extract::State<State>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let hints = BroadcastStream::new(state.changes.subscribe(&state.pool));
    let stream = hints.filter_map(Result::ok).map(|tables| Ok(Event::default().event("changed").data(&*tables)));
    let end = Instant::now() + LIFE;
    let stream = futures::StreamExt::take_until(stream, tokio::time::sleep_until(end));
    Sse::new(stream).keep_alive(KeepAlive::default())
}
