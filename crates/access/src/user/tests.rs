use super::*;
use crate::{Attempt, LoginError, Logins};
use model::Sealer;
use sqlx::PgPool;

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn people_are_added_with_a_password_to_change_get_roles_and_go(pool: PgPool) {
    let (mut conn, clock) = (pool.acquire().await.unwrap(), Clock::default());
    create_admin_if_none(&mut conn, &clock, Some("correct horse")).await.unwrap();
    let alice = NewUser { userid: "alice", name: "", role: UserRole::Auditor, password: "battery staple" };
    add(&mut conn, &clock, alice).await.unwrap();
    for (new, complaint) in [
        (NewUser { userid: "ALICE", ..alice }, "already"),
        (NewUser { userid: "al ice", ..alice }, "letters"),
        (NewUser { userid: "cli:alice", ..alice }, "letters"),
        (NewUser { userid: "", ..alice }, "letters"),
        (NewUser { userid: "bob", password: "short", ..alice }, "at least 8"),
    ] {
        let error = add(&mut conn, &clock, new).await.unwrap_err().to_string();
        assert!(error.contains(complaint), "{new:?}: {error}");
    }
    let logins = Logins::new(pool.clone(), clock.clone(), Sealer::new(&[1; 32]));
    assert!(matches!(logins.verify_basic("alice", "battery staple", "::1").await, Err(LoginError::MustChange)));
    set_role(&mut conn, "Alice", UserRole::Operator).await.unwrap();
    let listed: Vec<_> = list(&mut conn).await.unwrap().into_iter().map(|user| (user.userid, user.role, user.must_change_password)).collect();
    assert_eq!(listed, [("admin".to_owned(), UserRole::SuperAdministrator, false), ("alice".to_owned(), UserRole::Operator, true)]);
    let attempt = Attempt { userid: "alice", password: "battery staple", address: "::1", agent: "", devices: &[] };
    assert!(logins.log_in(attempt).await.unwrap().must_change_password);
    remove(&mut conn, "alice").await.unwrap();
    assert!(matches!(logins.log_in(attempt).await, Err(LoginError::Wrong)));
    let sessions: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sessions").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(sessions, 0);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn the_last_super_administrator_stays_one(pool: PgPool) {
    let (mut conn, clock) = (pool.acquire().await.unwrap(), Clock::default());
    create_admin_if_none(&mut conn, &clock, Some("correct horse")).await.unwrap();
    for refused in [remove(&mut conn, "admin").await, set_role(&mut conn, "Admin", UserRole::Operator).await] {
        assert!(refused.unwrap_err().to_string().contains("last super administrator"));
    }
    set_role(&mut conn, "admin", UserRole::SuperAdministrator).await.unwrap();
    add(&mut conn, &clock, NewUser { userid: "bea", name: "Bea", role: UserRole::SuperAdministrator, password: "battery staple" }).await.unwrap();
    set_role(&mut conn, "admin", UserRole::Operator).await.unwrap();
    assert!(remove(&mut conn, "bea").await.is_err());
    assert!(remove(&mut conn, "nobody").await.unwrap_err().to_string().contains("no user"));
}

#[test]
fn what_is_printed_for_debugging_holds_no_secret() {
    let secret = "hunter2-hunter2";
    let devices = [secret.to_owned()];
    let new = NewUser { userid: "a", name: "", role: UserRole::Auditor, password: secret };
    let attempt = Attempt { userid: "a", password: secret, address: "::1", agent: "", devices: &devices };
    let login = crate::Login { session_token: secret.into(), device: secret.into(), user: UserId(1), must_change_password: false };
    let user = User { id: UserId(1), userid: "a".into(), name: String::new(), role: UserRole::Auditor };
    let session = crate::Session { id: 1, user, csrf_token: secret.into(), must_change_password: false };
    let change = crate::NewPassword { new: secret, attempt };
    for text in [format!("{new:?}"), format!("{attempt:?}"), format!("{login:?}"), format!("{session:?}"), format!("{change:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
