//! Memory that the answers of all providers share: many that send much at the same time wait for each other, and cannot fill the server together.

use std::sync::{Arc, LazyLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all pages of lists may take together, in MiB.
const PAGES_MIB: u32 = 96;
/// What a page of a list takes at most while it is read: its text, and what becomes of it.
const PAGE_MIB: u32 = 48;
/// How much memory one JSON value of a page takes once it is read, in bytes. Most are not kept, some take more.
const NODE_BYTES: usize = 100;
/// How often a text of a page is there while it is saved: as it was read, as a row, and on its way to the database.
const COPIES: usize = 4;
/// How many single objects are read at the same time, see [`crate::bounded::Limits::ONE`].
const OBJECTS: usize = 4;
/// How many watches may be within a long line at the same time, see [`crate::bounded`].
const LONG_LINES: usize = 2;

/// What changes of all providers that are not saved yet may weigh, in KiB.
const CHANGES_KIB: usize = 32 << 10;

static PAGES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(PAGES_MIB as usize)));
/// A page takes most while it is read: one at a time is.
static READING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));
static CHANGES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(CHANGES_KIB)));
static SINGLE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(OBJECTS)));
static LINES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LONG_LINES)));

/// A page's part of the memory; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Option<OwnedSemaphorePermit>,
    /// Until the page is read.
    turn: Option<OwnedSemaphorePermit>,
}

/// Waits until there is room for a page.
pub(crate) async fn page() -> Share {
    // The semaphore is never closed.
    let room = PAGES.clone().acquire_many_owned(PAGE_MIB).await.ok();
    Share { room, turn: READING.clone().acquire_owned().await.ok() }
}

impl Share {
    /// Ends the turn, and gives back what a page that came as `bytes` with `nodes` values does not need.
    pub(crate) fn keep(&mut self, bytes: usize, nodes: usize) {
        let needed = (bytes.saturating_mul(COPIES).saturating_add(nodes.saturating_mul(NODE_BYTES)) >> 20) + 1;
        let spare = (PAGE_MIB as usize).saturating_sub(needed);
        drop(self.room.as_mut().and_then(|permit| permit.split(spare)));
        self.turn = None;
    }
}

/// Waits for one's turn to read a single object. Who holds a page's share may wait here: whoever reads an object waits for nothing else.
pub(crate) async fn object() -> Option<OwnedSemaphorePermit> {
    SINGLE.clone().acquire_owned().await.ok()
}

/// Waits until there is room for a change of so many KiB, at most a quarter of the whole.
pub(crate) async fn change(kib: u32) -> Option<OwnedSemaphorePermit> {
    CHANGES.clone().acquire_many_owned(kib).await.ok()
}

/// Places for watches within a long line.
pub(crate) fn long_lines() -> Arc<Semaphore> {
    LINES.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_page_does_not_need_is_given_back() {
        let mut share = page().await;
        share.keep(3 << 20, 50_000);
        assert_eq!(share.room.as_ref().map(OwnedSemaphorePermit::num_permits), Some(17));
        share.keep(usize::MAX, usize::MAX);
        assert_eq!(share.room.as_ref().map(OwnedSemaphorePermit::num_permits), Some(17), "a share does not grow");
    }
}
