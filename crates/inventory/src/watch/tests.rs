use super::*;
use crate::{Connection, Settings, client};
use model::ids::ServerId;
use model::{Clock, Sealer};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// An API server that answers every request with `body` and closes the connection.
async fn answering(body: impl Into<String>) -> Connection {
    let body = body.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    Connection::from_token(&format!("http://{address}"), "token", "").unwrap()
}

/// A provider with one pod of version 90, watched up to version 100.
async fn provider(pool: &PgPool) -> ProviderId {
    let provider: ProviderId = sqlx::query_scalar(
        r#"INSERT INTO providers (name, kind, endpoint, credentials, positions, created_at, updated_at)
           VALUES ('lab', 'kubernetes', 'http://lab', '', '{"projects": "100", "nodes": "100", "pods": "100"}', NOW(), NOW()) RETURNING id"#,
    )
    .fetch_one(pool)
    .await
    .unwrap();
    sqlx::query(
        "WITH project AS (INSERT INTO projects (provider_id, uid, name, resource_version, created_at, first_seen_at) VALUES ($1, 'u', 'shop', 90, NOW(), NOW()) RETURNING id)
         INSERT INTO pods (provider_id, project_id, uid, name, resource_version, created_at, first_seen_at) SELECT $1, id, 'p', 'cart', 90, NOW(), NOW() FROM project",
    )
    .bind(provider)
    .execute(pool)
    .await
    .unwrap();
    provider
}

fn inventory(pool: &PgPool) -> Inventory {
    Inventory { pool: pool.clone(), clock: Clock::default(), sealer: Sealer::new(&[1; 32]), settings: Settings::default(), server: ServerId(1) }
}

async fn reader<'a>(ctx: &'a Inventory, provider: ProviderId, connection: &Connection) -> Reader<'a> {
    Reader { ctx, provider, client: client(connection).await.unwrap(), server: connection.server.clone() }
}

async fn live_pods(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM pods WHERE archived_at IS NULL").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_cluster_restored_from_a_backup_is_read_as_it_is_now(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    let restored = reader(&ctx, provider, &answering(r#"{"metadata":{"resourceVersion":"40"},"items":[]}"#).await).await;
    assert!(restored.went_back::<Pod>("100").await.unwrap());
    assert!(!restored.went_back::<Pod>("40").await.unwrap());
    restored.read_all(None).await.unwrap();
    assert_eq!(live_pods(&pool).await, 0, "a pod that the backup did not have");
    let known = positions::find(&mut pool.acquire().await.unwrap(), provider).await.unwrap();
    assert_eq!(known[Pod::PLURAL], "40");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_pod_that_a_list_is_too_old_to_know_stays(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    sqlx::query("UPDATE pods SET resource_version = 120").execute(&pool).await.unwrap();
    let reader = reader(&ctx, provider, &answering(r#"{"metadata":{"resourceVersion":"100"},"items":[]}"#).await).await;
    reader.read_all(None).await.unwrap();
    assert_eq!(live_pods(&pool).await, 1);
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_version_that_the_api_server_does_not_know_yet_means_reading_anew(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    let answer = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"Too large resource version: 100, current: 40","reason":"Timeout","code":504}}"#;
    let reader = reader(&ctx, provider, &answering(answer).await).await;
    let (ear, _receiver) = Ear::new();
    let trouble = follow_once::<Pod>(&reader, &mut "100".into(), &ear).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Expired), "{trouble:?}");
    let (positions, version): (Value, i64) =
        sqlx::query_as("SELECT positions, (SELECT resource_version FROM pods) FROM providers").fetch_one(&pool).await.unwrap();
    assert_eq!((positions, version), (serde_json::json!({}), 0));
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_change_that_cannot_be_read_is_said_and_not_asked_for_again(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    let reader = reader(&ctx, provider, &answering("{\"type\":\"ADDED\",\"object\":{\"metadata\":5}}\n").await).await;
    let (ear, _receiver) = Ear::new();
    let trouble = follow_once::<Pod>(&reader, &mut "100".into(), &ear).await.unwrap_err();
    let Trouble::Provider(error) = trouble else { panic!("{trouble:?}") };
    assert_eq!(error.reason, crate::Reason::Error);
    assert!(error.message.contains("cannot read"), "{error:?}");
    let known = positions::find(&mut pool.acquire().await.unwrap(), provider).await.unwrap();
    assert!(known.is_empty(), "{known:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn a_line_without_end_is_said_and_not_asked_for_again(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    let endless = format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"101\"}}}}}}\n{}",
        "x".repeat(9 << 20)
    );
    let reader = reader(&ctx, provider, &answering(endless).await).await;
    let (ear, _receiver) = Ear::new();
    let mut version = "100".to_owned();
    let trouble = follow_once::<Pod>(&reader, &mut version, &ear).await.unwrap_err();
    let Trouble::Provider(error) = trouble else { panic!("{trouble:?}") };
    assert_eq!((error.reason, version.as_str()), (crate::Reason::TooLarge, "101"), "{error}");
    assert!(error.message.contains("8 MiB in one line of a watch"), "{error}");
    let known = positions::find(&mut pool.acquire().await.unwrap(), provider).await.unwrap();
    assert!(known.is_empty(), "{known:?}");
}

#[sqlx::test(migrator = "model::MIGRATOR")]
async fn lines_are_told_as_they_come_and_a_cut_one_is_asked_for_again(pool: PgPool) {
    let (ctx, provider) = (inventory(&pool), provider(&pool).await);
    let bookmark = |version: u32| format!(r#"{{"type":"BOOKMARK","object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"resourceVersion":"{version}"}}}}}}"#);
    let text = format!("{}\r\n\n{}\n{}", bookmark(101), bookmark(102), &bookmark(103)[..20]);
    let reader = reader(&ctx, provider, &answering(text).await).await;
    let (ear, mut receiver) = Ear::new();
    let mut version = "100".to_owned();
    follow_once::<Pod>(&reader, &mut version, &ear).await.unwrap();
    assert_eq!(version, "102");
    let told: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).map(|told| told.version).collect();
    assert_eq!(told, ["100", "101", "102"]);
}

#[tokio::test]
async fn what_is_not_saved_yet_is_bounded_by_its_weight() {
    let (ear, _receiver) = Ear::new();
    // A line that weighs more than there is room for comes alone.
    let heavy = ear.room_for(8 << 20, 1 << 30).await.unwrap();
    assert!(timeout(Duration::from_millis(50), ear.room_for(1, 0)).await.is_err());
    drop(heavy);
    let small = ear.room_for(1, 0).await.unwrap();
    assert!(timeout(Duration::from_millis(50), ear.room_for(1, 1 << 30)).await.is_err());
    drop(small);
    drop(ear.room_for(1, 1 << 30).await.unwrap());
}
