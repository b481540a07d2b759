//! The product's process at rest: small, ready, and the same again after it was killed.

use crate::support::product::Product;
use reqwest::{Method, StatusCode};
use sqlx::PgPool;

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_killed_server_is_ready_again_with_the_same_login_and_little_memory(pool: PgPool) {
    let mut product = Product::start(&pool, &[]).await;
    for _ in 0..2 {
        assert!(product.is_ready().await && product.is_running(), "{}", product.log());
        assert_eq!(product.api(Method::GET, "/api/providers", None).await.0, StatusCode::OK);
        let peak = product.peak_memory_mib();
        assert!(peak <= 128, "{peak} MiB, unoptimised and with nothing to do");
        product.restart().await;
    }
    assert!(product.pid().is_some());
}
