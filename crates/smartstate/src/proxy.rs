//! The inspector's requests, through the API server's pod proxy.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use scap::protocol::{Answered, Evaluate, PORT, Status, TOKEN_HEADER};
use scap::report::Layer;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const TRANSFER_WITHIN: Duration = Duration::from_secs(120);
const SMALL_BYTES: usize = 1 << 20;
/// Of the packages, as sent (zstd).
const PACKAGES_BYTES: usize = 16 << 20;
/// Most bytes of a report or result, as sent (zstd).
pub(crate) const PACKED_BYTES: usize = 64 << 20;

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The API server or the pod did not answer: it may later, unless the pod is over.
    #[error("{0}")]
    Away(String),
    /// The inspector (or the API server) said no.
    #[error("{status}: {text}")]
    Refused { status: StatusCode, text: String },
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

    pub(crate) async fn status(&self) -> Result<Status, ProxyError> {
        let body = self.ask(Method::GET, "/status", Bytes::new(), SMALL_BYTES, ANSWER_WITHIN).await?;
        serde_json::from_slice(&body).map_err(|error| ProxyError::Nonsense(error.to_string()))
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
        match self.ask(Method::POST, &format!("/answers/{sha256}"), Bytes::new(), SMALL_BYTES, TRANSFER_WITHIN).await {
            Ok(body) => serde_json::from_slice(&body).map(Some).map_err(|error| ProxyError::Nonsense(error.to_string())),
            Err(ProxyError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn evaluate(&self, what: &Evaluate) -> Result<(), ProxyError> {
        let body = serde_json::to_vec(what).map_err(|error| ProxyError::Nonsense(error.to_string()))?;
        self.ask(Method::POST, "/evaluate", body.into(), SMALL_BYTES, ANSWER_WITHIN).await.map(drop)
    }

    /// The report as sent: zstd.
    pub(crate) async fn report(&self) -> Result<Bytes, ProxyError> {
        self.ask(Method::GET, "/report", Bytes::new(), PACKED_BYTES, TRANSFER_WITHIN).await
    }

    /// `kind`: `arf` or `html`; zstd. `None`: there is none.
    pub(crate) async fn artifact(&self, kind: &str, layer: Layer) -> Result<Option<Bytes>, ProxyError> {
        match self.ask(Method::GET, &format!("/{kind}/{}", layer.as_str()), Bytes::new(), PACKED_BYTES, TRANSFER_WITHIN).await {
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
        Err(unsuccessful(head.status, String::from_utf8_lossy(&body).chars().take(500).collect()))
    }
}

/// What an answer means that is no success: the API server's own noes are objects of the kind Status, the inspector's are plain texts.
fn unsuccessful(status: StatusCode, text: String) -> ProxyError {
    let of_api_server = text.contains(r#""kind":"Status""#);
    let passing = match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => true,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
        // With 404 the pod is gone, which whoever looks at the pod will see.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_FOUND => of_api_server,
        _ => false,
    };
    if passing { ProxyError::Away(format!("{status}: {text}")) } else { ProxyError::Refused { status, text } }
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
        matches!(unsuccessful(StatusCode::from_u16(code).unwrap(), text.into()), ProxyError::Away(_))
    }

    #[test]
    fn a_busy_api_server_is_asked_again_and_a_no_of_the_inspector_is_heard() {
        let status = |code: u16| format!(r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"x","code":{code}}}"#);
        for code in [404, 408, 429, 500, 502, 503, 504] {
            assert!(is_away(code, &status(code)), "{code}");
        }
        assert!(is_away(503, "Error trying to reach service: 'dial tcp 10.0.0.7:8765: connect: connection refused'"));
        assert!(is_away(429, "Too many requests, please try again later."));
        for (code, text) in [(400, "the body is no zstd"), (404, "no such layer"), (409, "not ready"), (413, "too large"), (500, "x"), (507, "no space left")] {
            assert!(!is_away(code, text), "{code}");
        }
        assert!(!is_away(403, &status(403)));
    }
}
