use super::*;
use crate::session::Limits;
use crate::user::{create_admin_if_none, set_password};
use chrono::Duration;
use sqlx::PgPool;

const RIGHT: &str = "correct horse";
const LIMITS: Limits = Limits { idle_mins: 60, max_hours: 24 };

async fn with_admin(pool: &PgPool) -> (sqlx::pool::PoolConnection<sqlx::Postgres>, Clock) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::at(DateTime::UNIX_EPOCH + Duration::days(1));
    assert_eq!(create_admin_if_none(&mut conn, &clock, Some(RIGHT)).await.unwrap(), None);
    (conn, clock)
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_first_start_alone_makes_an_administrator(pool: PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let clock = Clock::default();
    let made = create_admin_if_none(&mut conn, &clock, None).await.unwrap().expect("a password was made");
    assert_eq!(create_admin_if_none(&mut conn, &clock, Some("another password")).await.unwrap(), None);
    assert!(login(&mut conn, &clock, "ADMIN", &made, "::1").await.is_ok());
    assert!(matches!(login(&mut conn, &clock, "admin", "another password", "::1").await, Err(LoginError::Wrong)));
    let stored: String = sqlx::query_scalar("SELECT password_hash FROM users").fetch_one(&mut *conn).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
}

async fn fails(conn: &mut PgConnection, clock: &Clock, userid: &str, address: &str) {
    let outcome = login(conn, clock, userid, "wrong", address).await;
    assert!(matches!(outcome, Err(LoginError::Wrong)), "{userid} from {address}: {outcome:?}");
}

async fn add_failures(conn: &mut PgConnection, clock: &Clock, count: i32, userid: &str, address: &str) {
    sqlx::query("INSERT INTO login_failures (userid, address, failed_at) SELECT $1, $2, $3 FROM generate_series(1, $4)")
        .bind(userid)
        .bind(address)
        .bind(clock.now())
        .bind(count)
        .execute(conn)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn five_failures_from_one_address_make_it_wait_even_with_the_right_password_and_nobody_else(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    for _ in 0..5 {
        fails(&mut conn, &clock, "admin", "10.0.0.9").await;
        clock.advance(Duration::seconds(10));
    }
    let Err(LoginError::Throttled { retry_after_secs }) = login(&mut conn, &clock, "Admin", RIGHT, "10.0.0.9").await else { panic!("not throttled") };
    assert_eq!(retry_after_secs, 250, "the first failure was 50 seconds ago");
    assert!(login(&mut conn, &clock, "admin", RIGHT, "10.0.0.1").await.is_ok(), "the administrator is elsewhere");
    clock.advance(Duration::seconds(retry_after_secs));
    assert!(login(&mut conn, &clock, "admin", RIGHT, "10.0.0.9").await.is_ok());
    fails(&mut conn, &clock, "admin", "10.0.0.9").await;
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn guessing_from_many_places_ends_as_well(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    for network in 0..25 {
        add_failures(&mut conn, &clock, 4, "admin", &format!("10.0.{network}.1")).await;
    }
    assert!(matches!(login(&mut conn, &clock, "admin", RIGHT, "10.1.0.1").await, Err(LoginError::Throttled { .. })));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn success_forgets_ones_own_failures_alone_and_a_call_of_the_api_none(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    for address in ["10.0.0.1", "10.0.0.2"] {
        add_failures(&mut conn, &clock, 4, "admin", address).await;
    }
    verify_basic(&mut conn, &clock, "admin", RIGHT, "10.0.0.1").await.unwrap();
    verify_basic(&mut conn, &clock, "admin", RIGHT, "10.0.0.2").await.unwrap();
    login(&mut conn, &clock, "ADMIN", RIGHT, "10.0.0.1").await.unwrap();
    let left: Vec<(String, i64)> = sqlx::query_as("SELECT address, COUNT(*) FROM login_failures GROUP BY address").fetch_all(&mut *conn).await.unwrap();
    assert_eq!(left, [("10.0.0.2".to_owned(), 4)]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn of_attempts_at_the_same_time_no_more_are_answered_than_one_after_the_other(pool: PgPool) {
    let (_, clock) = with_admin(&pool).await;
    let wide = sqlx::postgres::PgPoolOptions::new().max_connections(12).connect_with(pool.connect_options().as_ref().clone()).await.unwrap();
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (wide, clock) = (wide.clone(), clock.clone());
        attempts.spawn(async move { verify_basic(&mut wide.acquire().await.unwrap(), &clock, "admin", "wrong", "10.0.0.1").await });
    }
    let outcomes = attempts.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(LoginError::Wrong))).count(), 5);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(LoginError::Throttled { .. }))).count(), 7);
    wide.close().await;
}

#[test]
fn one_network_of_ipv6_counts_as_one_address() {
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert_eq!(network("2001:db8:1:2:ffff::1"), "2001:db8:1:2::/64");
    assert_eq!(network("2001:db8:1:3::1"), "2001:db8:1:3::/64");
    assert_eq!((network("::ffff:10.0.0.1"), network("10.0.0.1"), network("unknown")), ("10.0.0.1".into(), "10.0.0.1".into(), "unknown".into()));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn twenty_failures_make_an_address_wait_whoever_it_tries(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    sqlx::query("INSERT INTO login_failures (userid, address, failed_at) SELECT 'user' || n, '10.0.0.1', $1 FROM generate_series(1, 20) AS n")
        .bind(clock.now())
        .execute(&mut *conn)
        .await
        .unwrap();
    assert!(matches!(verify_basic(&mut conn, &clock, "admin", RIGHT, "10.0.0.1").await, Err(LoginError::Throttled { retry_after_secs: 300 })));
    assert_eq!(verify_basic(&mut conn, &clock, "admin", RIGHT, "10.0.0.2").await.unwrap().userid, "admin");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_unknown_user_takes_as_long_as_a_wrong_password(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    let mut times = vec![];
    // The first round makes the hash that stands in for unknown users.
    for (userid, address) in [("nobody", "a"), ("admin", "b"), ("nobody", "c")] {
        let start = std::time::Instant::now();
        assert!(matches!(login(&mut conn, &clock, userid, "wrong", address).await, Err(LoginError::Wrong)));
        times.push(start.elapsed());
    }
    // Without the stand-in an unknown user is answered in under a tenth.
    assert!(times[2] * 3 > times[1], "{times:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_session_ends_when_idle_when_old_when_left_and_with_a_new_password(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    let idle = login(&mut conn, &clock, "admin", RIGHT, "::1").await.unwrap().session_token;
    clock.advance(Duration::minutes(60));
    assert!(session::find(&mut conn, &clock, &idle, LIMITS).await.unwrap().is_none());

    let busy = login(&mut conn, &clock, "admin", RIGHT, "::1").await.unwrap().session_token;
    for _ in 0..47 {
        clock.advance(Duration::minutes(30));
        assert!(session::find(&mut conn, &clock, &busy, LIMITS).await.unwrap().is_some());
    }
    clock.advance(Duration::minutes(30));
    assert!(session::find(&mut conn, &clock, &busy, LIMITS).await.unwrap().is_none(), "a day is over");

    let left = login(&mut conn, &clock, "admin", RIGHT, "::1").await.unwrap().session_token;
    session::end(&mut conn, &left).await.unwrap();
    assert!(session::find(&mut conn, &clock, &left, LIMITS).await.unwrap().is_none());

    assert_eq!(session::remove_expired(&mut conn, &clock, LIMITS).await.unwrap(), 2, "the idle and the old one");

    let old = login(&mut conn, &clock, "admin", RIGHT, "::1").await.unwrap().session_token;
    set_password(&mut conn, &clock, "admin", "a new password").await.unwrap();
    assert!(session::find(&mut conn, &clock, &old, LIMITS).await.unwrap().is_none());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn each_session_has_a_form_token_of_its_own_and_the_table_holds_no_cookie(pool: PgPool) {
    let (mut conn, clock) = with_admin(&pool).await;
    let mut sessions = vec![];
    for _ in 0..2 {
        let token = login(&mut conn, &clock, "admin", RIGHT, "::1").await.unwrap().session_token;
        let stored: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM sessions WHERE token_sha256 = $1").bind(token.as_bytes()).fetch_one(&mut *conn).await.unwrap();
        assert_eq!(stored, 0);
        sessions.push(session::find(&mut conn, &clock, &token, LIMITS).await.unwrap().unwrap());
    }
    assert!(sessions[0].csrf_matches(&sessions[0].csrf_token));
    assert!(!sessions[0].csrf_matches(&sessions[1].csrf_token));
    assert!(!sessions[0].csrf_matches(""));
}
