//! Attacks on logins: whoever guesses, and from wherever, the right person gets in within seconds.

use crate::attack_server::{MEMORY_MIB, QUICK, person};
use crate::support::product::{PASSWORD, Product};
use crate::support::visitor::Visitor;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use sqlx::PgPool;
use std::time::{Duration, Instant};

/// The right person logs in amidst an attack: refused for seconds at most, and told so. Gives how often.
async fn gets_in(person: &mut Visitor, within: Duration, what: &str) -> usize {
    let start = Instant::now();
    let mut refused = 0;
    loop {
        // The server may end a stranger's connection to make room for another.
        let wait = match person.try_log_in(PASSWORD).await {
            Ok(answer) if answer.status == StatusCode::SEE_OTHER => break,
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{what}: {}", answer.body);
                assert!((1..=5).contains(&answer.retry_after()), "{what}: {}", answer.retry_after());
                refused += 1;
                Duration::from_secs(answer.retry_after())
            }
            Err(_) => Duration::from_millis(100),
        };
        assert!(start.elapsed() + wait < within, "{what}: refused for {:?}", start.elapsed());
        tokio::time::sleep(wait).await;
    }
    assert!(start.elapsed() < within, "{what}: {:?}", start.elapsed());
    refused
}

/// Of an attack from so many addresses that took so long, how many attempts may be judged: five of each address, until from wherever there were a hundred, one
/// of each address from then on; and another one of each for every two seconds.
fn judged_at_most(addresses: usize, took: Duration) -> usize {
    (5 * addresses).min(100 + addresses) + addresses * (took.as_millis() as usize / 2000)
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn hundreds_of_wrong_logins_at_once_starve_nobody(pool: PgPool) {
    let mut product = Product::start(&pool, &[]).await;
    let mut known = person(&product, "127.0.0.1").await;
    for (net, addresses, attempts) in [(31, 1, 200), (32, 8, 200), (33, 40, 400)] {
        let address = |number: usize| format!("127.0.{net}.{}", number % addresses + 1);
        let mut neighbour = person(&product, &address(0)).await;
        // Making a client takes this process longer than the server takes for an answer.
        let places: Vec<Visitor> = (0..addresses).map(|number| Visitor::from(&product.url, &address(number))).collect();
        let mut elsewhere = Visitor::from(&product.url, &format!("127.1.{net}.1"));
        let start = Instant::now();
        let attack = async {
            let answers = join_all((0..attempts).map(|number| {
                let mut stranger = places[number % addresses].another();
                async move { stranger.try_log_in(&format!("guess {number}")).await.map(|answer| (answer.status, answer.retry_after())).ok() }
            }));
            (answers.await, start.elapsed())
        };
        let watch = async {
            for _ in 0..5 {
                let start = Instant::now();
                assert_eq!(known.get("/tasks").await.status, StatusCode::OK);
                assert!(start.elapsed() < QUICK * 2, "{:?}", start.elapsed());
                assert!(product.is_ready().await);
            }
        };
        let logins = async {
            let refused = gets_in(&mut neighbour, QUICK * 4, "a known browser at an address of the attack").await;
            assert_eq!(refused, 0, "a known browser has a place of its own");
            // The neighbourhood of the attack is 127.0.N.x; who comes from elsewhere need not wait for it.
            let refused = gets_in(&mut elsewhere, QUICK * 4, "a new browser at another address").await;
            assert_eq!(refused, 0, "a new browser elsewhere has a place of its own");
        };
        let ((outcomes, took), (), ()) = futures::join!(attack, watch, logins);
        let answers: Vec<(StatusCode, u64)> = outcomes.into_iter().flatten().collect();
        let count = |wanted: StatusCode| answers.iter().filter(|(status, _)| *status == wanted).count();
        let (judged, refused) = (count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS));
        let at_most = judged_at_most(addresses, took);
        let what =
            format!("{addresses} addresses, {took:?}: {judged} of at most {at_most} judged, {refused} refused, {} of {attempts} answered", answers.len());
        assert!((1..=at_most).contains(&judged), "{what}");
        assert!(answers.len() > attempts / 4 && judged + refused == answers.len(), "{what}");
        // On a slow machine many addresses may be allowed all of it; one never is.
        assert!(addresses > 1 || at_most < answers.len(), "{what}");
        assert!(answers.iter().all(|(status, wait)| *status == StatusCode::UNAUTHORIZED || (1..=5).contains(wait)), "{what}");
    }
    assert!(product.is_running() && product.peak_memory_mib() <= MEMORY_MIB, "{} MiB", product.peak_memory_mib());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn twenty_addresses_that_guess_do_not_keep_the_only_administrator_out(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    let mut known = person(&product, "127.0.0.1").await;
    for _ in 0..2 {
        join_all((1..=20).map(|number| {
            let mut stranger = Visitor::from(&product.url, &format!("127.0.4.{number}"));
            async move {
                for guess in 0..5 {
                    stranger.try_log_in(&format!("guess {guess}")).await.ok();
                }
            }
        }))
        .await;
    }
    let start = Instant::now();
    person(&product, "127.0.5.1").await;
    assert!(start.elapsed() < QUICK + Duration::from_secs(2), "from another address: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(known.log_in(PASSWORD).await.status, StatusCode::SEE_OTHER, "from a browser that is known");
    assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
    // Even at an attacker's own address the wait is seconds.
    let mut there = Visitor::from(&product.url, "127.0.4.1");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        let answer = there.log_in(PASSWORD).await;
        if answer.status == StatusCode::SEE_OTHER {
            break;
        }
        assert!((1..=5).contains(&answer.retry_after()), "{}", answer.retry_after());
        tokio::time::sleep(Duration::from_secs(answer.retry_after())).await;
    }
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let page = known.get("/configuration/server").await;
    assert!(page.body.contains("127.0.4.2"), "administrators see who was slowed down");
    let log = product.log();
    assert!(log.contains("too many failed logins") && log.contains("outcome=\"wrong\"") && log.contains("127.0.4.2"), "{log}");
    assert!(!log.contains("guess 1") && !log.contains(PASSWORD));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_script_with_an_old_password_slows_down_neither_people_nor_scripts_with_the_right_one(pool: PgPool) {
    let product = Product::start(&pool, &[]).await;
    assert_eq!(product.api(Method::GET, "/api", None).await.0, StatusCode::OK);
    let calls = join_all((0..60).map(|_| product.client.get(format!("{}/api", product.url)).basic_auth("admin", Some("old password")).send())).await;
    let calls_again = join_all((0..60).map(|n| product.client.get(format!("{}/api", product.url)).basic_auth("admin", Some(format!("old {n}"))).send())).await;
    assert!(calls.into_iter().chain(calls_again).all(|answer| answer.unwrap().status().is_client_error()));
    assert_eq!(product.api(Method::GET, "/api", None).await.0, StatusCode::OK);
    person(&product, "127.0.0.1").await;
}
