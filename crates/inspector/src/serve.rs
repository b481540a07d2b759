//! The pod's HTTP server; see [`scap::protocol`] for its requests.

use crate::content;
use crate::handover::Part;
use crate::inspection::{Inspection, NotNow};
use crate::reference::is_hex_sha256;
use crate::settings::Settings;
use anyhow::Context as _;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use scap::protocol::{Evaluate, Phase, TOKEN_HEADER};
use scap::report::Layer;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::io::ReaderStream;

/// How long the last answers may take once the end was asked for.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The same where another container waits to be started.
const LAST_ANSWERS_OF_PULL: Duration = Duration::from_millis(300);
/// How long an answer is held back at most.
const MAX_HOLD_SECS: u64 = 10;

/// Of what is to be evaluated: thousands of definitions may be named in it.
const EVALUATE_BYTES: usize = 32 << 20;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The server asked for it.
    Finished,
    /// The time was over.
    Deadline,
    /// `shutdown` came.
    Stopped,
}

#[derive(Clone)]
struct App {
    inspection: Arc<Inspection>,
    finish: Arc<Notify>,
}

/// Inspects the image of `settings` and answers on `listener` until `POST /finish`, the deadline or `shutdown`, whichever comes first. One that only pulls
/// ends when the outcome is left to the other.
///
/// # Errors
/// The work folder cannot be written, or the listener fails.
pub async fn serve(listener: TcpListener, settings: Settings, part: Part, shutdown: impl Future<Output = ()>) -> anyhow::Result<Ended> {
    let deadline = settings.deadline;
    let inspection = Inspection::new(settings).context("making the work folders")?;
    let finish = Arc::new(Notify::new());
    let app = router(App { inspection: Arc::clone(&inspection), finish: Arc::clone(&finish) });
    let closing = Arc::new(Notify::new());
    let close = Arc::clone(&closing);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { close.notified().await });
    let mut server = std::pin::pin!(server.into_future());
    let work = async {
        if part == Part::Pull {
            return inspection.hand_over().await.context("leaving the image to the container that inspects");
        }
        inspection.prepare(part).await;
        std::future::pending().await
    };
    let ended = tokio::select! {
        result = &mut server => result.map(|()| Ended::Stopped).context("serving")?,
        () = finish.notified() => Ended::Finished,
        () = tokio::time::sleep(deadline) => Ended::Deadline,
        () = shutdown => Ended::Stopped,
        done = work => done.map(|()| Ended::Finished)?,
    };
    inspection.stop().await;
    closing.notify_one();
    // Kept-alive connections of the API server may never end.
    let _ = tokio::time::timeout(if part == Part::Pull { LAST_ANSWERS_OF_PULL } else { LAST_ANSWERS }, server).await;
    Ok(ended)
}

fn router(app: App) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/packages", get(packages))
        .route("/content/{sha256}", put(put_content))
        .route("/answers/{sha256}", post(answers))
        .route("/evaluate", post(evaluate).layer(DefaultBodyLimit::max(EVALUATE_BYTES)))
        .route("/report", get(report))
        .route("/arf/{layer}", get(arf))
        .route("/html/{layer}", get(html))
        .route("/finish", post(finish))
        .route_layer(middleware::from_fn_with_state(app.clone(), authorize))
        .route("/healthz", get(|| async { "ok" }))
        .with_state(app)
}

async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    let token = request.headers().get(TOKEN_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
    let given: [u8; 32] = Sha256::digest(token).into();
    if bool::from(given.ct_eq(app.inspection.token_sha256())) { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

/// What `GET /status` may ask for.
#[derive(Default, Deserialize)]
struct Hold {
    past: Option<Phase>,
    #[serde(default)]
    hold: u64,
}

async fn status(State(app): State<App>, hold: Result<Query<Hold>, QueryRejection>) -> Response {
    if let Ok(Query(Hold { past: Some(phase), hold })) = hold {
        app.inspection.past(phase, Duration::from_secs(hold.min(MAX_HOLD_SECS))).await;
    }
    Json(app.inspection.status()).into_response()
}

async fn packages(State(app): State<App>) -> Response {
    match app.inspection.phase() {
        Phase::Ready | Phase::Evaluating | Phase::Done => file(app.inspection.packages_file()).await,
        phase => (StatusCode::CONFLICT, format!("not in phase {phase:?}")).into_response(),
    }
}

async fn answers(State(app): State<App>, Path(sha256): Path<String>) -> Response {
    if !is_hex_sha256(&sha256) || !app.inspection.content_dir().join(&sha256).is_file() {
        return StatusCode::NOT_FOUND.into_response();
    }
    match app.inspection.answer(&sha256).await {
        Ok(answers) => Json(answers).into_response(),
        Err(not_now) => refused(not_now),
    }
}

async fn put_content(State(app): State<App>, Path(sha256): Path<String>, body: Body) -> Response {
    match content::store(&app.inspection, &sha256, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn evaluate(State(app): State<App>, Json(request): Json<Evaluate>) -> Response {
    match app.inspection.evaluate(request) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(not_now) => refused(not_now),
    }
}

fn refused(not_now: NotNow) -> Response {
    match not_now {
        NotNow::Phase(phase) => (StatusCode::CONFLICT, format!("not in phase {phase:?}")).into_response(),
        NotNow::Another => (StatusCode::CONFLICT, "another evaluation was asked for").into_response(),
    }
}

async fn report(State(app): State<App>) -> Response {
    match app.inspection.phase() {
        Phase::Done => file(app.inspection.report_file()).await,
        phase => (StatusCode::CONFLICT, format!("not in phase {phase:?}")).into_response(),
    }
}

async fn arf(State(app): State<App>, Path(layer): Path<String>) -> Response {
    result(&app, &layer, "arf").await
}

async fn html(State(app): State<App>, Path(layer): Path<String>) -> Response {
    result(&app, &layer, "html").await
}

async fn result(app: &App, layer: &str, kind: &str) -> Response {
    match Layer::parse(layer) {
        Some(layer) => file(app.inspection.results_dir().join(format!("{}.{kind}.zst", layer.as_str()))).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn file(path: std::path::PathBuf) -> Response {
    let Ok(file) = tokio::fs::File::open(path).await else { return StatusCode::NOT_FOUND.into_response() };
    let length = file.metadata().await.map(|file| file.len());
    let mut response = Body::from_stream(ReaderStream::with_capacity(file, 128 << 10)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/zstd"));
    if let Ok(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

async fn finish(State(app): State<App>) -> StatusCode {
    app.finish.notify_one();
    StatusCode::NO_CONTENT
}
