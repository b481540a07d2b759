//! Bounds what a provider sends: bytes, JSON nodes and time of each body, and what its errors may say. Every client goes through this layer.
//!
//! Bytes alone do not bound memory: two bytes of `{}` become a struct of hundreds. So openers and commas outside of strings are counted too.

use crate::room;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tower::{BoxError, Layer, Service};

/// Longest text of an error that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 4_000;
const ERROR_BYTES_MAX: usize = 1 << 20;
/// What a watch may have of a line before the line needs a place among the long ones, see [`room::long_lines`].
const SHORT_LINE_BYTES: usize = 64 << 10;
/// A long line has to be complete so long after it got its place.
const LONG_LINE_SECS: u64 = 10;
/// `reason` of the status that stands for an error answer that was none of Kubernetes'.
pub(crate) const NOT_A_STATUS: &str = "NotAStatus";

/// Why reading a body stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyLimit {
    /// Too many bytes.
    #[error("more than {} MiB in one {}", .bytes >> 20, if *.line { "line of a watch" } else { "answer" })]
    Bytes {
        /// The limit.
        bytes: usize,
        /// Of a line, else of the whole body.
        line: bool,
    },
    /// Too many values and fields.
    #[error("more than {nodes} values in one {}", if *.line { "line of a watch" } else { "answer" })]
    Nodes {
        /// The limit.
        nodes: usize,
        /// Of a line, else of the whole body.
        line: bool,
    },
    /// What takes of the shared memory has to come soon.
    #[error("a large {} that was not complete within {secs} seconds", if *.line { "line of a watch" } else { "page of a list" })]
    Late {
        /// The limit.
        secs: u64,
        /// A line of a watch, else a page of a list.
        line: bool,
    },
    /// It drips.
    #[error("an answer that was not complete within {secs} seconds")]
    Slow {
        /// The limit.
        secs: u64,
    },
}

/// What one body may have. A request can carry its own as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) nodes: usize,
    /// `None`: as long as it is asked for.
    pub(crate) secs: Option<u64>,
    /// The limits hold for each line.
    pub(crate) line: bool,
}

impl Limits {
    /// A page of a list, into shapes of our own. It has its part of the shared memory (`room`), so it has to come soon.
    pub(crate) const PAGE: Self = Self { bytes: 8 << 20, nodes: 100_000, secs: Some(10), line: false };
    /// A page that takes nothing of the shared memory.
    pub(crate) const SMALL_PAGE: Self = Self { bytes: 1 << 20, nodes: 40_000, secs: Some(60), line: false };
    /// Something that is small by its nature.
    pub(crate) const SMALL: Self = Self { bytes: 1 << 20, nodes: 20_000, secs: Some(20), line: false };
    /// One object, which etcd holds to 1.5 MiB.
    pub(crate) const ONE: Self = Self { bytes: 4 << 20, nodes: 60_000, secs: Some(20), line: false };
    /// An object, a list of a few, or the end of a log.
    const OTHER: Self = Self { bytes: 4 << 20, nodes: 60_000, secs: Some(60), line: false };
    /// A report or result of a scan pod, which is no JSON here; whoever asks for it has smaller limits.
    const PROXIED: Self = Self { bytes: 64 << 20, nodes: usize::MAX, secs: Some(120), line: false };
    const WATCH: Self = Self { bytes: 8 << 20, nodes: 200_000, secs: None, line: true };

    fn of<B>(request: &Request<B>) -> Self {
        if let Some(limits) = request.extensions().get() {
            return *limits;
        }
        let watches = |query: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "watch" && value != "false" && value != "0");
        match request.uri().query() {
            _ if is_proxied(request) => Self::PROXIED,
            Some(query) if watches(query) => Self::WATCH,
            _ => Self::OTHER,
        }
    }
}

/// It is the scan pod that answers: `…/api/v1/namespaces/NAMESPACE/pods/POD/proxy/…`.
fn is_proxied<B>(request: &Request<B>) -> bool {
    let Some((_, inside)) = request.uri().path().split_once("/api/v1/namespaces/") else { return false };
    let parts: Vec<&str> = inside.split('/').collect();
    matches!(parts[..], [_, "pods", _, "proxy", _, ..])
}

/// Bounds the bodies of a client's answers.
#[derive(Debug, Clone)]
pub(crate) struct BoundedLayer {
    /// Of the client's watches, one at a time is within a long line.
    long_line: Arc<Semaphore>,
}

impl BoundedLayer {
    pub(crate) fn new() -> Self {
        Self { long_line: Arc::new(Semaphore::new(1)) }
    }
}

impl<S> Layer<S> for BoundedLayer {
    type Service = Bounded<S>;
    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded(inner, self.long_line.clone())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Bounded<S>(S, Arc<Semaphore>);

impl<S, R, B> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (limits, proxied) = (Limits::of(&request), is_proxied(&request));
        let (answer, long_line) = (self.0.call(request), self.1.clone());
        Box::pin(async move {
            let (head, body) = answer.await.map_err(Into::into)?.into_parts();
            if !proxied && !head.status.is_success() {
                return Ok(refusal(head.status, &head.headers, body).await);
            }
            Ok(Response::from_parts(head, BoundedBody::new(body, limits, long_line).boxed_unsync()))
        })
    }
}

/// A `Status` with what the answer's own said, or, if it was none, with its number alone: what strangers write is not shown.
async fn refusal<B>(status: StatusCode, headers: &HeaderMap, body: B) -> Response<UnsyncBoxBody<Bytes, BoxError>>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        kind: String,
        message: String,
        reason: String,
    }
    let limits = Limits { bytes: ERROR_BYTES_MAX, ..Limits::SMALL };
    let whole = BoundedBody::new(body, limits, Arc::new(Semaphore::new(1))).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let said = serde_json::from_slice::<Said>(&whole).ok().filter(|said| said.kind == "Status");
    let (message, reason) = match said {
        Some(said) => (cleaned(&said.message), cleaned(&said.reason)),
        None => (status.canonical_reason().unwrap_or("an unknown status").to_owned(), NOT_A_STATUS.to_owned()),
    };
    let code = if status.is_redirection() { StatusCode::MISDIRECTED_REQUEST } else { status };
    let text = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status.as_u16() });
    let mut answer = Response::new(Full::new(Bytes::from(text.to_string())).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(after) = headers.get(header::RETRY_AFTER) {
        answer.headers_mut().insert(header::RETRY_AFTER, after.clone());
    }
    answer
}

/// One line without control characters, and not without end.
pub(crate) fn cleaned(text: &str) -> String {
    let visible: String = text.chars().take(MESSAGE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Ends in a [`BodyLimit`] instead of going beyond its limits.
struct BoundedBody<B> {
    inner: B,
    limits: Limits,
    count: Count,
    end: Option<Pin<Box<Sleep>>>,
    /// Places for long lines: the client's own, and those of all clients.
    long_lines: [PollSemaphore; 2],
    /// The places that a long line has so far.
    places: Vec<OwnedSemaphorePermit>,
    /// When the long line has to be complete.
    line_end: Option<Pin<Box<Sleep>>>,
}

impl<B> BoundedBody<B> {
    fn new(inner: B, limits: Limits, long_line: Arc<Semaphore>) -> Self {
        let end = limits.secs.map(|secs| Box::pin(sleep(Duration::from_secs(secs))));
        let long_lines = [PollSemaphore::new(long_line), PollSemaphore::new(room::long_lines())];
        Self { inner, limits, count: Count::default(), end, long_lines, places: Vec::new(), line_end: None }
    }

    /// Ready when more of the line may be read: all watches share the memory for long ones.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyLimit>> {
        if self.count.bytes <= SHORT_LINE_BYTES {
            self.places.clear();
            self.line_end = None;
            return Poll::Ready(Ok(()));
        }
        while let Some(next) = self.long_lines.get_mut(self.places.len()) {
            match ready!(next.poll_acquire(cx)) {
                Some(place) => self.places.push(place),
                // The semaphores are never closed.
                None => return Poll::Ready(Ok(())),
            }
        }
        let end = self.line_end.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(LONG_LINE_SECS))));
        match end.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(BodyLimit::Late { secs: LONG_LINE_SECS, line: true })),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl<B> Body for BoundedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let limits = self.limits;
        if let (Some(end), Some(secs)) = (self.end.as_mut(), limits.secs)
            && end.as_mut().poll(cx).is_ready()
        {
            let limit = if limits == Limits::PAGE { BodyLimit::Late { secs, line: false } } else { BodyLimit::Slow { secs } };
            return Poll::Ready(Some(Err(limit.into())));
        }
        if limits.line
            && let Err(limit) = ready!(self.poll_line(cx))
        {
            return Poll::Ready(Some(Err(limit.into())));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.data_ref().map_or(Ok(()), |data| self.count.add(data, &limits)) {
                Ok(()) => Some(Ok(frame)),
                Err(limit) => Some(Err(limit.into())),
            },
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What came so far, of a body or of its current line.
#[derive(Debug, Default)]
pub(crate) struct Count {
    bytes: usize,
    nodes: usize,
    in_string: bool,
    escaped: bool,
}

impl Count {
    /// How many values and fields `json` has at most.
    pub(crate) fn of(json: &[u8]) -> usize {
        let mut count = Self::default();
        // Without limits there is nothing to go beyond.
        let _ = count.add(json, &Limits { bytes: usize::MAX, nodes: usize::MAX, secs: None, line: false });
        count.nodes
    }

    fn add(&mut self, data: &[u8], limits: &Limits) -> Result<(), BodyLimit> {
        let Limits { bytes, nodes, line, .. } = *limits;
        for byte in data {
            self.byte(*byte, line);
            if self.bytes > bytes {
                return Err(BodyLimit::Bytes { bytes, line });
            }
            if self.nodes > nodes {
                return Err(BodyLimit::Nodes { nodes, line });
            }
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, by_line: bool) {
        self.bytes += 1;
        match byte {
            b'\n' if by_line => *self = Self::default(),
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' | b',' if !self.in_string => self.nodes += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
