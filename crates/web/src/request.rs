//! What surrounds every request: its id, the security headers, and what the error page must know.

use crate::page::Theme;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

/// The request that is being answered.
#[derive(Debug, Clone, Default)]
pub struct Current {
    /// Sixteen hexadecimal digits, also in the header `x-request-id` and in the log.
    pub id: String,
    pub theme: Theme,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// The request that is being answered; outside of one, an empty id.
pub fn current() -> Current {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Everything from ourselves and nothing inline; frames only ours (the HTML report of oscap); nobody may frame us.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Gives the request an id and the response its headers; a handler's own header of the same name stays.
pub async fn surround(request: Request, next: Next) -> Response {
    let id = format!("{:016x}", rand_id());
    let immutable = request.uri().path().starts_with("/static/");
    let current = Current { id: id.clone(), theme: Theme::of(request.headers()) };
    let mut response = CURRENT.scope(current, next.run(request)).await;
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
        (HeaderName::from_static("accept-ch"), "Sec-CH-Prefers-Color-Scheme"),
        (header::CACHE_CONTROL, if immutable && response.status().is_success() { "public, max-age=31536000, immutable" } else { "no-store" }),
    ];
    for (name, value) in fixed {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    response
}

/// Unlike any other of this process' life with near certainty; not a secret.
fn rand_id() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::Instant::now())
}
