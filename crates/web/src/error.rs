//! What a page answers when it cannot do what was asked.

use crate::page::Theme;
use crate::request;
use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or failure, shown as a page. The text of `Internal` is logged once with the request's id and never shown.
#[derive(Debug)]
pub enum Error {
    /// What was not found, e.g. "This image".
    NotFound(&'static str),
    /// What one may not do, as a sentence.
    Forbidden(String),
    /// What is wrong with the request, as a sentence.
    BadRequest(String),
    /// What stands in the way, as a sentence.
    Conflict(String),
    /// What does not answer just now, as a sentence.
    Unavailable(&'static str),
    /// Our failure.
    Internal(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()) {
            Some(sqlx::Error::Database(refusal)) if refusal.code().is_some_and(|code| BAD_VALUES.contains(&code.as_ref())) => {
                Self::BadRequest("The address or the form holds a value that cannot be.".to_owned())
            }
            Some(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => {
                tracing::error!(request_id = request::current().id, error = format!("{error:#}"), "the database does not answer");
                Self::Unavailable("Tidewaiter's database does not answer.")
            }
            _ => Self::Internal(error),
        }
    }
}

/// Codes of Postgres for values that no column can have: numbers and times out of range or malformed, characters that are none, a LIKE that ends in `\\`.
const BAD_VALUES: [&str; 7] = ["22003", "22007", "22008", "22009", "22021", "22025", "22P02"];

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    text: String,
    advice: &'a str,
    request_id: String,
    theme: Theme,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let request = request::current();
        let (status, title, text, advice) = match self {
            Self::NotFound(what) => {
                (StatusCode::NOT_FOUND, "Not found", format!("{what} is not here (any more)."), "It may have been removed, or the address is mistyped.")
            }
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, "Not allowed", text, "An administrator can give your role this permission."),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, "That did not work", text, "Go back, correct it and try again."),
            Self::Conflict(text) => (StatusCode::CONFLICT, "Not possible now", text, ""),
            Self::Unavailable(text) => (StatusCode::SERVICE_UNAVAILABLE, "Not available now", text.to_owned(), "Try again in a moment."),
            Self::Internal(error) => {
                tracing::error!(request_id = request.id, error = format!("{error:#}"), "a request failed");
                let text = "Tidewaiter could not answer this request.".to_owned();
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something broke",
                    text,
                    "Try again. If it stays, the server's log tells more under the request number below.",
                )
            }
        };
        let page = ErrorPage { title, text, advice, request_id: request.id, theme: request.theme };
        match page.render() {
            Ok(body) => (status, Html(body)).into_response(),
            Err(error) => {
                tracing::error!(%error, "the error page failed");
                status.into_response()
            }
        }
    }
}
