//! Who is asking: the guard before every page, logging in and out, and the token that every change must carry.

use crate::error::{Error, Result};
use crate::forwarded::Client;
use crate::page::{Flash, Page, Theme, local};
use crate::standing;
use crate::{State, bodies};
use access::login::REMEMBERED_DAYS;
use access::{Attempt, By, Login, LoginError, Permission, Session, User};
use askama::Template;
use axum::Form;
use axum::body::Body;
use axum::extract::{self, FromRequest, FromRequestParts, Multipart, Request};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use chrono::{DateTime, Utc};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

const SESSION: &str = "tidewaiter_session";
/// Holds the login form's token until there is a session.
const LOGIN: &str = "tidewaiter_login";
/// Begins the names of the cookies by which a browser is known at its next login: one per person who uses it.
const DEVICE: &str = "tidewaiter_device_";
/// The page that changes one's password.
pub const SETTINGS: &str = "/settings";
/// The largest form: a kubeconfig with its certificates is far below.
pub const FORM_BYTES: usize = 2 * 1024 * 1024;
/// The most fields of a form, ticked rows among them.
const FORM_FIELDS: usize = 20_000;

/// A request of a person who is logged in. `Debug` shows no token.
#[derive(Clone)]
pub struct Visit {
    pub user: User,
    pub csrf: String,
    /// The session's number.
    pub session: i64,
    /// Nothing but choosing a password is allowed.
    pub must_change_password: bool,
    /// Where the request comes from.
    pub address: String,
    pub theme: Theme,
    pub now: DateTime<Utc>,
    pub flash: Option<Flash>,
    /// Only the content is wanted, not the frame.
    pub fragment: bool,
    pub path: String,
    /// The query string without `?`; empty without one.
    pub query: String,
    /// The session cookie's value, to end it.
    token: String,
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("user", &self.user).field("session", &self.session).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Visit {
    fn new(session: Session, token: String, now: DateTime<Utc>, request: &Request) -> Self {
        let headers = request.headers();
        Self {
            user: session.user,
            csrf: session.csrf_token,
            session: session.id,
            must_change_password: session.must_change_password,
            address: address(request.extensions()),
            theme: Theme::of(headers),
            now,
            flash: Flash::of(&CookieJar::from_headers(headers)),
            fragment: headers.contains_key("hx-request") && !headers.contains_key("hx-history-restore-request"),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            token,
        }
    }

    /// Who acts, for the log.
    pub fn by(&self) -> By<'_> {
        By { userid: &self.user.userid, address: &self.address }
    }

    /// The session cookie's value, for those who look again whether the session is still there.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A page of this visit: its place in the menu and its title.
    pub fn page(&self, here: &'static str, title: impl Into<String>) -> Page {
        let address = if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) };
        Page {
            title: title.into(),
            here,
            live: "",
            crumbs: Vec::new(),
            flash: self.flash.clone(),
            csrf: self.csrf.clone(),
            user_name: if self.user.name.is_empty() { self.user.userid.clone() } else { self.user.name.clone() },
            theme: self.theme,
            now: self.now,
            fragment: self.fragment,
            address,
            freshness: None,
            user: self.user.clone(),
        }
    }

    /// Goes on only when the user's role allows it.
    ///
    /// # Errors
    /// `Error::Forbidden`.
    pub fn must(&self, permission: Permission) -> Result<()> {
        if self.user.may(permission) { Ok(()) } else { Err(Error::Forbidden(format!("Your role does not allow you to {}.", permission.label()))) }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::Internal(anyhow::anyhow!("a page outside of the guard asked who is there")))
    }
}

/// Lets through who is logged in; every request but GET and HEAD must carry the session's token as the field `csrf_token` or the header `X-CSRF-Token`.
pub async fn guard(extract::State(state): extract::State<State>, request: Request, next: Next) -> Result<Response> {
    let Some((token, session)) = find(&state, request.headers()).await? else { return Ok(to_login(&request)) };
    let visit = Visit::new(session, token, state.clock.now(), &request);
    let mut request = request;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        request = checked(request, &visit.csrf).await?;
    }
    standing::prove(request.extensions());
    if visit.must_change_password && !allowed_before_change(&visit.path) {
        return Ok(Redirect::to(SETTINGS).into_response());
    }
    request.extensions_mut().insert(visit);
    Ok(next.run(request).await)
}

/// What a person may do whose password somebody else knows.
fn allowed_before_change(path: &str) -> bool {
    path == SETTINGS || path.starts_with("/settings/") || matches!(path, "/logout" | "/theme" | "/events")
}

async fn find(state: &State, headers: &HeaderMap) -> Result<Option<(String, Session)>> {
    let Some(token) = CookieJar::from_headers(headers).get(SESSION).map(|cookie| cookie.value().to_owned()) else { return Ok(None) };
    let mut conn = state.pool.acquire().await?;
    let session = match refreshes(headers) {
        true => access::session::find_unused(&mut conn, &state.clock, &token, state.settings.limits).await?,
        false => access::session::find(&mut conn, &state.clock, &token, state.settings.limits).await?,
    };
    Ok(session.map(|session| (token, session)))
}

/// Whether an open page asks by itself: its refreshes say so, and its hints (`GET /events`) are what browsers ask for with this `Accept`.
fn refreshes(headers: &HeaderMap) -> bool {
    headers.contains_key("x-tidewaiter-background") || headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream")
}

/// To the login page and from there back here; scripts get 401 so that the page they run in goes there itself.
fn to_login(request: &Request) -> Response {
    if request.headers().contains_key("hx-request") || request.uri().path() == "/events" {
        return (StatusCode::UNAUTHORIZED, [("hx-refresh", "true")], "Log in again.").into_response();
    }
    let back = if request.method() == Method::GET { request.uri().path_and_query().map_or("/", |path| path.as_str()) } else { "/" };
    if back == "/" {
        return Redirect::to("/login").into_response();
    }
    let next: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    Redirect::to(&format!("/login?next={next}")).into_response()
}

/// The request again, once its token is found to be right.
async fn checked(request: Request, expected: &str) -> Result<Request> {
    let turn = bodies::turn(&request);
    let _turn = turn.await.map_err(|bodies::Busy| Error::Unavailable(bodies::BUSY))?;
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, FORM_BYTES).await.map_err(|_| Error::BadRequest("The form is larger than 2 MiB.".to_owned()))?;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let in_parts = kind.starts_with("multipart/form-data");
    if !in_parts && body.iter().filter(|byte| **byte == b'&').count() > FORM_FIELDS {
        return Err(Error::BadRequest(format!("The form has more than {FORM_FIELDS} fields. Select fewer at a time.")));
    }
    let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    let given = match parts.headers.get("x-csrf-token") {
        Some(given) => given.to_str().ok().map(str::to_owned),
        None if in_parts => multipart_token(again()).await,
        None => form_urlencoded::parse(&body).find(|(key, _)| key == "csrf_token").map(|(_, value)| value.into_owned()),
    };
    if given.is_some_and(|given| same(given.as_bytes(), expected.as_bytes())) {
        return Ok(again());
    }
    Err(Error::Forbidden("This form is from another session, or came from another site. Open the page again and repeat.".to_owned()))
}

async fn multipart_token(request: Request) -> Option<String> {
    let mut fields = Multipart::from_request(request, &()).await.ok()?;
    while let Ok(Some(field)) = fields.next_field().await {
        if field.name() == Some("csrf_token") {
            return field.text().await.ok();
        }
    }
    None
}

fn same(given: &[u8], expected: &[u8]) -> bool {
    !expected.is_empty() && bool::from(given.ct_eq(expected))
}

#[derive(Template)]
#[template(path = "login/show.html")]
struct LoginPage {
    theme: Theme,
    token: String,
    next: String,
    userid: String,
    problem: String,
}

#[derive(Debug, Deserialize)]
pub struct NextQuery {
    #[serde(default)]
    next: String,
}

/// The login page. Who is logged in goes on.
pub async fn show(extract::State(state): extract::State<State>, headers: HeaderMap, extract::Query(query): extract::Query<NextQuery>) -> Result<Response> {
    if find(&state, &headers).await?.is_some() {
        return Ok(Redirect::to(local(&query.next)).into_response());
    }
    login_page(StatusCode::OK, &headers, local(&query.next), "", String::new())
}

fn login_page(status: StatusCode, headers: &HeaderMap, next: &str, userid: &str, problem: String) -> Result<Response> {
    let jar = CookieJar::from_headers(headers);
    let token = jar.get(LOGIN).map(|cookie| cookie.value().to_owned()).filter(|token| token.len() == 32);
    let token = token.unwrap_or_else(random_token);
    let page = LoginPage { theme: Theme::of(headers), token: token.clone(), next: next.to_owned(), userid: userid.to_owned(), problem };
    let cookie = Cookie::build((LOGIN, token)).path("/login").http_only(true).same_site(SameSite::Strict);
    Ok((status, CookieJar::new().add(cookie), Html(page.render()?)).into_response())
}

fn random_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[derive(Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    userid: String,
    #[serde(default)]
    password: String,
}

/// Logs in, and goes where `next` says when that is a page of ours.
pub async fn log_in(extract::State(state): extract::State<State>, parts: Parts, Form(form): Form<LoginForm>) -> Result<Response> {
    let again = |status, problem: String| login_page(status, &parts.headers, local(&form.next), &form.userid, problem);
    let expected = CookieJar::from_headers(&parts.headers).get(LOGIN).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
    if !same(form.csrf_token.as_bytes(), expected.as_bytes()) {
        return again(StatusCode::FORBIDDEN, "The login form was too old. Try again.".to_owned());
    }
    let (address, devices) = (client_address(&parts), devices(&parts.headers));
    let attempt = Attempt { userid: &form.userid, password: &form.password, address: &address, agent: agent(&parts.headers), devices: &devices };
    match state.logins.log_in(attempt).await {
        Ok(login) => {
            standing::prove(&parts.extensions);
            let to = if login.must_change_password { SETTINGS } else { local(&form.next) };
            Ok((cookies(login), Redirect::to(to)).into_response())
        }
        Err(error) => {
            let Some((status, problem, retry_after_secs)) = refusal(&error) else { return Err(anyhow::Error::from(error).into()) };
            let mut response = again(status, problem)?;
            if let Some(secs) = retry_after_secs {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
            }
            Ok(response)
        }
    }
}

/// Status, sentence and `Retry-After` for who was not let in; `None`: it was our failure.
pub fn refusal(error: &LoginError) -> Option<(StatusCode, String, Option<i64>)> {
    match error {
        LoginError::Wrong | LoginError::MustChange => Some((StatusCode::UNAUTHORIZED, "User or password is wrong.".to_owned(), None)),
        LoginError::Throttled { retry_after_secs: 1 } => {
            Some((StatusCode::TOO_MANY_REQUESTS, "Too many failed logins. Try again in 1 second.".to_owned(), Some(1)))
        }
        LoginError::Throttled { retry_after_secs: secs } => {
            Some((StatusCode::TOO_MANY_REQUESTS, format!("Too many failed logins. Try again in {secs} seconds."), Some(*secs)))
        }
        LoginError::Busy => {
            Some((StatusCode::TOO_MANY_REQUESTS, "Too many logins are being checked at the moment. Try again in a second.".to_owned(), Some(1)))
        }
        LoginError::Internal(_) => None,
    }
}

/// The cookies of a login: the session's, which ends with the browser, and the one by which the browser is known later.
pub fn cookies(login: Login) -> CookieJar {
    let session = Cookie::build((SESSION, login.session_token)).path("/").http_only(true).same_site(SameSite::Lax);
    let device = Cookie::build((format!("{DEVICE}{}", login.user), login.device)).path("/").http_only(true).same_site(SameSite::Lax);
    let remembered = Duration::from_secs(REMEMBERED_DAYS * 86_400);
    CookieJar::new().add(session).add(device.max_age(remembered.try_into().unwrap_or_default()))
}

/// What the browser has from earlier logins.
pub fn devices(headers: &HeaderMap) -> Vec<String> {
    CookieJar::from_headers(headers).iter().filter(|cookie| cookie.name().starts_with(DEVICE)).map(|cookie| cookie.value().to_owned()).collect()
}

/// What the browser calls itself.
pub fn agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
}

/// Ends the session.
pub async fn log_out(extract::State(state): extract::State<State>, visit: Visit) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    access::session::end(&mut conn, &visit.token).await?;
    access::audit::logged_out(visit.by());
    let gone = Cookie::build((SESSION, "")).path("/").max_age(Default::default());
    Ok((CookieJar::new().add(gone), Redirect::to("/login")).into_response())
}

/// The address that the request came from, for throttling; "unknown" when the server does not tell.
pub fn client_address(parts: &Parts) -> String {
    address(&parts.extensions)
}

fn address(extensions: &Extensions) -> String {
    extensions.get::<Client>().map_or_else(|| "unknown".to_owned(), |client| client.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::UserRole;
    use model::ids::UserId;

    #[test]
    fn a_visit_shows_no_token() {
        let user = User { id: UserId(1), userid: "a".into(), name: String::new(), role: UserRole::Auditor };
        let session = Session { id: 1, user, csrf_token: "hunter2".into(), must_change_password: false };
        let visit = Visit::new(session, "hunter2".into(), DateTime::UNIX_EPOCH, &Request::new(Body::empty()));
        assert!(!format!("{visit:?}").contains("hunter2"));
    }
}
