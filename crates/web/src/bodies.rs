//! Large bodies share the server's memory: a few are read at a time, and the others wait. Who is not logged in has no turn.

use crate::session::FORM_BYTES;
use axum::body::HttpBody as _;
use axum::extract::Request;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A body up to this size waits for nobody. Forms are smaller, but for uploads and long selections.
const SMALL_BYTES: u64 = 32 << 10;
/// How many larger ones there are at a time, with what is made of them.
const LARGE_MAX: usize = 4;
const WAIT: Duration = Duration::from_secs(20);
/// What is said to a request whose turn does not come.
pub(crate) const BUSY: &str = "Too many large requests are being read at the moment.";

static LARGE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(LARGE_MAX));

/// Waits for the turn of a request with a large body, or with one of a size that is not told; others need none.
///
/// # Errors
/// It did not come within [`WAIT`].
pub(crate) fn turn(request: &Request) -> impl Future<Output = Result<Option<SemaphorePermit<'static>>, Busy>> + use<> {
    let size = request.body().size_hint().exact().unwrap_or(FORM_BYTES as u64);
    async move { if size <= SMALL_BYTES { Ok(None) } else { large().await.map(Some) } }
}

async fn large() -> Result<SemaphorePermit<'static>, Busy> {
    match timeout(WAIT, LARGE.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Busy),
    }
}

/// The turn did not come.
#[derive(Debug)]
pub(crate) struct Busy;
