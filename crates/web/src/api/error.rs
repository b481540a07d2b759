//! Errors of the API, in ManageIQ's shape: `{"error": {"kind", "message", "klass"}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What the API answers instead of a result.
#[derive(Debug)]
pub(crate) enum ApiError {
    Unauthorized(String),
    Throttled(i64),
    Forbidden(String),
    NotFound(String),
    BadRequest(String),
    Conflict(String),
    Internal(anyhow::Error),
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        // 2201B: a regular expression of the caller's that Postgres does not understand.
        let code = error.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some("2201B") {
            return Self::BadRequest("the pattern after =~ is not a regular expression".to_owned());
        }
        Self::Internal(error.into())
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl ApiError {
    fn parts(&self) -> (StatusCode, &'static str, &'static str, String) {
        match self {
            Self::Unauthorized(text) => (StatusCode::UNAUTHORIZED, "unauthorized", "Api::AuthenticationError", text.clone()),
            Self::Throttled(secs) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Api::ThrottledError", format!("Too many failed logins. Try again in {secs} seconds."))
            }
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, "forbidden", "Api::ForbiddenError", text.clone()),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, "not_found", "Api::NotFoundError", text.clone()),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, "bad_request", "Api::BadRequestError", text.clone()),
            Self::Conflict(text) => (StatusCode::CONFLICT, "conflict", "Api::ConflictError", text.clone()),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_server_error",
                "Api::InternalError",
                "Something went wrong on the server; its log says what.".to_owned(),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "an API request failed");
        }
        let (status, kind, klass, message) = self.parts();
        let body = Json(json!({"error": {"kind": kind, "message": message, "klass": klass}}));
        let mut answer = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Tidewaiter\""));
        }
        if let Self::Throttled(secs) = self {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
