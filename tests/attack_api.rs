//! Attacks on the API by people who may log in: what they send takes neither memory nor time from others.

use crate::attack_server::MEMORY_MIB;
use crate::support::product::Product;
use futures::future::join_all;
use reqwest::{Method, StatusCode, header};
use sqlx::PgPool;
use std::time::{Duration, Instant};

const AT_ONCE: usize = 16;

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn bodies_that_become_much_larger_are_bounded_together(pool: PgPool) {
    let mut product = Product::start(&pool, &[]).await;
    let ten_thousand = "{\"id\":\"1\"},".repeat(9_999);
    let bodies = [
        (format!("{{\"action\":\"scan\",\"resources\":[{}{{\"id\":1}}]}}", "{\"id\":1},".repeat(200_000)), 413),
        (format!("{{\"action\":\"scan\",\"resources\":[{}{{}}]}}", "{},".repeat(650_000)), 413),
        (format!("{{\"action\":\"scan\",\"resources\":[{ten_thousand}{{\"id\":\"1\"}}]}}"), 200),
        (format!("{{\"action\":\"scan\",\"a\":{}1{}}}", "[".repeat(49_000), "]".repeat(49_000)), 400),
        (format!("{{\"action\":\"scan\",\"resources\":[\"{}\"]}}", "x".repeat(2_000_000)), 400),
    ];
    for (body, expected) in &bodies {
        let calls = (0..AT_ONCE).map(|_| {
            let call = product.client.request(Method::POST, format!("{}/api/container_images", product.url)).header(header::CONTENT_TYPE, "application/json");
            let call = call.basic_auth("admin", Some(crate::support::product::PASSWORD)).body(body.clone());
            async move { call.send().await.map(|answer| answer.status().as_u16()) }
        });
        let asked = async {
            let start = Instant::now();
            assert!(product.is_ready().await);
            start.elapsed()
        };
        let (answers, waited) = tokio::join!(join_all(calls), asked);
        let answers: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap()).collect();
        assert!(answers.contains(expected), "{answers:?}");
        for status in answers {
            // Some may not get their turn in time on a slow machine.
            assert!(status == *expected || status == StatusCode::SERVICE_UNAVAILABLE.as_u16() || status == StatusCode::TOO_MANY_REQUESTS.as_u16(), "{status}");
        }
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        let peak = product.peak_memory_mib();
        assert!(peak <= MEMORY_MIB, "{peak} MiB after {}", &body[..60]);
    }
    assert!(product.is_running());
}
