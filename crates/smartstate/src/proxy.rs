//! The inspector's requests, through the API server's pod proxy.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use scap::protocol::{Evaluate, PORT, Status, TOKEN_HEADER};
use scap::report::Layer;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const TRANSFER_WITHIN: Duration = Duration::from_secs(120);
const SMALL_BYTES: usize = 1 << 20;
/// Most bytes of a report or result, as sent (zstd).
pub(crate) const PACKED_BYTES: usize = 96 << 20;

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
        let text: String = String::from_utf8_lossy(&body).chars().take(500).collect();
        // A 404 of the API server, not of the inspector: the pod is gone, which whoever looks at the pod will see.
        let pod_is_gone = head.status == StatusCode::NOT_FOUND && text.contains(r#""kind":"Status""#);
        if head.status.is_server_error() || pod_is_gone {
            return Err(ProxyError::Away(format!("{}: {text}", head.status)));
        }
        Err(ProxyError::Refused { status: head.status, text })
    }
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
