//! Bodies of actions: `{"action": "…", "resource": {…}, "resources": […]}`.

use super::collection::Collection;
use super::error::ApiError;
use crate::{State, bodies};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// How many resources one call names at most.
pub(super) const RESOURCES_MAX: usize = 10_000;
/// How many values and fields a body has at most: those of so many resources, each with its `id` and `href`, and some.
const VALUES_MAX: usize = 5 * RESOURCES_MAX;

/// What a call sends. As an argument it stands after the caller, so that only who is logged in has it read.
pub(super) struct Sent(pub(super) Value);

impl FromRequest<State> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &State) -> Result<Self, Response> {
        let turn = bodies::turn(&request);
        let _turn = turn.await.map_err(|bodies::Busy| ApiError::Unavailable(bodies::BUSY.into()).into_response())?;
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        read(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

/// A JSON object; an empty body counts as `{}`.
///
/// # Errors
/// `BadRequest` when it is not a JSON object, or a text in it cannot be stored; `TooLarge` when it has too many values.
fn read(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if values(bytes) > VALUES_MAX {
        return Err(ApiError::TooLarge(format!("the body has more than {VALUES_MAX} values; send at most {RESOURCES_MAX} resources at a time")));
    }
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) if has_nul(&value) => Err(ApiError::BadRequest("a text in the body has a NUL character, which cannot be stored".into())),
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(ApiError::BadRequest("the body must be a JSON object, such as {\"action\": \"scan\"}".into())),
        Err(error) => Err(ApiError::BadRequest(format!("the body is not JSON: {error}"))),
    }
}

/// How many values and fields JSON has at most: its openers and commas outside of texts. A few bytes of each become a hundred.
fn values(json: &[u8]) -> usize {
    let (mut found, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' | b',' if !in_text => found += 1,
            _ => {}
        }
    }
    found
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The body's action, one of `known`.
///
/// # Errors
/// `BadRequest` naming the known ones.
pub(super) fn expect_action<'a>(body: &'a Value, known: &[&str]) -> Result<&'a str, ApiError> {
    match body["action"].as_str() {
        Some(action) if known.contains(&action) => Ok(action),
        Some(action) => Err(ApiError::BadRequest(format!("unsupported action {action:?}; known here: {}", known.join(", ")))),
        None => Err(ApiError::BadRequest(format!("the body names no \"action\"; known here: {}", known.join(", ")))),
    }
}

/// A resource's number from the address.
///
/// # Errors
/// `NotFound` when it is not a number.
pub(super) fn id(text: &str, collection: &Collection) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound(format!("Couldn't find a resource with id {text} in {}", collection.name)))
}

/// The numbers of `resources` (or of the one `resource`), each given as `id` (number or text) or `href`, in the order asked; doubles stay.
///
/// # Errors
/// `BadRequest` for an entry that is neither, and when there is none; `TooLarge` when there are too many.
pub(super) fn resources(body: &Value, collection: &Collection) -> Result<Vec<i64>, ApiError> {
    let one = body.get("resource").into_iter();
    let many = body["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    if many.len() > RESOURCES_MAX {
        return Err(ApiError::TooLarge(format!("\"resources\" has more than {RESOURCES_MAX} entries; send fewer at a time")));
    }
    let mut ids = Vec::new();
    for entry in one.chain(many) {
        let number = match (&entry["id"], entry["href"].as_str()) {
            (Value::Number(number), _) => number.as_i64(),
            (Value::String(text), _) => text.parse().ok(),
            (_, Some(href)) => href.split_once(&format!("/api/{}/", collection.name)).and_then(|(_, id)| id.parse().ok()),
            _ => None,
        };
        ids.push(number.ok_or_else(|| ApiError::BadRequest(format!("{entry} names no resource of {} by id or href", collection.name)))?);
    }
    if ids.is_empty() {
        let name = collection.name;
        return Err(ApiError::BadRequest(format!("\"resources\" names none of {name}: give [{{\"id\": \"42\"}}] or [{{\"href\": \"…/api/{name}/42\"}}]")));
    }
    Ok(ids)
}
