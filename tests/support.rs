//! What flows share: where the real parts are, a server's worth of workers on a database of its own, and whose turn it is to break things.

pub mod cluster;
pub mod product;
pub mod turn;
pub mod visitor;
pub mod worker;

use std::future::Future;
use std::time::{Duration, Instant};

/// The value of an environment variable that `make test` sets.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: this test needs the real parts that `make test` starts; run `make test`"))
}

/// Asks `condition` until it gives something, and returns that; after `limit` it fails the test, saying `what` did not happen.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < end, "after {} s still not: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
