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
    /// Our failure.
    Internal(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

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
