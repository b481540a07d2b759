//! My Settings: one's own password, and the browsers in which one is logged in.

use crate::State;
use crate::error::{Error, Result};
use crate::extract::Form;
use crate::page::{Flash, Page, redirect, respond};
use crate::session::{self, SETTINGS, Visit};
use access::session::Open;
use access::{Attempt, NewPassword, PasswordError};
use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

pub fn routes() -> Router<State> {
    Router::new()
        .route(SETTINGS, get(show))
        .route("/settings/password", get(to_settings).post(change_password))
        .route("/settings/sessions/end", get(to_settings).post(end_sessions))
}

/// For who goes back to the address of a form.
async fn to_settings() -> Response {
    axum::response::Redirect::to(SETTINGS).into_response()
}

struct Row {
    open: Open,
    /// The one that asks.
    this: bool,
}

#[derive(Template)]
#[template(path = "settings/show.html")]
struct SettingsPage {
    page: Page,
    userid: String,
    role: &'static str,
    must_change: bool,
    problem: String,
    sessions: Vec<Row>,
}

async fn show(visit: Visit, extract::State(state): extract::State<State>) -> Result<Response> {
    page(&visit, &state, String::new()).await
}

async fn page(visit: &Visit, state: &State, problem: String) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let sessions = access::session::list(&mut conn, &state.clock, visit.user.id, state.settings.limits).await?;
    let mut sessions: Vec<Row> = sessions.into_iter().map(|open| Row { this: open.id == visit.session, open }).collect();
    sessions.sort_by_key(|row| !row.this);
    let page = visit.page("settings", "My Settings");
    let (userid, role, must_change) = (visit.user.userid.clone(), visit.user.role.label(), visit.must_change_password);
    respond(visit, &SettingsPage { page, userid, role, must_change, problem, sessions })
}

#[derive(Deserialize)]
struct Passwords {
    #[serde(default)]
    current: String,
    #[serde(default)]
    new: String,
    #[serde(default)]
    again: String,
}

async fn change_password(visit: Visit, extract::State(state): extract::State<State>, headers: HeaderMap, Form(form): Form<Passwords>) -> Result<Response> {
    if form.new != form.again {
        return refused(&visit, &state, StatusCode::BAD_REQUEST, "The two new passwords differ. Type the same twice.".to_owned(), None).await;
    }
    let devices = session::devices(&headers);
    let agent = session::agent(&headers);
    let attempt = Attempt { userid: &visit.user.userid, password: &form.current, address: &visit.address, agent, devices: &devices };
    match state.logins.change_password(NewPassword { new: &form.new, attempt }).await {
        Ok(login) => {
            let flash = Flash::success("Your password was changed. You are logged out everywhere else.");
            let to = if visit.must_change_password { "/" } else { SETTINGS };
            Ok((session::cookies(login), redirect(to, flash)).into_response())
        }
        Err(PasswordError::New(problem)) => refused(&visit, &state, StatusCode::BAD_REQUEST, problem, None).await,
        Err(PasswordError::Current(error)) => match session::refusal(&error) {
            None => Err(anyhow::Error::from(error).into()),
            Some((StatusCode::UNAUTHORIZED, _, _)) => {
                refused(&visit, &state, StatusCode::FORBIDDEN, "That is not your current password.".to_owned(), None).await
            }
            Some((status, problem, retry_after_secs)) => refused(&visit, &state, status, problem, retry_after_secs).await,
        },
    }
}

async fn refused(visit: &Visit, state: &State, status: StatusCode, problem: String, retry_after_secs: Option<i64>) -> Result<Response> {
    let mut response = page(visit, state, problem).await?;
    *response.status_mut() = status;
    if let Some(secs) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    Ok(response)
}

#[derive(Debug, Deserialize)]
struct Which {
    /// A session's number, or `others`.
    session: String,
}

async fn end_sessions(visit: Visit, extract::State(state): extract::State<State>, Form(which): Form<Which>) -> Result<Response> {
    let mut conn = state.pool.acquire().await?;
    let ended = match which.session.as_str() {
        "others" => access::session::end_others(&mut conn, visit.user.id, visit.session).await?,
        number => {
            let id = number.parse().map_err(|_| Error::NotFound("This session"))?;
            access::session::end_one(&mut conn, visit.user.id, id).await?
        }
    };
    access::audit::sessions_ended(visit.by(), ended);
    let text = match ended {
        0 => "No session was left to end.".to_owned(),
        1 => "1 session was ended.".to_owned(),
        many => format!("{many} sessions were ended."),
    };
    Ok(redirect(SETTINGS, Flash::success(text)))
}
