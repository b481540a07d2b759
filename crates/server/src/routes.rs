//! Which request goes where, by the roles that this server has at the moment.

use crate::roles::Roles;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use http::StatusCode;
use queue::role::Role;
use sqlx::PgPool;
use std::time::Duration;
use tower::ServiceExt;

#[derive(Clone)]
struct Switch {
    pages: Router,
    api: Router,
    /// What answers while the role is off.
    pages_off: Router,
    api_off: Router,
    roles: Roles,
}

/// `/healthz` (the process lives), `/readyz` (it reaches its database, by `upkeep`), `/api` with the role Web Services, all else with the role User Interface.
pub fn router(state: web::State, upkeep: PgPool, roles: Roles) -> Router {
    let https = state.settings.secure_cookies;
    let health = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready).with_state(upkeep));
    let off = |answer: fn() -> Response| web::plain(Router::new().fallback(move || async move { answer() }), https);
    let switch = Switch { pages: web::ui(state.clone()), api: web::api(state), pages_off: off(pages_off), api_off: off(api_off), roles };
    let by_role: Router = Router::new().fallback(dispatch).with_state(switch);
    by_role.merge(web::plain(health, https))
}

async fn ready(State(pool): State<PgPool>) -> Response {
    let answer = tokio::time::timeout(Duration::from_secs(2), sqlx::query("SELECT 1").execute(&pool)).await;
    match answer {
        Ok(Ok(_)) => "ready".into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response(),
    }
}

async fn dispatch(State(switch): State<Switch>, request: Request<Body>) -> Response {
    let path = request.uri().path();
    let to_api = path == "/api" || path.starts_with("/api/");
    let (role, on, off) = if to_api { (Role::WebServices, switch.api, switch.api_off) } else { (Role::UserInterface, switch.pages, switch.pages_off) };
    let router = if switch.roles.has(role) { on } else { off };
    router.oneshot(request).await.into_response()
}

fn api_off() -> Response {
    let message =
        "The role Web Services of this server is switched off. Switch it on under Configuration, Server, or with: tidewaiter role enable web_services";
    (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "error": { "kind": "service_unavailable", "message": message } }))).into_response()
}

fn pages_off() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Html(PAGES_OFF)).into_response()
}

const PAGES_OFF: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>User Interface is off · Tidewaiter</title></head>
<body>
<main>
<h1>The user interface of this server is switched off</h1>
<p>Its role <em>User Interface</em> is off; everything else goes on. To switch it on again, run this on the server's machine:</p>
<pre><code>tidewaiter role enable user_interface</code></pre>
<p>Then open this page again; no restart is needed.</p>
</main>
</body>
</html>
"#;
