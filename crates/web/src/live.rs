//! Hints that tables changed: one connection listens to Postgres, every open page gets at most one hint a second.

use crate::State;
use crate::error::Error;
use crate::session::Visit;
use axum::extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::ids::UserId;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout_at};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

/// At most one hint in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// Before listening is tried again after Postgres went away.
const RETRY: Duration = Duration::from_secs(2);
/// From when a page's rows are read until it asks for hints. What changed in this time it hears of at once.
const LOADING: Duration = Duration::from_secs(10);
/// Browsers connect again by themselves; so a server that stops need not wait longer for its open pages.
const LIFE: Duration = Duration::from_secs(600);
/// The end of a session is heard of at once; one that lapses, or that no notification told of, is found by this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The table whose rows are the sessions; it announces those that end.
const SESSIONS: &str = "sessions";
/// Open pages of one person on this server: the others shall have connections too.
const STREAMS_PER_USER: usize = 128;

/// Hints with the time when they were sent.
type Recent = VecDeque<(Instant, Arc<str>)>;

/// Hints for all open pages of this server. Clones share one connection, made when the first page asks.
#[derive(Debug, Clone)]
pub struct Changes {
    sender: broadcast::Sender<Arc<str>>,
    /// What was sent within [`LOADING`], oldest first.
    recent: Arc<Mutex<Recent>>,
    listening: Arc<AtomicBool>,
    open: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// One of a person's open pages; given back when it is dropped.
struct Place {
    open: Arc<Mutex<HashMap<UserId, usize>>>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let left = open.get(&self.user).map_or(0, |count| count - 1);
        if left == 0 {
            open.remove(&self.user)
        } else {
            open.insert(self.user, left)
        };
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self { sender: broadcast::channel(16).0, recent: Arc::default(), listening: Arc::default(), open: Arc::default() }
    }
}

impl Changes {
    /// `None` when `user` has too many pages open.
    fn enter(&self, user: UserId) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user).or_default();
        if *count >= STREAMS_PER_USER {
            return None;
        }
        *count += 1;
        Some(Place { open: self.open.clone(), user })
    }

    /// Hints from now on, and what changed while the page was on its way.
    fn subscribe(&self, pool: &PgPool) -> (broadcast::Receiver<Arc<str>>, Option<Arc<str>>) {
        // The hints first: what is sent between the two is heard twice, and never not at all.
        let receiver = self.sender.subscribe();
        let missed = self.recent().iter().flat_map(|(_, tables)| tables.split(' ').map(str::to_owned)).collect::<BTreeSet<_>>();
        if !self.listening.swap(true, Ordering::AcqRel) {
            tokio::spawn(listen(pool.clone(), self.clone()));
        }
        (receiver, (!missed.is_empty()).then(|| join(&missed)))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|(sent, _)| sent.elapsed() > LOADING) {
            recent.pop_front();
        }
        recent
    }

    fn send(&self, tables: Arc<str>) {
        self.recent().push_back((Instant::now(), tables.clone()));
        let _ = self.sender.send(tables);
    }

    /// Whether nobody listens any more; a page that has come meanwhile keeps the listener.
    fn stops_listening(&self) -> bool {
        if self.sender.receiver_count() > 0 {
            return false;
        }
        self.listening.store(false, Ordering::Release);
        // Who subscribed before that was stored has started no other listener.
        self.sender.receiver_count() == 0 || self.listening.swap(true, Ordering::AcqRel)
    }
}

/// Listens until no page is open; comes back when Postgres does.
async fn listen(pool: PgPool, changes: Changes) {
    while !changes.stops_listening() {
        if let Err(error) = forward(&pool, &changes).await {
            tracing::warn!(%error, "listening for changes failed; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn forward(pool: &PgPool, changes: &Changes) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(model::database::CHANGES).await?;
    // What happened while nobody listened is unknown: every page looks again.
    changes.send("tasks scans inspections providers pods container_images server_roles".into());
    while changes.sender.receiver_count() > 0 {
        let Ok(first) = tokio::time::timeout(RETRY, listener.recv()).await else { continue };
        let mut tables = BTreeSet::from([first?.payload().to_owned()]);
        let until = Instant::now() + PAUSE;
        changes.send(join(&tables));
        tables.clear();
        while let Ok(more) = timeout_at(until, listener.recv()).await {
            tables.insert(more?.payload().to_owned());
        }
        if !tables.is_empty() {
            changes.send(join(&tables));
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

fn join(tables: &BTreeSet<String>) -> Arc<str> {
    tables.iter().map(String::as_str).collect::<Vec<_>>().join(" ").into()
}

/// An open page's own.
struct Stream {
    /// What it tells before all hints.
    missed: Option<Arc<str>>,
    hints: BroadcastStream<Arc<str>>,
    state: State,
    token: String,
    look_again: Interval,
    end: Instant,
    _place: Place,
}

impl Stream {
    /// The next hint; `None` ends the stream: with its session, and after [`LIFE`].
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if let Some(tables) = self.missed.take() {
            return Some((Ok(Event::default().event("changed").data(&*tables)), self));
        }
        loop {
            let hint = tokio::select! {
                hint = self.hints.next() => Some(hint?),
                _ = self.look_again.tick() => None,
                () = tokio::time::sleep_until(self.end) => return None,
            };
            let looks = match &hint {
                None => true,
                // Hints were missed: among them perhaps this.
                Some(Err(_)) => true,
                Some(Ok(tables)) => tables.split(' ').any(|table| table == SESSIONS),
            };
            if looks && !self.session_is_there().await {
                return None;
            }
            if let Some(Ok(tables)) = hint {
                return Some((Ok(Event::default().event("changed").data(&*tables)), self));
            }
        }
    }

    /// While the database does not answer, nobody knows.
    async fn session_is_there(&self) -> bool {
        let found = async {
            let mut conn = self.state.pool.acquire().await?;
            access::session::find_unused(&mut conn, &self.state.clock, &self.token, self.state.settings.limits).await
        };
        found.await.is_ok_and(|session| session.is_some())
    }
}

/// `GET /events`: events named `changed` whose data are table names, separated by blanks. The stream ends with the session.
pub async fn events(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response, Error> {
    let Some(place) = state.changes.enter(visit.user.id) else {
        let text = format!("You have {STREAMS_PER_USER} live pages open. This one updates when it is loaded again.");
        return Ok((StatusCode::TOO_MANY_REQUESTS, text).into_response());
    };
    let mut look_again = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
    look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (hints, missed) = state.changes.subscribe(&state.pool);
    let hints = BroadcastStream::new(hints);
    let stream = Stream { missed, hints, token: visit.token().to_owned(), look_again, end: Instant::now() + LIFE, _place: place, state };
    // It was there before the hints were subscribed to; had it ended in between, none would say so.
    if !stream.session_is_there().await {
        return Ok((StatusCode::UNAUTHORIZED, "Log in again.").into_response());
    }
    Ok(Sse::new(futures::stream::unfold(stream, Stream::next)).keep_alive(KeepAlive::default()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_while_the_listener_ends_is_listened_for() {
        let changes = Changes::default();
        changes.listening.store(true, Ordering::Release);
        let receiver = changes.sender.subscribe();
        assert!(!changes.stops_listening(), "a page is open");
        drop(receiver);
        assert!(changes.stops_listening());
        assert!(!changes.listening.load(Ordering::Acquire), "the next page starts another listener");
    }

    #[tokio::test]
    async fn what_was_sent_is_told_to_new_pages_for_ten_seconds() {
        let changes = Changes::default();
        changes.listening.store(true, Ordering::Release);
        let pool = PgPool::connect_lazy("postgres://nowhere").unwrap();
        assert_eq!(changes.subscribe(&pool).1, None);
        changes.send("pods tasks".into());
        changes.send("pods".into());
        assert_eq!(changes.subscribe(&pool).1.as_deref(), Some("pods tasks"));
        for (sent, _) in changes.recent.lock().unwrap().iter_mut() {
            *sent -= LOADING + Duration::from_secs(1);
        }
        assert_eq!(changes.subscribe(&pool).1, None);
    }
}
