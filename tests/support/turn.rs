//! Flows run side by side, except for those that stop a piece of the cluster: these run alone.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::const_new(());

/// For a flow that needs the cluster in one piece. Keep it until the end of the test.
pub async fn shared() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// For a flow that stops a piece of the cluster: nobody else runs meanwhile.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}
