//! The inspector's requests, through the API server's pod proxy.

use crate::bounded::{self, Limits};
use crate::words;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use scap::protocol::{Answered, Evaluate, PORT, Phase, Status, TOKEN_HEADER};
use scap::report::Layer;
use serde::Deserialize;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The API server notes each request: there are few, and an answer comes when something has happened.
const HOLD_SECS: u64 = 3;
const TRANSFER_WITHIN: Duration = Duration::from_secs(120);
const SMALL_BYTES: usize = 64 << 10;
/// A status holds a sentence, an operating system and the paths of a package database.
const STATUS: Limits = Limits { document_bytes: 64 << 10, text_bytes: 16 << 10, depth: 16, items: 1000, held_bytes: 256 << 10 };
/// What is shown of an answer that is no success, in characters.
const SHOWN: usize = 300;
/// Of the packages, as sent (zstd).
const PACKAGES_BYTES: usize = 8 << 20;
/// Of what was asked of definitions.
const ANSWERS_BYTES: usize = 1 << 20;
const ANSWERS: Limits = Limits { document_bytes: 1 << 20, text_bytes: 64 << 10, depth: 16, items: 100_000, held_bytes: 8 << 20 };

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The API server or the pod did not answer: it may later, unless the pod is over.
    #[error("{0}")]
    Away(String),
    /// The inspector (or the API server) said no.
    #[error("{status}: {text}")]
    Refused { status: StatusCode, text: String, of_api_server: bool },
    /// The answer is beyond its limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer is not understood: {0}")]
    Nonsense(String),
}

/// One pod's inspector.
pub(crate) struct Proxy {
    client: Client,
    base: String,
    token: String,
}

impl Proxy {
    pub(crate) fn new(client: Client, namespace: &str, pod: &str, token: &[u8]) -> Self {
        let base = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{PORT}/proxy");
        Self { client, base, token: String::from_utf8_lossy(token).into_owned() }
    }

    /// The inspector holds its answer back until it is past the phase, for some seconds at most.
    pub(crate) async fn status(&self, past: Phase) -> Result<Status, ProxyError> {
        let phase = serde_json::to_value(past).map_err(|error| ProxyError::Nonsense(error.to_string()))?;
        let path = format!("/status?past={}&hold={HOLD_SECS}", phase.as_str().unwrap_or_default());
        let body = self.ask(Method::GET, &path, Bytes::new(), SMALL_BYTES, ANSWER_WITHIN).await?;
        bounded::from_json(&body, STATUS).map_err(|error| ProxyError::Nonsense(error.to_string()))
    }

    /// `packed`: the content as zstd; `sha256`: of the content itself, hex.
    pub(crate) async fn put_content(&self, sha256: &str, packed: Bytes) -> Result<(), ProxyError> {
        self.ask(Method::PUT, &format!("/content/{sha256}"), packed, SMALL_BYTES, TRANSFER_WITHIN).await.map(drop)
    }

    /// The installed packages as sent: zstd.
    pub(crate) async fn packages(&self) -> Result<Bytes, ProxyError> {
        self.ask(Method::GET, "/packages", Bytes::new(), PACKAGES_BYTES, TRANSFER_WITHIN).await
    }

    /// What the content `sha256`, put before, says of the image. `None`: the inspector evaluates already.
    pub(crate) async fn answers(&self, sha256: &str) -> Result<Option<Answered>, ProxyError> {
        match self.ask(Method::POST, &format!("/answers/{sha256}"), Bytes::new(), ANSWERS_BYTES, TRANSFER_WITHIN).await {
            Ok(body) => bounded::from_json(&body, ANSWERS).map(Some).map_err(|error| ProxyError::Nonsense(error.to_string())),
            Err(ProxyError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn evaluate(&self, what: &Evaluate) -> Result<(), ProxyError> {
        let body = serde_json::to_vec(what).map_err(|error| ProxyError::Nonsense(error.to_string()))?;
        self.ask(Method::POST, "/evaluate", body.into(), SMALL_BYTES, ANSWER_WITHIN).await.map(drop)
    }

    /// The report as sent: zstd, at most `limit` bytes of it.
    pub(crate) async fn report(&self, limit: usize) -> Result<Bytes, ProxyError> {
        self.ask(Method::GET, "/report", Bytes::new(), limit, TRANSFER_WITHIN).await
    }

    /// `kind`: `arf` or `html`; zstd, at most `limit` bytes. `None`: there is none.
    pub(crate) async fn artifact(&self, kind: &str, layer: Layer, limit: usize) -> Result<Option<Bytes>, ProxyError> {
        match self.ask(Method::GET, &format!("/{kind}/{}", layer.as_str()), Bytes::new(), limit, TRANSFER_WITHIN).await {
            Ok(body) => Ok(Some(body)),
            Err(ProxyError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes, limit: usize, within: Duration) -> Result<Bytes, ProxyError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(TOKEN_HEADER, &self.token)
            .header(http::header::CONTENT_TYPE, if path == "/evaluate" { "application/json" } else { "application/octet-stream" })
            .body(Body::from(body))
            .map_err(|error| ProxyError::Nonsense(error.to_string()))?;
        match tokio::time::timeout(within, self.exchange(request, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProxyError::Away(format!("no answer within {} seconds", within.as_secs()))),
        }
    }

    async fn exchange(&self, request: Request<Body>, limit: usize) -> Result<Bytes, ProxyError> {
        let answer = self.client.send(request).await.map_err(|error| ProxyError::Away(error.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = if head.status.is_success() { collect(body, limit).await? } else { collect(body, SMALL_BYTES).await.unwrap_or_default() };
        if head.status.is_success() {
            return Ok(body);
        }
        Err(unsuccessful(head.status, &body))
    }
}

/// What an answer means that is no success: the API server's own noes are objects of the kind Status, of which the sentence is kept; the inspector's are plain
/// texts.
fn unsuccessful(status: StatusCode, body: &[u8]) -> ProxyError {
    let said = bounded::from_json::<Said>(body, STATUS).ok().filter(|said| said.kind == "Status");
    let of_api_server = said.is_some();
    let text = words::clean(&said.map_or_else(|| String::from_utf8_lossy(body).into_owned(), |said| said.message), SHOWN);
    let passing = match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => true,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
        // With 404 the pod is gone, which whoever looks at the pod will see.
        // With 400 ("address not allowed") it has no address yet, or none any more.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => of_api_server,
        _ => false,
    };
    if passing { ProxyError::Away(format!("{status}: {text}")) } else { ProxyError::Refused { status, text, of_api_server } }
}

/// An object of the kind Status.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, ProxyError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ProxyError::Away(error.to_string()))?;
        let Some(data) = frame.data_ref() else { continue };
        if whole.len() + data.len() > limit {
            return Err(ProxyError::TooLarge(limit));
        }
        whole.extend_from_slice(data);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_away(code: u16, text: &str) -> bool {
        matches!(unsuccessful(StatusCode::from_u16(code).unwrap(), text.as_bytes()), ProxyError::Away(_))
    }

    #[test]
    fn a_busy_api_server_is_asked_again_and_a_no_of_the_inspector_is_heard() {
        let status = |code: u16| format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"x","code":{code}}}"#);
        for code in [400, 404, 408, 429, 500, 502, 503, 504] {
            assert!(is_away(code, &status(code)), "{code}");
        }
        assert!(is_away(503, "Error trying to reach service: 'dial tcp 10.0.0.7:8765: connect: connection refused'"));
        assert!(is_away(429, "Too many requests, please try again later."));
        for (code, text) in [(400, "the body is no zstd"), (404, "no such layer"), (409, "not ready"), (413, "too large"), (500, "x"), (507, "no space left")] {
            assert!(!is_away(code, text), "{code}");
        }
        assert!(!is_away(403, &status(403)));
    }

    #[test]
    fn an_answer_is_shown_as_one_short_sentence() {
        let shown = |body: &str| unsuccessful(StatusCode::FORBIDDEN, body.as_bytes()).to_string();
        assert_eq!(shown(r#"{"kind":"Status","message":"pods is forbidden","metadata":{},"code":403}"#), "403 Forbidden: pods is forbidden");
        assert_eq!(shown("a\0b\nc"), "403 Forbidden: a b c");
        assert!(shown(&"x".repeat(60_000)).len() < 400);
    }
}
