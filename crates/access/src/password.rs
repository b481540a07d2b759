//! Passwords as argon2id hashes.

use anyhow::{Context, anyhow, bail};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use rand::Rng;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread::available_parallelism;
use subtle::ConstantTimeEq as _;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// Fewer characters are refused.
pub const LENGTH_MIN: usize = 8;
/// More bytes are refused: hashing them would cost without gain.
pub const LENGTH_MAX: usize = 1024;

/// Source: OWASP Password Storage Cheat Sheet, argon2id with m = 19 MiB, t = 2, p = 1.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("these are within argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// So many hashes at a time take 76 MiB.
const CORES_MAX: usize = 4;

/// A hash of a password that nobody has, to spend the same time on unknown users.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_now(&random()).unwrap_or_default());

/// As many hashes are made at a time in this process as the machine has cores: each takes 19 MiB and a core.
static AT_A_TIME: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// The threads that make them, always the same: what was allocated for a hash stays with its thread, and on changing threads that would be hundreds of MiB.
static HASHERS: LazyLock<mpsc::Sender<Work>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Work>();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..cores() {
        let receiver = receiver.clone();
        std::thread::spawn(move || {
            while let Some(work) = next(&receiver) {
                // The caller sees that no answer came.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        });
    }
    sender
});

type Work = Box<dyn FnOnce() + Send>;

fn next(receiver: &Mutex<mpsc::Receiver<Work>>) -> Option<Work> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Not all of many: what a hash works in stays with its thread.
fn cores() -> usize {
    available_parallelism().map_or(2, usize::from).min(CORES_MAX)
}

/// The right to hash one password.
pub(crate) type Turn = SemaphorePermit<'static>;

/// Where turns are waited for.
pub(crate) fn turns() -> &'static Semaphore {
    &AT_A_TIME
}

/// Does `work` off the async threads.
async fn in_turn<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (answer, answered) = oneshot::channel();
    let work = Box::new(move || {
        // Kept to the end of the work, which goes on though the caller hangs up.
        let _turn = turn;
        let _ = answer.send(work());
    });
    HASHERS.send(work).map_err(|_| anyhow!("no thread hashes passwords any more"))?;
    answered.await.context("hashing a password")
}

/// Whether somebody may choose `password`; why not, as a sentence.
///
/// # Errors
/// Too short or too long.
pub fn check(password: &str) -> Result<(), String> {
    if password.chars().count() < LENGTH_MIN {
        return Err(format!("A password needs at least {LENGTH_MIN} characters."));
    }
    if password.len() > LENGTH_MAX {
        return Err(format!("A password may have at most {LENGTH_MAX} bytes."));
    }
    Ok(())
}

/// The PHC string of `password`. Takes about 20 ms, off the async threads.
///
/// # Errors
/// Too short or too long; the message says so.
pub async fn hash(password: &str) -> anyhow::Result<String> {
    if let Err(sentence) = check(password) {
        bail!(sentence);
    }
    let password = password.to_owned();
    let turn = AT_A_TIME.acquire().await.context("waiting to hash a password")?;
    in_turn(turn, move || hash_now(&password)).await?
}

fn hash_now(password: &str) -> anyhow::Result<String> {
    let hash: PasswordHash = argon2().hash_password(password.as_bytes()).map_err(|error| anyhow!("hashing a password: {error}"))?;
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `hash`; without a hash it takes as long and says no.
///
/// # Errors
/// Only when the machine cannot start the work.
pub(crate) async fn verify(turn: Turn, hash: Option<String>, password: &str) -> anyhow::Result<bool> {
    if password.len() > LENGTH_MAX {
        return Ok(false);
    }
    let password = password.to_owned();
    in_turn(turn, move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let right = matches(&hash, password.as_bytes()).unwrap_or(false);
        known && right
    })
    .await
}

thread_local! {
    /// What a comparison works in, kept by its thread: taken anew for each, the heap would be left in pieces of hundreds of MiB.
    static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Whether `hash`, one of ours, is that of `password`; `None`: it is none of ours.
fn matches(hash: &str, password: &[u8]) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    let params = Params::try_from(&hash).ok()?;
    if hash.algorithm != Algorithm::Argon2id.ident() {
        return None;
    }
    let mut found = vec![0; expected.len()];
    BLOCKS.with_borrow_mut(|blocks| {
        blocks.resize_with(params.block_count(), Block::new);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(password, &salt, &mut found, blocks).ok()
    })?;
    Some(bool::from(found.ct_eq(expected.as_bytes())))
}

/// 20 characters without those that look alike: about 115 bits.
pub fn random() -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut rng = rand::rng();
    (0..20).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

/// Holds every turn, for tests that want to see what happens meanwhile.
#[cfg(test)]
pub(crate) async fn take_all_turns() -> tokio::sync::SemaphorePermit<'static> {
    AT_A_TIME.acquire_many(u32::try_from(cores()).unwrap()).await.unwrap()
}
