//! Calls of the API that were proven right a moment ago: a script calls all the time, and each comparison costs a core 20 ms.

use super::LoginError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since its last use, and in all.
const IDLE: Duration = Duration::from_secs(300);
const LIFE: Duration = Duration::from_secs(3600);
const REMEMBERED_AT_MOST: usize = 1000;

/// Of userid, stored hash and password, with a word that only this process knows. With a new password it is another.
pub(super) type Key = [u8; 32];

/// What came of an attempt, for all who wait for it.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    Right,
    Wrong,
    Throttled(i64),
    Busy,
    Broken(Arc<anyhow::Error>),
}

impl From<Result<(), LoginError>> for Verdict {
    fn from(result: Result<(), LoginError>) -> Self {
        match result {
            Ok(()) => Self::Right,
            Err(LoginError::Throttled { retry_after_secs }) => Self::Throttled(retry_after_secs),
            Err(LoginError::Busy) => Self::Busy,
            Err(LoginError::Wrong | LoginError::MustChange) => Self::Wrong,
            Err(LoginError::Internal(error)) => Self::Broken(Arc::new(error)),
        }
    }
}

impl Verdict {
    pub(super) fn into_result(self) -> Result<(), LoginError> {
        match self {
            Self::Right => Ok(()),
            Self::Wrong => Err(LoginError::Wrong),
            Self::Throttled(retry_after_secs) => Err(LoginError::Throttled { retry_after_secs }),
            Self::Busy => Err(LoginError::Busy),
            Self::Broken(error) => Err(LoginError::Internal(anyhow::anyhow!("{error:#}"))),
        }
    }
}

#[derive(Default)]
struct Inside {
    right: HashMap<Key, (Instant, Instant)>,
    running: HashMap<Key, Shared<BoxFuture<'static, Verdict>>>,
}

#[derive(Clone)]
pub(super) struct Proven {
    word: [u8; 32],
    inside: Arc<Mutex<Inside>>,
}

impl Proven {
    pub(super) fn new() -> Self {
        let mut word = [0; 32];
        rand::rng().fill_bytes(&mut word);
        Self { word, inside: Arc::default() }
    }

    pub(super) fn key(&self, userid: &str, stored_hash: &str, password: &str) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.word);
        for text in [userid, stored_hash, password] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// Whether it was right not long ago.
    pub(super) fn has(&self, key: &Key) -> bool {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((first, last)) = inside.right.get_mut(key) else { return false };
        if first.elapsed() > LIFE || last.elapsed() > IDLE {
            inside.right.remove(key);
            return false;
        }
        *last = Instant::now();
        true
    }

    /// Makes the attempt, or waits for the same one that is being made: a script's first twenty calls at once are one attempt.
    pub(super) async fn once(&self, key: Key, attempt: impl Future<Output = Result<(), LoginError>> + Send + 'static) -> Result<(), LoginError> {
        let shared = {
            let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
            inside.running.entry(key).or_insert_with(|| self.clone().start(key, attempt)).clone()
        };
        shared.await.into_result()
    }

    /// In a task of its own, so that it ends though the caller hangs up.
    fn start(self, key: Key, attempt: impl Future<Output = Result<(), LoginError>> + Send + 'static) -> Shared<BoxFuture<'static, Verdict>> {
        let task = tokio::spawn(async move {
            let verdict = Verdict::from(attempt.await);
            self.end(key, matches!(verdict, Verdict::Right));
            verdict
        });
        async move { task.await.unwrap_or_else(|error| Verdict::Broken(Arc::new(error.into()))) }.boxed().shared()
    }

    fn end(&self, key: Key, right: bool) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.running.remove(&key);
        if right {
            if inside.right.len() >= REMEMBERED_AT_MOST {
                inside.right.retain(|_, (first, last)| first.elapsed() <= LIFE && last.elapsed() <= IDLE);
            }
            if inside.right.len() < REMEMBERED_AT_MOST {
                inside.right.insert(key, (Instant::now(), Instant::now()));
            }
        }
    }
}
