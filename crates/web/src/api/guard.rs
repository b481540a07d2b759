//! What surrounds every call: no page of another site makes one, none lasts for ever, and every refusal has the API's shape.

use super::error::ApiError;
use crate::session::FORM_BYTES;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::time::Duration;
use tokio::time::timeout;

/// No call takes longer; the statements of a list end before (`collection::STATEMENT`).
const TIMEOUT: Duration = Duration::from_secs(60);

/// Refuses what another site's page may have sent, ends what takes too long, and gives axum's own refusals the shape of ours.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && let Err(error) = check(&request)
    {
        return error.into_response();
    }
    within(TIMEOUT, next.run(request)).await
}

async fn within(limit: Duration, answer: impl Future<Output = Response>) -> Response {
    match timeout(limit, answer).await {
        Ok(response) => shaped(response),
        Err(_) => ApiError::Unavailable(format!("This took longer than {} seconds and was given up. Ask for less at a time.", limit.as_secs())).into_response(),
    }
}

/// Browsers keep the login of basic authentication and send it with forms of other sites too; those can neither send JSON nor hide where they are from.
fn check(request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    if foreign(headers) {
        return Err(ApiError::Forbidden("This call came from a page of another site; the API takes changes from its own site and from programs only.".into()));
    }
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let kind = text(header::CONTENT_TYPE);
    let essence = kind.as_deref().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || kind.is_none() && request.body().is_end_stream() {
        return Ok(());
    }
    let given = kind.map_or_else(|| "none".to_owned(), |kind| format!("{kind:?}"));
    Err(ApiError::UnsupportedMediaType(format!(
        "The body must be JSON and say so: send the header \"Content-Type: application/json\" (this call's is {given}; curl needs --header 'Content-Type: application/json')."
    )))
}

/// Whether a browser says that another site's page makes the call. Programs send neither header.
fn foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text("host")
        }
        (None, None) => false,
    }
}

/// axum refuses some requests itself (an address that is no text, a body that is too long), in plain text.
fn shaped(response: Response) -> Response {
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if json || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge(format!("The body is larger than {} MiB; send fewer resources at a time.", FORM_BYTES >> 20)),
        status if status.is_client_error() => ApiError::BadRequest("The address or the body of this call cannot be read; see /api/openapi.json.".into()),
        status => ApiError::Internal(anyhow::anyhow!("an answer of status {status} without a body of ours")),
    }
    .into_response()
}

/// A handler's panic, as an error of ours.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    ApiError::Internal(anyhow::anyhow!("panic: {}", text.unwrap_or_default())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_does_not_end_is_given_up_with_an_error_of_the_api() {
        let answer = within(Duration::ZERO, std::future::pending()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["error"]["kind"], &body["error"]["klass"]), (&"service_unavailable".into(), &"Api::ServiceUnavailableError".into()));
    }
}
