//! Every address of the interface, and what surrounds them.

use crate::pages::{configuration, containers, images, nodes, openscap, overview, packages, pods, projects, providers, registries, scans, tasks};
use crate::{Network, State, assets, error::Error, forwarded, live, request, session};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

/// No page takes longer; checking a provider's connection takes ten seconds at most.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pages, for servers with the role User Interface.
pub fn ui(state: State) -> Router {
    let pages = Router::new()
        .merge(overview::routes())
        .merge(providers::routes())
        .merge(projects::routes())
        .merge(pods::routes())
        .merge(containers::routes())
        .merge(nodes::routes())
        .merge(registries::routes())
        .merge(images::routes())
        .merge(openscap::routes())
        .merge(packages::routes())
        .merge(scans::routes())
        .merge(tasks::routes())
        .merge(configuration::routes())
        .route("/logout", post(session::log_out))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, TIMEOUT))
        .route("/events", get(live::events))
        .fallback(|| async { Error::NotFound("This page") })
        .layer(from_fn_with_state(state.clone(), session::guard));
    let open = Router::new().route("/login", get(session::show).post(session::log_in)).merge(assets::router());
    surround(Router::new().merge(open).merge(pages), &state).with_state(state)
}

/// The API under `/api`, for servers with the role Web Services.
pub fn api(state: State) -> Router {
    surround(crate::api::router(state.clone()), &state)
}

fn surround<S: Clone + Send + Sync + 'static>(router: Router<S>, state: &State) -> Router<S> {
    let trusted: Arc<[Network]> = state.settings.trusted_proxies.as_slice().into();
    router
        .layer(from_fn_with_state(trusted, forwarded::settle))
        .layer(DefaultBodyLimit::max(session::FORM_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(request::surround))
        .layer(CompressionLayer::new())
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Error::Internal(anyhow::anyhow!("panic: {}", text.unwrap_or_default())).into_response()
}
