//! Registries, token servers and storages with ways of their own, as people meet them; each answers as one of them does.

use crate::images::{Image, digest};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, LOCATION, RANGE, REFERER, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use inspector::registry::Access;
use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the registry does; see [`answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// No login.
    Open,
    /// 401 with these challenges; `REALM` in them is the token server beside it.
    Challenge(Vec<String>),
    /// 404 until somebody has logged in, and a challenge only at its root.
    Hides,
    /// 403 without a word about logins.
    Forbids,
    /// Blobs by redirect to this address, to which the digest is added.
    Redirects(String),
    /// Everything is on this other registry.
    IsAName(String),
    /// Blobs end after this many bytes, again and again; `true`: parts can be asked for.
    Breaks(usize, bool),
    /// 429 with this pause.
    Busy(String),
}

/// What the token server answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokens {
    /// This JSON, where the login is right.
    Json(&'static str),
    /// Only by POST.
    Posts,
    /// Each token is good for this many requests.
    Uses(usize),
    /// Anybody gets one, but nobody with a login.
    Anybody,
}

pub struct Odd {
    pub host: String,
    pub image: String,
    state: Arc<Inner>,
    dir: tempfile::TempDir,
}

struct Inner {
    way: Way,
    tokens: Tokens,
    documents: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    host: Mutex<String>,
    uses: Mutex<usize>,
    seen: Mutex<Vec<String>>,
}

/// User and password that are right everywhere.
pub const LOGIN: &str = "u:p";

impl Odd {
    pub async fn start(way: Way, tokens: Tokens) -> Self {
        Self::with(way, tokens, &Image::sample(), Vec::new()).await
    }

    /// Beside the image these other manifests, of which the first is what is asked for.
    pub async fn with(way: Way, tokens: Tokens, image: &Image, others: Vec<Vec<u8>>) -> Self {
        let asked = others.first().unwrap_or(&image.manifest).clone();
        let documents = others.into_iter().chain([image.manifest.clone()]).map(|bytes| (digest(&bytes), bytes)).collect();
        let blobs = image.blobs().map(|bytes| (digest(bytes), bytes.clone())).collect();
        let state = Arc::new(Inner { way, tokens, documents, blobs, host: Mutex::default(), uses: Mutex::default(), seen: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        state.host.lock().unwrap().clone_from(&host);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { image: format!("{host}/a/app@{}", digest(&asked)), host, state, dir: tempfile::tempdir().unwrap() }
    }

    /// With these texts of pull secrets, one after the other.
    pub fn access(&self, secrets: &[String]) -> Access {
        let auth_dir = self.dir.path().join(format!("auth-{}", secrets.len()));
        for (number, secret) in secrets.iter().enumerate() {
            fs::create_dir_all(auth_dir.join(number.to_string())).unwrap();
            fs::write(auth_dir.join(number.to_string()).join(".dockerconfigjson"), secret).unwrap();
        }
        Access { plain_http: vec![self.host.clone()], ca_file: None, auth_dir, platform: None, retry_for: Duration::from_millis(600) }
    }

    /// A pull secret for this registry.
    pub fn secret(&self, login: &str) -> String {
        serde_json::json!({"auths": {&self.host: {"auth": STANDARD.encode(login)}}}).to_string()
    }

    /// Requests as `METHOD path authorization referer`.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().clone()
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(LOGIN))
}

fn reply(status: StatusCode, body: &[u8]) -> Response<Body> {
    Response::builder().status(status).body(Body::from(body.to_vec())).unwrap()
}

async fn answer(State(state): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let headers = request.headers().clone();
    let header = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok()).unwrap_or("-").to_owned();
    let line = format!("{} {path}?{query} {} {}", request.method(), header(AUTHORIZATION), header(REFERER));
    state.seen.lock().unwrap().push(line);
    if path == "/token" {
        let posted = request.method() == "POST";
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
        return token(&state, &headers, posted, &query, &String::from_utf8_lossy(&body));
    }
    if let Some(digest) = path.strip_prefix("/storage/") {
        // As S3 has it.
        let refused = headers.contains_key(AUTHORIZATION);
        return if refused { reply(StatusCode::BAD_REQUEST, b"Only one auth mechanism allowed") } else { reply(StatusCode::OK, &state.blobs[digest]) };
    }
    if let Way::IsAName(of) = &state.way {
        return Response::builder().status(307).header(LOCATION, format!("http://{of}{path}")).body(Body::empty()).unwrap();
    }
    if let Some(refusal) = refusal(&state, &path, &header(AUTHORIZATION)) {
        return refusal;
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.contains("/manifests/") {
        return state.documents.get(last).map_or_else(|| reply(StatusCode::NOT_FOUND, b""), |bytes| reply(StatusCode::OK, bytes));
    }
    match state.blobs.get(last) {
        Some(blob) => content(&state.way, blob, &headers, last),
        None => reply(if path == "/v2/" { StatusCode::OK } else { StatusCode::NOT_FOUND }, b"{}"),
    }
}

/// What is not for whoever comes without the right login.
fn refusal(state: &Inner, path: &str, authorization: &str) -> Option<Response<Body>> {
    let challenges = match &state.way {
        Way::Challenge(challenges) => challenges.clone(),
        Way::Hides if path != "/v2/" && authorization != basic() => return Some(reply(StatusCode::NOT_FOUND, b"{}")),
        Way::Hides => vec!["Basic realm=\"x\"".to_owned()],
        Way::Forbids if authorization != basic() => return Some(reply(StatusCode::FORBIDDEN, b"{}")),
        Way::Busy(pause) => return Some(Response::builder().status(429).header(RETRY_AFTER, pause).body(Body::empty()).unwrap()),
        _ => return None,
    };
    let by_token = challenges.iter().any(|challenge| challenge.contains("Bearer"));
    let good = if by_token { authorization.strip_prefix("Bearer good").is_some_and(|rest| used(state, rest)) } else { authorization == basic() };
    if good {
        return None;
    }
    let mut response = Response::builder().status(StatusCode::UNAUTHORIZED);
    let realm = format!("http://{}/token", state.host.lock().unwrap());
    for challenge in challenges {
        response = response.header(WWW_AUTHENTICATE, challenge.replace("REALM", &realm));
    }
    Some(response.body(Body::empty()).unwrap())
}

/// A token is good until it was used as often as it may be; `rest` is its number.
fn used(state: &Inner, rest: &str) -> bool {
    let Tokens::Uses(most) = state.tokens else { return rest.is_empty() };
    let mut uses = state.uses.lock().unwrap();
    let Ok(number) = rest.trim_start_matches('-').parse::<usize>() else { return false };
    if *uses >= (number + 1) * most || *uses < number * most {
        return false;
    }
    *uses += 1;
    true
}

fn token(state: &Inner, headers: &HeaderMap, posted: bool, query: &str, body: &str) -> Response<Body> {
    let login = headers.get(AUTHORIZATION).is_some_and(|value| value == &basic());
    match &state.tokens {
        Tokens::Json(_) if query.contains("repository%3Aa%2Fbase") => {
            let both = query.contains("scope=repository%3Aa%2Fapp%3Apull&scope=repository%3Aa%2Fbase%3Apull");
            if both { reply(StatusCode::OK, b"{\"token\":\"good\"}") } else { reply(StatusCode::BAD_REQUEST, b"invalid scope") }
        }
        Tokens::Json(json) if login || posted => reply(StatusCode::OK, json.as_bytes()),
        Tokens::Posts if posted && body.contains("grant_type=password") && body.contains("username=u&password=p") => {
            reply(StatusCode::OK, b"{\"access_token\":\"good\"}")
        }
        Tokens::Anybody if !headers.contains_key(AUTHORIZATION) => reply(StatusCode::OK, b"{\"token\":\"good\"}"),
        Tokens::Posts if !posted => reply(StatusCode::METHOD_NOT_ALLOWED, b""),
        Tokens::Uses(most) if login => {
            let mut uses = state.uses.lock().unwrap();
            let number = uses.div_ceil(*most);
            *uses = number * most;
            reply(StatusCode::OK, format!("{{\"token\":\"good-{number}\"}}").as_bytes())
        }
        _ => reply(StatusCode::UNAUTHORIZED, b"{}"),
    }
}

fn content(way: &Way, blob: &[u8], headers: &HeaderMap, digest: &str) -> Response<Body> {
    match way {
        Way::Redirects(to) => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let to = to.replace("SELF", host);
            Response::builder().status(307).header(LOCATION, format!("{to}{digest}")).body(Body::empty()).unwrap()
        }
        Way::Breaks(after, parts) if !blob.starts_with(b"{") => {
            let asked = headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok());
            let from = asked.filter(|_| *parts).unwrap_or(0);
            let rest = blob[from..].to_vec();
            let mut response = Response::builder().header(CONTENT_LENGTH, rest.len());
            if from > 0 {
                response = response.status(206).header(CONTENT_RANGE, format!("bytes {from}-{}/{}", blob.len() - 1, blob.len()));
            }
            let cut = rest[..rest.len().min(*after)].to_vec();
            let whole = cut.len() == rest.len();
            // The first part is on its way before the connection breaks.
            let end = futures::stream::iter((!whole).then_some(())).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut off"))
            });
            response.body(Body::from_stream(futures::stream::iter([Ok(cut)]).chain(end))).unwrap()
        }
        _ => reply(StatusCode::OK, blob),
    }
}
