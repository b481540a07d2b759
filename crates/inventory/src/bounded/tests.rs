use super::*;
use futures::{StreamExt as _, stream};
use http_body_util::StreamBody;
use std::convert::Infallible;
use tower::ServiceExt as _;

const SMALL: Limits = Limits { bytes: 100, nodes: 10, secs: Some(5), line: false };

type Pieces = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn body(pieces: &[String]) -> Pieces {
    let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from(piece.clone())))).collect();
    StreamBody::new(stream::iter(frames))
}

/// What a request with `limits` gets of an answer in `pieces`.
async fn ask(status: u16, pieces: &[&str], uri: &str, limits: Option<Limits>) -> Result<(u16, String), BodyLimit> {
    let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
    let service = BoundedLayer::new().layer(tower::service_fn(move |_: Request<()>| {
        let answer = Response::builder().status(status).body(body(&pieces)).unwrap();
        async move { Ok::<_, Infallible>(answer) }
    }));
    let mut request = Request::get(uri).body(()).unwrap();
    if let Some(limits) = limits {
        request.extensions_mut().insert(limits);
    }
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    match body.collect().await {
        Ok(whole) => Ok((head.status.as_u16(), String::from_utf8(whole.to_bytes().to_vec()).unwrap())),
        Err(error) => Err(*error.downcast::<BodyLimit>().unwrap()),
    }
}

#[tokio::test]
async fn a_body_ends_at_its_limits() {
    let long = "x".repeat(101);
    assert_eq!(ask(200, &["[1,", "2]"], "/version", Some(SMALL)).await, Ok((200, "[1,2]".into())));
    assert_eq!(ask(200, &[&long], "/version", Some(SMALL)).await, Err(BodyLimit::Bytes { bytes: 100, line: false }));
    assert_eq!(ask(200, &["[{},{},{},{},{},", "{},{}]"], "/version", Some(SMALL)).await, Err(BodyLimit::Nodes { nodes: 10, line: false }));
    // Commas and brackets in texts are no values, whatever is escaped and wherever the pieces end.
    let text = r#"{"a":"{[,,,,,,,,\",,,\\","#;
    for cut in 1..text.len() {
        assert!(ask(200, &[&text[..cut], &text[cut..], "\"b\":1}"], "/version", Some(SMALL)).await.is_ok(), "{cut}");
    }
}

#[tokio::test]
async fn each_line_of_a_watch_has_limits_of_its_own() {
    let limits = Limits { line: true, secs: None, ..SMALL };
    let line = "{\"a\":[1,2,3]}\n";
    let many: Vec<&str> = std::iter::repeat_n(line, 100).collect();
    assert_eq!(ask(200, &many, "/api/v1/pods?watch=true", Some(limits)).await.unwrap().1.len(), line.len() * 100);
    let long = "x".repeat(60);
    assert_eq!(ask(200, &["{}\n", &long, &long], "/api/v1/pods?watch=true", Some(limits)).await, Err(BodyLimit::Bytes { bytes: 100, line: true }));
}

#[test]
fn what_a_request_asks_decides_its_limits() {
    let of = |uri: &str| Limits::of(&Request::get(uri).body(()).unwrap());
    assert_eq!(of("/version"), Limits::OTHER);
    assert_eq!(of("/api/v1/pods?limit=1"), Limits::OTHER);
    assert_eq!(of("/api/v1/pods?watch=true&resourceVersion=1"), Limits::WATCH);
    assert_eq!(of("/api/v1/pods?resourceVersion=1&watch=1"), Limits::WATCH);
    assert_eq!(of("/api/v1/pods?watch=false"), Limits::OTHER);
    assert_eq!(of("/api/v1/namespaces/tidewaiter/pods/p:8765/proxy/report"), Limits::PROXIED);
    // A namespace, and a pod, may have any name.
    assert_eq!(of("/api/v1/namespaces/proxy/secrets/x"), Limits::OTHER);
    assert_eq!(of("/api/v1/namespaces/pods/pods/proxy/status"), Limits::OTHER);
    assert_eq!(of("/behind/api/v1/namespaces/a/pods/p:8765/proxy/report"), Limits::PROXIED);
    assert!([Limits::PAGE, Limits::SMALL, Limits::OTHER, Limits::PROXIED].iter().all(|limits| limits.bytes <= 64 << 20 && limits.secs.is_some()));
}

#[tokio::test]
async fn only_what_a_status_of_kubernetes_says_is_passed_on() {
    let status = r#"{"kind":"Status","message":"pods is\u0007 forbidden\n now","reason":"Forbidden","details":{"causes":[{"message":"secret"}]}}"#;
    let (code, text) = ask(403, &[status], "/api/v1/pods", None).await.unwrap();
    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, said["message"].as_str(), said["code"].as_u64()), (403, Some("pods is forbidden now"), Some(403)));
    assert!(!text.contains("secret"), "{text}");

    let endless = "secret ".repeat(1 << 18);
    for (status, body) in [(500, "secret"), (404, r#"{"message":"secret"}"#), (403, "<html>secret</html>"), (302, "secret"), (503, &endless)] {
        let (_, text) = ask(status, &[body], "/version", None).await.unwrap();
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!((said["reason"].as_str(), said["code"].as_u64()), (Some(NOT_A_STATUS), Some(status.into())));
    }
    // A scan pod's own words are for those who ask it.
    let (code, text) = ask(409, &["not ready"], "/api/v1/namespaces/t/pods/p:1/proxy/report", None).await.unwrap();
    assert_eq!((code, text.as_str()), (409, "not ready"));
}

#[tokio::test]
async fn a_body_that_drips_ends_in_time() {
    let drip = stream::unfold((), |()| async {
        sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"["))), ()))
    });
    let limits = Limits { bytes: 1 << 20, nodes: 1 << 20, secs: Some(1), line: false };
    let error = BoundedBody::new(StreamBody::new(Box::pin(drip)), limits, Arc::new(Semaphore::new(1))).collect().await.unwrap_err();
    assert_eq!(error.downcast_ref::<BodyLimit>(), Some(&BodyLimit::Slow { secs: 1 }));
}

/// A body that gives `pieces`, and then nothing more.
fn unfinished(pieces: Vec<String>, long_line: &Arc<Semaphore>) -> BoundedBody<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
    let frames = pieces.into_iter().map(|piece| Ok(Frame::data(Bytes::from(piece))));
    let body = StreamBody::new(Box::pin(stream::iter(frames).chain(stream::pending())));
    BoundedBody::new(body, Limits::WATCH, long_line.clone())
}

#[tokio::test(start_paused = true)]
async fn a_long_line_has_to_end_soon_and_of_a_client_one_is_read_at_a_time() {
    let own = Arc::new(Semaphore::new(1));
    let half = || vec!["x".repeat(SHORT_LINE_BYTES + 1), "y".into()];
    let mut first = unfinished(half(), &own);
    assert!(first.frame().await.unwrap().is_ok() && first.frame().await.unwrap().is_ok());
    let mut second = unfinished(half(), &own);
    assert!(second.frame().await.unwrap().is_ok());
    let waits = tokio::time::timeout(Duration::from_secs(LONG_LINE_SECS - 1), second.frame()).await;
    assert!(waits.is_err(), "its client's place is taken");
    let late = first.frame().await.unwrap().unwrap_err();
    assert_eq!(*late.downcast::<BodyLimit>().unwrap(), BodyLimit::Late { secs: LONG_LINE_SECS, line: true });
    drop(first);
    assert!(second.frame().await.unwrap().is_ok(), "the place is free again");
    let mut short = unfinished(vec!["x".repeat(SHORT_LINE_BYTES - 1), "\n{}".into()], &own);
    assert!(short.frame().await.unwrap().is_ok() && short.frame().await.unwrap().is_ok());
    let silent = tokio::time::timeout(Duration::from_secs(10 * LONG_LINE_SECS), short.frame()).await;
    assert!(silent.is_err(), "a short line may take its time");
}
