//! Every address of the interface, and what surrounds them.

use crate::error::{Error, Result};
use crate::pages::{configuration, containers, images, nodes, openscap, overview, packages, pods, projects, providers, registries, scans, settings, tasks};
use crate::session::Visit;
use crate::{Network, State, assets, cookies, forwarded, live, request, session};
use access::Permission;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

/// No page takes longer; checking a provider's connection takes ten seconds at most.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What anybody may send to the login page without being known.
const LOGIN_BYTES: usize = 16 * 1024;

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
        .merge(settings::routes())
        .route("/logout", post(session::log_out))
        .route("/events", get(live::events))
        .fallback(|| async { Error::NotFound("This page") })
        .method_not_allowed_fallback(|| async { Error::NotFound("This page") })
        .layer(from_fn(may_view))
        .layer(from_fn_with_state(state.clone(), session::guard));
    let open = Router::new().route("/login", get(session::show).post(session::log_in)).layer(DefaultBodyLimit::max(LOGIN_BYTES)).merge(assets::router());
    // Around the login page and the guard too: both read what is sent.
    surround(Router::new().merge(open).merge(pages).layer(from_fn(in_time)), &state).with_state(state)
}

/// What has neither login nor state, such as whether the server lives: with the same headers as all the rest.
pub fn plain(router: Router, https: bool) -> Router {
    let router = router.layer(from_fn(request::surround));
    if https { router.layer(from_fn(cookies::https_only)) } else { router }
}

/// Ends a request that takes too long with a page that says so.
async fn in_time(request: Request, next: Next) -> Result<Response> {
    let answer = tokio::time::timeout(TIMEOUT, next.run(request)).await;
    answer.map_err(|_| Error::Unavailable("Tidewaiter did not answer in time."))
}

/// Every page but those to log in and out needs this much.
async fn may_view(visit: Visit, request: Request, next: Next) -> Result<Response> {
    if visit.path != "/logout" {
        visit.must(Permission::View)?;
    }
    Ok(next.run(request).await)
}

/// The API under `/api`, for servers with the role Web Services.
pub fn api(state: State) -> Router {
    surround(crate::api::router(state.clone()), &state)
}

fn surround<S: Clone + Send + Sync + 'static>(router: Router<S>, state: &State) -> Router<S> {
    let trusted: Arc<[Network]> = state.settings.trusted_proxies.as_slice().into();
    let router = router
        .layer(from_fn_with_state(trusted, forwarded::settle))
        .layer(DefaultBodyLimit::max(session::FORM_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(request::surround));
    let router = if state.settings.secure_cookies { router.layer(from_fn(cookies::https_only)) } else { router };
    router.layer(CompressionLayer::new())
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Error::Internal(anyhow::anyhow!("panic: {}", text.unwrap_or_default())).into_response()
}
