use super::*;
use crate::{Connection, Settings, client, refresh};
use model::ids::ServerId;
use model::{Clock, Sealer};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// An API server that answers as `answer` says: the number of the request, and its path.
async fn answering(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> (Connection, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heads, number) = (asked.clone(), AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            heads.lock().unwrap().push(head);
            let body = answer(number.fetch_add(1, Ordering::SeqCst), &path);
            let text = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = socket.write_all(text.as_bytes()).await;
        }
    });
    (Connection::from_token(&format!("http://{address}"), "token", "").unwrap(), asked)
}

async fn provider(pool: &PgPool) -> ProviderId {
    sqlx::query_scalar(
        "INSERT INTO providers (name, kind, endpoint, credentials, created_at, updated_at) VALUES ('lab', 'kubernetes', 'http://lab', '', NOW(), NOW()) RETURNING id",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

fn inventory(pool: &PgPool, objects_max: usize) -> Inventory {
    let settings = Settings { objects_max, ..Settings::default() };
    Inventory { pool: pool.clone(), clock: Clock::default(), sealer: Sealer::new(&[1; 32]), settings, server: ServerId(1) }
}

async fn read_projects(
    pool: &PgPool,
    objects_max: usize,
    answer: impl Fn(usize, &str) -> String + Send + Sync + 'static,
) -> (Result<(), Trouble>, Vec<String>) {
    let (ctx, provider) = (inventory(pool, objects_max), provider(pool).await);
    let (connection, asked) = answering(answer).await;
    let reader = Reader { ctx: &ctx, provider, client: client(&connection).await.unwrap(), server: "https://lab".into() };
    let outcome = reader.read::<Namespace>(None).await;
    let asked = asked.lock().unwrap().clone();
    (outcome, asked)
}

fn namespace(name: &str) -> Value {
    json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "resourceVersion": "1" }, "status": { "phase": "Active" } })
}

fn page(items: Vec<Value>, next: &str, remaining: Option<i64>) -> String {
    json!({ "metadata": { "resourceVersion": "5", "continue": next, "remainingItemCount": remaining }, "items": items }).to_string()
}

fn error(outcome: Result<(), Trouble>) -> ConnectError {
    match outcome {
        Err(Trouble::Provider(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn names(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM projects WHERE archived_at IS NULL ORDER BY name").fetch_all(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn an_object_that_comes_twice_is_read_once(pool: PgPool) {
    let answer = |number: usize, _: &str| match number {
        0 => page(vec![namespace("a"), namespace("a"), namespace("b")], "more", Some(i64::MAX)),
        _ => page(vec![namespace("b"), namespace("c")], "", None),
    };
    let (outcome, asked) = read_projects(&pool, 100, answer).await;
    outcome.unwrap();
    assert_eq!(names(&pool).await, ["a", "b", "c"]);
    assert!(asked.iter().all(|head| head.to_lowercase().contains(&format!("user-agent: tidewaiter/{}\r\n", env!("CARGO_PKG_VERSION")))), "{asked:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_list_that_brings_the_same_again_and_again_ends(pool: PgPool) {
    let (outcome, asked) = read_projects(&pool, 100, |_, _| page(vec![namespace("a")], "more", Some(-5))).await;
    let error = error(outcome);
    assert_eq!((error.reason, asked.len()), (Reason::TooLarge, 2), "{error}");
    assert!(error.message.contains("without anything new"), "{error}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_list_without_end_ends_at_the_most_objects(pool: PgPool) {
    let answer = |number: usize, _: &str| page((0..10).map(|each| namespace(&format!("n{number}-{each}"))).collect(), "more", Some(1));
    let (outcome, asked) = read_projects(&pool, 35, answer).await;
    let error = error(outcome);
    assert_eq!((error.reason, asked.len()), (Reason::TooLarge, 4), "{error}");
    assert!(error.message.contains("more than 35 projects"), "{error}");
    assert_eq!(names(&pool).await.len(), 30, "what came before stays, and nothing is archived");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones(pool: PgPool) {
    let answer = |_: usize, path: &str| match path.contains("limit=20&") || path.ends_with("limit=20") {
        true => page(vec![namespace("a")], "", None),
        false => format!("[{}]", " ".repeat(17 << 20)),
    };
    let (outcome, asked) = read_projects(&pool, 100, answer).await;
    outcome.unwrap();
    let paths: Vec<_> = asked.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    // The first time without a part of the shared memory.
    assert_eq!(paths, [500, 500, 100, 20].map(|limit| format!("/api/v1/namespaces?limit={limit}")));
    assert_eq!(names(&pool).await, ["a"]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_page_of_which_even_one_object_is_too_large_says_so(pool: PgPool) {
    let (outcome, asked) = read_projects(&pool, 100, |_, _| format!("[{}]", "{},".repeat(500_000))).await;
    let error = error(outcome);
    assert_eq!((error.reason, asked.len()), (Reason::TooLarge, 6), "{error}");
    assert!(error.message.contains("values"), "{error}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn more_objects_than_any_page_has_are_not_kept(pool: PgPool) {
    let (outcome, _) = read_projects(&pool, 1 << 20, |_, _| format!(r#"{{"items":[{}{{}}]}}"#, "{},".repeat(ITEMS_MAX + 5))).await;
    let error = error(outcome);
    assert_eq!(error.reason, Reason::TooLarge, "{error}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn objects_without_a_proper_name_are_refused_without_being_repeated(pool: PgPool) {
    for metadata in [json!({}), json!({ "name": "a", "uid": "secret\u{0}" }), json!({ "name": "secret".repeat(50), "uid": "u" })] {
        sqlx::query("DELETE FROM providers").execute(&pool).await.unwrap();
        let (outcome, _) = read_projects(&pool, 100, move |_, _| page(vec![json!({ "metadata": metadata })], "", None)).await;
        let error = error(outcome);
        assert!(error.message.contains("no proper name") && !error.message.contains("secret"), "{error}");
    }
}

#[test]
fn pods_with_many_containers_are_saved_in_parts() {
    let pod = |containers: usize| {
        let spec = json!({ "containers": vec![json!({ "name": "c" }); containers] });
        serde_json::from_value::<Pod>(json!({ "metadata": {}, "spec": spec })).unwrap()
    };
    let pods: Vec<Pod> = [900, 900, 900, 5_000, 1, 1].into_iter().map(pod).collect();
    let parts: Vec<usize> = pods.chunk_by(few_containers()).map(<[Pod]>::len).collect();
    assert_eq!(parts, [3, 1, 2]);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_paused_provider_is_not_read(pool: PgPool) {
    queue::setup(&pool).await.unwrap();
    let ctx = inventory(&pool, 100);
    let (connection, asked) = answering(|_, _| page(vec![], "", None)).await;
    let mut conn = pool.acquire().await.unwrap();
    let new = crate::provider::NewProvider { name: "lab".into(), kind: crate::Kind::Kubernetes, connection };
    let (id, task) = crate::provider::create(&mut conn, &ctx.clock, &ctx.sealer, "admin", &new).await.unwrap();
    assert!(crate::pause::pause(&mut conn, &ctx.clock, id).await.unwrap());
    let since = crate::pause::paused_at(&mut conn, id).await.unwrap();
    assert!(crate::pause::pause(&mut conn, &ctx.clock, id).await.unwrap());
    assert_eq!(crate::pause::paused_at(&mut conn, id).await.unwrap(), since, "pausing again changes nothing");
    assert!(crate::provider::request_refresh(&mut conn, &ctx.clock, "admin", id).await.unwrap_err().to_string().contains("is paused"));
    refresh(&ctx, id, Some(task)).await.unwrap();
    let ended = task::find(&mut conn, task).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.reason_code.as_str()), (Some(task::TaskStatus::Cancelled), "provider_paused"));
    assert!(asked.lock().unwrap().is_empty());
    assert!(crate::pause::resume(&mut conn, id).await.unwrap());
    assert!(!crate::pause::resume(&mut conn, ProviderId(id.0 + 1)).await.unwrap());
    crate::provider::request_refresh(&mut conn, &ctx.clock, "admin", id).await.unwrap();
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_refresh_that_takes_too_long_ends_and_says_so(pool: PgPool) {
    queue::setup(&pool).await.unwrap();
    let mut ctx = inventory(&pool, 1 << 20);
    ctx.settings.refresh_limit_secs = 1;
    let answer = |number: usize, path: &str| match path {
        "/version" => r#"{"gitVersion":"v1.36.2"}"#.to_owned(),
        _ => page(vec![namespace(&format!("n{number}"))], "more", None),
    };
    let (connection, _) = answering(answer).await;
    let mut conn = pool.acquire().await.unwrap();
    let new = crate::provider::NewProvider { name: "lab".into(), kind: crate::Kind::Kubernetes, connection };
    let (id, task) = crate::provider::create(&mut conn, &ctx.clock, &ctx.sealer, "admin", &new).await.unwrap();
    refresh(&ctx, id, Some(task)).await.unwrap();
    let (status, message): (String, String) = sqlx::query_as("SELECT status, status_message FROM providers").fetch_one(&pool).await.unwrap();
    assert_eq!(status, "too_large");
    assert!(message.contains("longer than 1 seconds"), "{message}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn tidewaiters_own_trouble_with_an_answer_is_said_in_the_status(pool: PgPool) {
    queue::setup(&pool).await.unwrap();
    sqlx::query("ALTER TABLE projects ADD CONSTRAINT refuse CHECK (name <> 'a')").execute(&pool).await.unwrap();
    let ctx = inventory(&pool, 100);
    let answer = |_: usize, path: &str| match path {
        "/version" => r#"{"gitVersion":"v1.36.2"}"#.to_owned(),
        _ => page(vec![namespace("a")], "", None),
    };
    let (connection, _) = answering(answer).await;
    let mut conn = pool.acquire().await.unwrap();
    let new = crate::provider::NewProvider { name: "lab".into(), kind: crate::Kind::Kubernetes, connection };
    let (id, task) = crate::provider::create(&mut conn, &ctx.clock, &ctx.sealer, "admin", &new).await.unwrap();
    assert!(refresh(&ctx, id, Some(task)).await.is_err(), "the job is tried again");
    let (status, message, refresh): (String, String, String) =
        sqlx::query_as("SELECT status, status_message, refresh_error FROM providers").fetch_one(&pool).await.unwrap();
    assert_eq!(status, "error");
    for words in [&message, &refresh] {
        assert!(words.contains("could not be processed") && !words.contains("constraint"), "{words}");
    }
}
