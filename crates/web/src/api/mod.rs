//! The REST API under `/api`, in ManageIQ's shape, for callers with basic authentication.

mod attribute;
mod body;
mod collection;
mod condition;
mod container_images;
mod error;
mod filter;
mod guard;
mod openapi;
mod params;
mod providers;
mod tasks;

use crate::{State, masking, standing};
use access::{By, LoginError, Permission, User};
use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use collection::Collection;
use error::ApiError;
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;

/// Everything below `/api`.
pub(crate) fn router(state: State) -> Router {
    Router::new()
        .route("/api", get(index))
        .route("/api/", get(index))
        .route("/api/openapi.json", get(openapi::document))
        .route("/api/providers", get(providers::list).post(providers::act_on_many))
        .route("/api/providers/{id}", get(providers::show).post(providers::act_on_one))
        .route("/api/container_images", get(container_images::list).post(container_images::act_on_many))
        .route("/api/container_images/{id}", get(container_images::show).post(container_images::act_on_one))
        .route("/api/tasks", get(tasks::list).post(tasks::act_on_many))
        .route("/api/tasks/{id}", get(tasks::show).post(tasks::act_on_one))
        .fallback(async || ApiError::NotFound("There is nothing at this address; GET /api lists the collections.".into()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed("This address does not take that method; see /api/openapi.json.".into()))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(from_fn(guard::guard))
        .with_state(state)
}

/// Who calls, checked by basic authentication.
pub(crate) struct Caller {
    pub user: User,
    /// Where the call comes from.
    pub address: String,
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let (userid, password) = std::str::from_utf8(&decoded).ok().filter(|text| !text.contains('\0'))?.split_once(':')?;
    Some((userid.to_owned(), password.to_owned()))
}

impl FromRequestParts<State> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let (userid, password) =
            credentials(&parts.headers).ok_or_else(|| ApiError::Unauthorized("Log in with basic authentication: curl --user admin:PASSWORD …".into()))?;
        let address = crate::session::client_address(parts);
        match state.logins.verify_basic(&userid, &password, &address).await {
            Ok(user) => {
                standing::prove(&parts.extensions);
                Ok(Self { user, address })
            }
            Err(LoginError::Wrong) => Err(ApiError::Unauthorized("The user or the password is wrong.".into())),
            Err(LoginError::Throttled { retry_after_secs }) => Err(ApiError::Throttled(retry_after_secs)),
            Err(LoginError::Busy) => Err(ApiError::Busy),
            Err(LoginError::MustChange) => Err(ApiError::Forbidden(format!(
                "The password of {userid} was set by somebody else. Log in with a browser and choose another first; then the API takes that one."
            ))),
            Err(LoginError::Internal(error)) => Err(error.into()),
        }
    }
}

impl Caller {
    /// Who acts, for the log.
    pub(crate) fn by(&self) -> By<'_> {
        By { userid: &self.user.userid, address: &self.address }
    }

    fn must(&self, permission: Permission) -> Result<(), ApiError> {
        match self.user.may(permission) {
            true => Ok(()),
            false => Err(ApiError::Forbidden(format!("User {} may not do this.", self.user.userid))),
        }
    }

    async fn list(&self, state: &State, collection: &Collection, headers: &HeaderMap, query: Option<String>) -> Result<Json<Value>, ApiError> {
        self.must(Permission::View)?;
        let query = query.unwrap_or_default();
        let mut params = params::parse(&query)?;
        let host = host(headers);
        let mut tx = state.pool.begin().await?;
        let mut answer = collection.list(&mut tx, &host, &mut params).await?;
        tx.commit().await?;
        masking::resources(&self.user, &mut answer);
        answer["links"] = links(&host, collection, &query, &params, &answer);
        Ok(Json(answer))
    }

    async fn show(&self, state: &State, collection: &Collection, headers: &HeaderMap, id: &str, query: Option<String>) -> Result<Json<Value>, ApiError> {
        self.must(Permission::View)?;
        let params = params::parse(&query.unwrap_or_default())?;
        let id = body::id(id, collection)?;
        let mut tx = state.pool.begin().await?;
        let mut resource = collection.show(&mut tx, &host(headers), id, &params.attributes).await?;
        tx.commit().await?;
        masking::resources(&self.user, &mut resource);
        Ok(Json(resource))
    }
}

/// `self`, and `first`, `last`, `previous`, `next` where they lead to another page.
fn links(host: &str, collection: &Collection, query: &str, params: &params::Params, answer: &Value) -> Value {
    let total = answer["subquery_count"].as_i64().or(answer["count"].as_i64()).unwrap_or(0);
    let at = |offset: i64| {
        let kept: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| name != "offset" && name != "limit")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(kept).append_pair("offset", &offset.to_string()).append_pair("limit", &params.limit.to_string());
        format!("{host}/api/{}?{}", collection.name, out.finish())
    };
    let mut links = json!({"self": at(params.offset)});
    if params.limit > 0 {
        links["first"] = json!(at(0));
        links["last"] = json!(at((total - 1).max(0) / params.limit * params.limit));
        if params.offset > 0 {
            links["previous"] = json!(at((params.offset - params.limit).max(0)));
        }
        if params.offset + params.limit < total {
            links["next"] = json!(at(params.offset + params.limit));
        }
    }
    links
}

/// Scheme and host as the caller used them, for addresses in answers (what a proxy says of the scheme is there only when it is trusted); a host with odd characters is left out.
fn host(headers: &HeaderMap) -> String {
    let plain = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    let scheme = match headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()) {
        Some("https") => "https",
        _ => "http",
    };
    match headers.get(header::HOST).and_then(|value| value.to_str().ok()).filter(plain) {
        Some(host) => format!("{scheme}://{host}"),
        None => String::new(),
    }
}

/// `GET /api`: who calls, and the collections.
async fn index(caller: Caller, headers: HeaderMap) -> Json<Value> {
    let host = host(&headers);
    let collection = |name: &str, description: &str| json!({"name": name, "href": format!("{host}/api/{name}"), "description": description});
    Json(json!({
        "name": "API",
        "description": "Tidewaiter's REST API",
        "version": env!("CARGO_PKG_VERSION"),
        "identity": {"userid": caller.user.userid, "name": caller.user.name, "role": format!("{:?}", caller.user.role)},
        "openapi": format!("{host}/api/openapi.json"),
        "collections": [
            collection("container_images", "Container Images"),
            collection("providers", "Providers"),
            collection("tasks", "Tasks"),
        ],
    }))
}
