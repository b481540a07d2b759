use super::*;
use crate::session::Limits;
use crate::user::{create_admin_if_none, set_password};
use chrono::Duration;
use futures::future::join_all;

const RIGHT: &str = "correct horse";
const LIMITS: Limits = Limits { idle_mins: 60, max_hours: 24 };

/// Logins of which `admin` is the only user; the clock stands.
struct Stage {
    pool: PgPool,
    clock: Clock,
    logins: Logins,
}

impl Stage {
    async fn new(pool: PgPool) -> Self {
        let clock = Clock::at(DateTime::UNIX_EPOCH + Duration::days(20_000));
        create_admin_if_none(&mut pool.acquire().await.unwrap(), &clock, Some(RIGHT)).await.unwrap();
        let logins = Logins::new(pool.clone(), clock.clone(), Sealer::new(&[1; 32]));
        Self { pool, clock, logins }
    }

    async fn log_in(&self, userid: &str, password: &str, address: &str) -> Result<Login, LoginError> {
        self.log_in_with(userid, password, address, &[]).await
    }

    async fn log_in_with(&self, userid: &str, password: &str, address: &str, devices: &[String]) -> Result<Login, LoginError> {
        self.logins.log_in(Attempt { userid, password, address, agent: "test", devices }).await
    }

    async fn fails(&self, userid: &str, address: &str) {
        let outcome = self.log_in(userid, "wrong", address).await;
        assert!(matches!(outcome, Err(LoginError::Wrong)), "{userid} from {address}: {outcome:?}");
    }

    async fn add_failures(&self, count: i32, userid: &str, address: &str) {
        sqlx::query("INSERT INTO login_failures (userid, address, failed_at) SELECT $1, $2, $3 FROM generate_series(1, $4)")
            .bind(userid)
            .bind(address)
            .bind(self.clock.now())
            .bind(count)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    async fn counted(&self) -> Vec<(String, String, i64)> {
        let query = "SELECT address, door, COUNT(*) FROM login_failures GROUP BY address, door ORDER BY address, door";
        sqlx::query_as(query).fetch_all(&self.pool).await.unwrap()
    }

    async fn session(&self, token: &str) -> bool {
        session::find(&mut self.pool.acquire().await.unwrap(), &self.clock, token, LIMITS).await.unwrap().is_some()
    }
}

/// The seconds that an attempt is told to wait.
fn wait<T: fmt::Debug>(outcome: Result<T, LoginError>) -> i64 {
    match outcome {
        Err(LoginError::Throttled { retry_after_secs }) => retry_after_secs,
        other => panic!("not throttled: {other:?}"),
    }
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_first_start_alone_makes_an_administrator_whose_made_password_must_be_changed(pool: PgPool) {
    let (mut conn, clock) = (pool.acquire().await.unwrap(), Clock::default());
    let made = create_admin_if_none(&mut conn, &clock, None).await.unwrap().expect("a password was made");
    assert_eq!(create_admin_if_none(&mut conn, &clock, Some("another password")).await.unwrap(), None);
    let logins = Logins::new(pool.clone(), clock, Sealer::new(&[1; 32]));
    let attempt = Attempt { userid: "ADMIN", password: &made, address: "::1", agent: "", devices: &[] };
    assert!(logins.log_in(attempt).await.unwrap().must_change_password);
    assert!(matches!(logins.verify_basic("admin", &made, "::1").await, Err(LoginError::MustChange)));
    assert!(matches!(logins.log_in(Attempt { password: "another password", ..attempt }).await, Err(LoginError::Wrong)));
    let stored: String = sqlx::query_scalar("SELECT password_hash FROM users").fetch_one(&mut *conn).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn after_five_failures_the_same_user_and_address_wait_seconds_and_nobody_else(pool: PgPool) {
    let stage = Stage::new(pool).await;
    for _ in 0..5 {
        stage.fails("admin", "10.0.0.9").await;
    }
    assert_eq!(wait(stage.log_in("Admin", RIGHT, "10.0.0.9").await), 2, "with the right password too");
    assert!(stage.log_in("admin", RIGHT, "10.0.0.1").await.is_ok(), "the administrator is elsewhere");
    for _ in 0..5 {
        stage.clock.advance(Duration::seconds(2));
        stage.fails("admin", "10.0.0.9").await;
    }
    assert_eq!(wait(stage.log_in("admin", RIGHT, "10.0.0.9").await), 5);
    let slowed = slowed(&mut stage.pool.acquire().await.unwrap(), stage.clock.now()).await.unwrap();
    assert_eq!((slowed.len(), slowed[0].userid.as_str(), slowed[0].address.as_str(), slowed[0].attempts), (1, "admin", "10.0.0.9", 10));
    stage.clock.advance(Duration::seconds(5));
    assert!(stage.log_in("admin", RIGHT, "10.0.0.9").await.is_ok(), "five seconds later");
    stage.fails("admin", "10.0.0.9").await;
    assert_eq!(stage.counted().await, [("10.0.0.9".into(), "pages".into(), 1)], "a good login forgets what was before");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn who_guesses_from_twenty_places_does_not_keep_the_administrator_out(pool: PgPool) {
    let stage = Stage::new(pool).await;
    for place in 0..20 {
        stage.add_failures(5, "admin", &format!("10.0.{place}.1")).await;
    }
    let start = std::time::Instant::now();
    stage.log_in("admin", RIGHT, "10.1.0.1").await.unwrap();
    assert!(start.elapsed() >= LATE, "the answer comes late");
    stage.fails("admin", "10.1.0.2").await;
    assert_eq!(wait(stage.log_in("admin", RIGHT, "10.1.0.2").await), 5, "one attempt of each address is free then");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_browser_that_logged_in_before_is_not_slowed_down_by_others(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let devices = [stage.log_in("admin", RIGHT, "10.0.0.1").await.unwrap().device];
    stage.add_failures(50, "admin", "10.0.0.1").await;
    stage.add_failures(200, "admin", "10.0.0.2").await;
    assert_eq!(wait(stage.log_in("admin", RIGHT, "10.0.0.1").await), 5);
    let start = std::time::Instant::now();
    let again = [stage.log_in_with("admin", RIGHT, "10.0.0.1", &devices).await.unwrap().device];
    assert!(start.elapsed() < LATE);
    assert_eq!(wait(stage.log_in("admin", RIGHT, "10.0.0.1").await), 5, "it does not cover up who guesses beside it");
    // Its own failures count for itself alone, ten of them.
    stage.add_failures(50, "admin", "10.0.0.1").await;
    for _ in 0..10 {
        assert!(matches!(stage.log_in_with("admin", "wrong", "10.0.0.1", &again).await, Err(LoginError::Wrong)));
    }
    assert_eq!(wait(stage.log_in_with("admin", RIGHT, "10.0.0.1", &again).await), 5);
    assert_eq!(wait(stage.log_in_with("bob", RIGHT, "10.0.0.1", &again).await), 3, "it is the administrator's browser, nobody else's");
    // A new password ends it.
    stage.clock.advance(Duration::seconds(1));
    set_password(&mut stage.pool.acquire().await.unwrap(), &stage.clock, "admin", "a new password", false).await.unwrap();
    stage.add_failures(5, "admin", "10.0.0.1").await;
    assert_eq!(wait(stage.log_in_with("admin", "a new password", "10.0.0.1", &devices).await), 2);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_flood_from_the_same_address_keeps_no_known_browser_out_and_other_cookies_help_nobody(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let known = [stage.log_in("admin", RIGHT, "10.0.0.1").await.unwrap().device];
    let person = find(&mut stage.pool.acquire().await.unwrap(), "admin").await.unwrap().unwrap();
    let forged = device::seal(&Sealer::new(&[2; 32]), None, "admin", person.user.id, person.password_changed_at, stage.clock.now()).unwrap();
    let flood: Vec<_> = std::iter::from_fn(|| stage.logins.0.lanes.enter("10.0.0.1", true, None).ok()).collect();
    for strange in [&[][..], &[forged], &["junk".to_owned()]] {
        let outcome = stage.log_in_with("admin", RIGHT, "10.0.0.1", strange).await;
        assert!(matches!(outcome, Err(LoginError::Busy)), "{outcome:?}");
    }
    let outcome = stage.log_in_with("bob", RIGHT, "10.0.0.1", &known).await;
    assert!(matches!(outcome, Err(LoginError::Busy)), "it is the administrator's browser, nobody else's: {outcome:?}");
    for _ in 0..10 {
        assert!(matches!(stage.log_in_with("admin", "wrong", "10.0.0.1", &known).await, Err(LoginError::Wrong)));
    }
    let outcome = stage.log_in_with("admin", RIGHT, "10.0.0.1", &known).await;
    assert!(matches!(outcome, Err(LoginError::Busy)), "it guessed too often to be known: {outcome:?}");
    assert_eq!(stage.counted().await, [("10.0.0.1".into(), "pages".into(), 10)], "who was not judged does not count");
    stage.clock.advance(Duration::minutes(6));
    let known = [stage.log_in_with("admin", RIGHT, "10.0.0.1", &known).await.unwrap().device];
    set_password(&mut stage.pool.acquire().await.unwrap(), &stage.clock, "admin", "a new password", false).await.unwrap();
    let outcome = stage.log_in_with("admin", "a new password", "10.0.0.1", &known).await;
    assert!(matches!(outcome, Err(LoginError::Busy)), "its cookie is of the old password: {outcome:?}");
    drop(flood);
    assert!(stage.log_in_with("admin", "a new password", "10.0.0.1", &known).await.is_ok());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_script_with_an_old_password_does_not_slow_down_the_pages(pool: PgPool) {
    let stage = Stage::new(pool).await;
    for _ in 0..5 {
        assert!(matches!(stage.logins.verify_basic("admin", "old password", "10.0.0.1").await, Err(LoginError::Wrong)));
    }
    assert_eq!(wait(stage.logins.verify_basic("admin", "older password", "10.0.0.1").await), 2);
    stage.log_in("admin", RIGHT, "10.0.0.1").await.unwrap();
    assert_eq!(stage.counted().await, [("10.0.0.1".into(), "api".into(), 5)]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn success_forgets_ones_own_failures_alone_and_a_call_of_the_api_none(pool: PgPool) {
    let stage = Stage::new(pool).await;
    for address in ["10.0.0.1", "10.0.0.2"] {
        stage.add_failures(4, "admin", address).await;
        stage.logins.verify_basic("admin", RIGHT, address).await.unwrap();
    }
    stage.log_in("ADMIN", RIGHT, "10.0.0.1").await.unwrap();
    assert_eq!(stage.counted().await, [("10.0.0.2".into(), "pages".into(), 4)]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn of_attempts_at_the_same_time_no_more_are_answered_than_one_after_the_other(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let outcomes = join_all((0..40).map(|n| {
        let (logins, guess) = (stage.logins.clone(), format!("guess {n}"));
        async move { logins.verify_basic("admin", &guess, "10.0.0.1").await }
    }))
    .await;
    let wrong = outcomes.iter().filter(|outcome| matches!(outcome, Err(LoginError::Wrong))).count();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(LoginError::Throttled { .. } | LoginError::Busy))).count();
    assert!((1..=5).contains(&wrong), "{outcomes:?}");
    assert_eq!(wrong + refused, 40, "{outcomes:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_scripts_calls_at_the_same_time_are_one_attempt_and_the_next_cost_none(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let at_once = async |password: &'static str| join_all((0..40).map(|_| stage.logins.verify_basic("admin", password, "10.0.0.1"))).await;
    assert!(at_once(RIGHT).await.iter().all(Result::is_ok));
    assert!(at_once("an old one").await.iter().all(|outcome| matches!(outcome, Err(LoginError::Wrong))));
    assert_eq!(stage.counted().await, [("10.0.0.1".into(), "api".into(), 1)]);
    stage.add_failures(20, "admin", "10.0.0.1").await;
    sqlx::query("UPDATE login_failures SET door = 'api'").execute(&stage.pool).await.unwrap();
    assert!(at_once(RIGHT).await.iter().all(Result::is_ok), "what was right a moment ago is not slowed down");
    set_password(&mut stage.pool.acquire().await.unwrap(), &stage.clock, "admin", "a new password", false).await.unwrap();
    assert!(at_once(RIGHT).await.iter().all(|outcome| matches!(outcome, Err(LoginError::Wrong))), "but never with a password of before");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn twenty_failures_make_an_address_wait_whoever_it_tries_and_a_wide_network_sixty(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let fill = "INSERT INTO login_failures (userid, address, wide_address, failed_at) SELECT 'user' || n, $2, $3, $1 FROM generate_series(1, $4) AS n";
    for (address, wide, count) in [("10.0.0.1", "", 20), ("2001:db8:1:1::/64", "2001:db8:1::/48", 60)] {
        sqlx::query(fill).bind(stage.clock.now()).bind(address).bind(wide).bind(count).execute(&stage.pool).await.unwrap();
    }
    assert_eq!(wait(stage.log_in("admin", RIGHT, "10.0.0.1").await), 3);
    assert_eq!(wait(stage.log_in("admin", RIGHT, "2001:db8:1:2::7").await), 1, "another /64 of the same /48");
    assert!(stage.log_in("admin", RIGHT, "2001:db8:2::7").await.is_ok());
    assert!(stage.log_in("admin", RIGHT, "10.0.0.2").await.is_ok());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_unknown_user_takes_as_long_as_a_wrong_password(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let mut times = vec![];
    // The first round makes the hash that stands in for unknown users.
    for (userid, address) in [("nobody", "a"), ("admin", "b"), ("nobody", "c")] {
        let start = std::time::Instant::now();
        stage.fails(userid, address).await;
        times.push(start.elapsed());
    }
    // Without the stand-in an unknown user is answered in under a tenth.
    assert!(times[2] * 3 > times[1], "{times:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn no_connection_is_held_while_a_password_is_compared(pool: PgPool) {
    let stage = Stage::new(pool).await;
    // All turns are taken: the attempt is begun, and waits to be compared.
    let turns = password::take_all_turns().await;
    let attempt = tokio::spawn({
        let logins = stage.logins.clone();
        async move { logins.log_in(Attempt { userid: "admin", password: RIGHT, address: "::1", agent: "", devices: &[] }).await }
    });
    let begun = async {
        while stage.counted().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), begun).await.expect("it is counted before it is compared");
    let all = join_all((0..stage.pool.options().get_max_connections()).map(|_| stage.pool.acquire()));
    let all = tokio::time::timeout(std::time::Duration::from_secs(20), all).await.expect("every connection is free");
    drop((all, turns));
    assert!(attempt.await.unwrap().is_ok());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_session_ends_when_idle_when_old_when_left_and_with_a_new_password(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let mut conn = stage.pool.acquire().await.unwrap();
    let clock = &stage.clock;
    let start = async || stage.log_in("admin", RIGHT, "::1").await.unwrap().session_token;
    let idle = start().await;
    clock.advance(Duration::minutes(60));
    assert!(!stage.session(&idle).await);

    let busy = start().await;
    for _ in 0..47 {
        clock.advance(Duration::minutes(30));
        assert!(stage.session(&busy).await);
    }
    clock.advance(Duration::minutes(30));
    assert!(!stage.session(&busy).await, "a day is over");

    let left = start().await;
    session::end(&mut conn, &left).await.unwrap();
    assert!(!stage.session(&left).await);

    assert_eq!(session::remove_expired(&mut conn, clock, LIMITS).await.unwrap(), 2, "the idle and the old one");

    let old = start().await;
    set_password(&mut conn, clock, "admin", "a new password", true).await.unwrap();
    assert!(!stage.session(&old).await);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn ones_own_password_is_changed_with_the_current_one_and_ends_all_other_sessions(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let elsewhere = stage.log_in("admin", RIGHT, "::1").await.unwrap();
    let devices = [elsewhere.device];
    let change = async |password, new| {
        let attempt = Attempt { userid: "admin", password, address: "::1", agent: "", devices: &devices };
        stage.logins.change_password(NewPassword { new, attempt }).await
    };
    assert!(matches!(change("wrong", "battery staple").await, Err(PasswordError::Current(LoginError::Wrong))));
    assert!(matches!(change(RIGHT, "short").await, Err(PasswordError::New(_))));
    assert!(matches!(change(RIGHT, RIGHT).await, Err(PasswordError::New(_))));
    assert!(stage.session(&elsewhere.session_token).await);
    stage.clock.advance(Duration::seconds(1));
    let changed = change(RIGHT, "battery staple").await.unwrap();
    assert!(stage.session(&changed.session_token).await && !stage.session(&elsewhere.session_token).await);
    assert!(stage.log_in("admin", RIGHT, "::1").await.is_err());
    assert!(stage.log_in("admin", "battery staple", "::1").await.is_ok());
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn each_session_has_a_form_token_of_its_own_is_listed_and_the_table_holds_no_cookie(pool: PgPool) {
    let stage = Stage::new(pool).await;
    let mut conn = stage.pool.acquire().await.unwrap();
    let mut sessions = vec![];
    for address in ["::1", "10.0.0.7"] {
        let token = stage.log_in("admin", RIGHT, address).await.unwrap().session_token;
        let stored: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM sessions WHERE token_sha256 = $1").bind(token.as_bytes()).fetch_one(&mut *conn).await.unwrap();
        assert_eq!(stored, 0);
        sessions.push(session::find(&mut conn, &stage.clock, &token, LIMITS).await.unwrap().unwrap());
    }
    assert!(sessions[0].csrf_matches(&sessions[0].csrf_token));
    assert!(!sessions[0].csrf_matches(&sessions[1].csrf_token));
    assert!(!sessions[0].csrf_matches(""));
    let user = sessions[0].user.id;
    let listed = async |conn: &mut PgConnection| -> Vec<String> {
        session::list(conn, &stage.clock, user, LIMITS).await.unwrap().into_iter().map(|open| format!("{} {}", open.address, open.agent)).collect()
    };
    assert_eq!(listed(&mut conn).await, ["10.0.0.7 test", "::1 test"]);
    assert_eq!(session::end_one(&mut conn, UserId(user.0 + 1), sessions[0].id).await.unwrap(), 0, "it is another's");
    assert_eq!(session::end_others(&mut conn, user, sessions[0].id).await.unwrap(), 1);
    assert_eq!(listed(&mut conn).await, ["::1 test"]);
}
