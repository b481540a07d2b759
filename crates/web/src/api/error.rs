//! Errors of the API, in ManageIQ's shape: `{"error": {"kind", "message", "klass"}}`.

use crate::request;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What the API answers instead of a result.
#[derive(Debug)]
pub(crate) enum ApiError {
    Unauthorized(String),
    Throttled(i64),
    /// Too many attempts to log in are being made.
    Busy,
    Forbidden(String),
    NotFound(String),
    MethodNotAllowed(String),
    BadRequest(String),
    Conflict(String),
    TooLarge(String),
    UnsupportedMediaType(String),
    Unavailable(String),
    Internal(anyhow::Error),
}

/// Errors of Postgres that a caller's values cause, and what to say about them.
///
/// Source: PostgreSQL's manual, appendix A.
const CALLERS: [(&str, &str); 6] = [
    ("2201B", "the pattern after =~ or !~ is not a regular expression"),
    ("57014", "This took the database too long and was stopped. Ask for less: a smaller limit, fewer attributes, a filter without =~ and !~."),
    ("22003", "a number is too large"),
    ("22008", "a time lies outside of what can be compared"),
    ("22021", "a text has a character that cannot be stored, such as NUL"),
    ("22P05", "a text has a character that cannot be stored, such as NUL"),
];

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        if let Some((_, text)) = CALLERS.iter().find(|(known, _)| *known == code) {
            return Self::BadRequest((*text).to_owned());
        }
        if matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)) {
            tracing::warn!(request_id = request::current().id, %error, "an API call found no database");
            return Self::Unavailable("The database does not answer now. Try again in a moment.".to_owned());
        }
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<sqlx::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::Internal(error),
        }
    }
}

impl ApiError {
    /// Status, `kind`, `klass` and message.
    fn parts(&self) -> (StatusCode, &'static str, &'static str, String) {
        match self {
            Self::Unauthorized(text) => (StatusCode::UNAUTHORIZED, "unauthorized", "Api::AuthenticationError", text.clone()),
            Self::Throttled(secs) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Api::ThrottledError", format!("Too many failed logins. Try again in {secs} seconds."))
            }
            Self::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Api::ThrottledError",
                "Too many logins are being checked at the moment. Try again in a second.".to_owned(),
            ),
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, "forbidden", "Api::ForbiddenError", text.clone()),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, "not_found", "Api::NotFoundError", text.clone()),
            Self::MethodNotAllowed(text) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Api::MethodNotAllowedError", text.clone()),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, "bad_request", "Api::BadRequestError", text.clone()),
            Self::Conflict(text) => (StatusCode::CONFLICT, "conflict", "Api::ConflictError", text.clone()),
            Self::TooLarge(text) => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "Api::PayloadTooLargeError", text.clone()),
            Self::UnsupportedMediaType(text) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Api::UnsupportedMediaTypeError", text.clone()),
            Self::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", "Api::ServiceUnavailableError", text.clone()),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_server_error",
                "Api::InternalServerError",
                format!("Something went wrong on the server; its log says what, under the request {}.", request::current().id),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(error) = &self {
            tracing::error!(request_id = request::current().id, error = format!("{error:#}"), "an API request failed");
        }
        let (status, kind, klass, message) = self.parts();
        let body = Json(json!({"error": {"kind": kind, "message": message, "klass": klass}}));
        let mut answer = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Tidewaiter\""));
        }
        if let Some(secs) = match self {
            Self::Throttled(secs) => Some(secs),
            Self::Busy => Some(1),
            _ => None,
        } {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
