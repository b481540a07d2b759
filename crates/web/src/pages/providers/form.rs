//! Adding and changing a provider, with a check of the connection before it is saved.

use crate::State;
use crate::error::{Error, Result};
use crate::extract::{Path, Upload};
use crate::page::{Flash, Page, redirect, respond};
use crate::session::Visit;
use access::Permission;
use askama::Template;
use axum::extract;
use axum::response::Response;
use inventory::provider::{self, NewProvider, SaveError};
use inventory::{ConnectError, Connection, Kind, Validated};
use model::ids::ProviderId;
use std::fmt;

/// What a person typed; nothing of it is lost when it is wrong. `Debug` shows no secret.
#[derive(Default)]
struct Typed {
    name: String,
    kind: String,
    /// token or kubeconfig.
    method: String,
    endpoint: String,
    token: String,
    ca: String,
    kubeconfig: String,
    context: String,
    /// Whether its results count elsewhere: yes or no.
    shares: String,
    /// validate or save.
    action: String,
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("name", &self.name).field("kind", &self.kind).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Typed {
    fn empty() -> Self {
        Self { kind: "kubernetes".to_owned(), method: "token".to_owned(), shares: "yes".to_owned(), ..Self::default() }
    }

    async fn read(mut form: Upload) -> Result<Self> {
        let mut typed = Self::empty();
        while let Some((name, text)) = form.next().await? {
            match name.as_str() {
                "name" => typed.name = text.trim().to_owned(),
                "kind" => typed.kind = text,
                "method" => typed.method = text,
                "endpoint" => typed.endpoint = text.trim().to_owned(),
                "token" => typed.token = text.trim().to_owned(),
                "ca" => typed.ca = text,
                "kubeconfig" => typed.kubeconfig = text,
                "file" if !text.trim().is_empty() => typed.kubeconfig = text,
                "context" => typed.context = text.trim().to_owned(),
                "shares_results" => typed.shares = text,
                "action" => typed.action = text,
                _ => {}
            }
        }
        Ok(typed)
    }

    fn by_kubeconfig(&self) -> bool {
        self.method == "kubeconfig"
    }

    /// What was typed over the connection `stored`, which stays where nothing was typed. A stored login goes to no other address, and past no other CA.
    async fn change(&self, stored: &Connection) -> Result<Option<Connection>, ConnectError> {
        if self.by_kubeconfig() {
            return if self.kubeconfig.trim().is_empty() { Ok(None) } else { self.connection().await.map(Some) };
        }
        let same_server = self.endpoint == stored.server && lines(&self.ca).eq(lines(&stored.ca_pem));
        match (self.token.is_empty(), same_server) {
            (true, true) => Ok(None),
            (false, true) => {
                let typed = self.connection().await?;
                Ok(Some(Connection { auth: typed.auth, ..stored.clone() }))
            }
            (_, false) => self.connection().await.map(Some),
        }
    }

    fn shares_results(&self) -> Result<bool> {
        match self.shares.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(Error::BadRequest("Whether its results count elsewhere is yes or no.".to_owned())),
        }
    }

    fn kind(&self) -> Result<Kind> {
        Kind::parse(&self.kind).ok_or_else(|| Error::BadRequest("There is no such type of provider.".to_owned()))
    }

    async fn connection(&self) -> Result<Connection, ConnectError> {
        let context = Some(self.context.clone()).filter(|context| !context.is_empty());
        if self.by_kubeconfig() {
            Connection::read_kubeconfig(self.kubeconfig.clone(), context).await
        } else {
            Connection::from_token(&self.endpoint, &self.token, &self.ca)
        }
    }
}

/// Those of a PEM; browsers change the ends of lines, and drop an empty first one.
fn lines(pem: &str) -> impl Iterator<Item = &str> {
    pem.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// How the check of the connection went.
#[derive(Debug)]
enum Check {
    NotYet,
    Works(Validated),
    Fails(ConnectError),
    NameIsWrong(String),
}

#[derive(Template)]
#[template(path = "providers/form.html")]
struct FormPage {
    page: Page,
    /// Where the form goes, and where Cancel leads.
    action: String,
    cancel: String,
    editing: bool,
    typed: Typed,
    check: Check,
}

fn form_page(visit: &Visit, id: Option<(ProviderId, &str)>, typed: Typed, check: Check) -> Result<Response> {
    let page = visit.page("providers", if id.is_some() { "Edit" } else { "Add a provider" }).crumb("Container Providers", "/providers");
    let (page, action, cancel) = match id {
        Some((id, name)) => (page.crumb(name, format!("/providers/{id}")), format!("/providers/{id}/edit"), format!("/providers/{id}")),
        None => (page, "/providers/new".to_owned(), "/providers".to_owned()),
    };
    respond(visit, &FormPage { page, action, cancel, editing: id.is_some(), typed, check })
}

pub async fn new(visit: Visit) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    form_page(&visit, None, Typed::empty(), Check::NotYet)
}

pub async fn create(visit: Visit, extract::State(state): extract::State<State>, form: Upload) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let typed = Typed::read(form).await?;
    let (kind, shares) = (typed.kind()?, typed.shares_results()?);
    let connection = match typed.connection().await {
        Ok(connection) => connection,
        Err(error) => return form_page(&visit, None, typed, Check::Fails(error)),
    };
    let check = check(&state, &connection, kind).await;
    if typed.action != "save" || !matches!(check, Check::Works(_)) {
        return form_page(&visit, None, typed, check);
    }
    let mut tx = state.pool.begin().await?;
    let new = NewProvider { name: typed.name.clone(), kind, connection };
    match provider::create(&mut tx, &state.clock, &state.sealer, &visit.user.userid, &new).await {
        Ok((id, task)) => {
            smartstate::share_results(&mut tx, &state.clock, id, shares).await?;
            tx.commit().await?;
            access::audit::provider_added(visit.by(), &new.name);
            let flash =
                Flash::success(format!("{} was added. Its inventory is being read now.", typed.name)).link("Follow the refresh", format!("/tasks/{task}"));
            Ok(redirect(&format!("/providers/{id}"), flash))
        }
        Err(SaveError::Name(problem)) => form_page(&visit, None, typed, Check::NameIsWrong(problem)),
        Err(error) => Err(error.into()),
    }
}

async fn check(state: &State, connection: &Connection, kind: Kind) -> Check {
    match inventory::validate(connection, kind, &state.settings.scan_namespace).await {
        Ok(valid) => Check::Works(valid),
        Err(error) => Check::Fails(error),
    }
}

struct Stored {
    id: ProviderId,
    name: String,
    kind: Kind,
    connection: Connection,
    shares_results: bool,
}

async fn stored(state: &State, id: i64) -> Result<Stored> {
    let id = ProviderId(id);
    let mut conn = state.pool.acquire().await?;
    let name = sqlx::query_scalar!("SELECT name FROM providers WHERE id = $1", id.0).fetch_optional(&mut *conn).await?;
    let name = name.ok_or(Error::NotFound("This provider"))?;
    let (kind, connection) = provider::find(&mut conn, &state.sealer, id).await?.ok_or(Error::NotFound("This provider"))?;
    let shares_results = provider::shares_results(&mut conn, id).await?.unwrap_or(true);
    Ok(Stored { id, name, kind, connection, shares_results })
}

pub async fn edit(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let stored = stored(&state, id).await?;
    let typed = Typed {
        name: stored.name.clone(),
        kind: stored.kind.as_str().to_owned(),
        method: "token".to_owned(),
        endpoint: stored.connection.server,
        ca: stored.connection.ca_pem,
        shares: if stored.shares_results { "yes" } else { "no" }.to_owned(),
        ..Typed::default()
    };
    form_page(&visit, Some((stored.id, &stored.name)), typed, Check::NotYet)
}

pub async fn update(visit: Visit, extract::State(state): extract::State<State>, Path(id): Path<i64>, form: Upload) -> Result<Response> {
    visit.must(Permission::ManageProviders)?;
    let stored = stored(&state, id).await?;
    let here = Some((stored.id, stored.name.as_str()));
    let typed = Typed::read(form).await?;
    let (kind, shares) = (typed.kind()?, typed.shares_results()?);
    let given = match typed.change(&stored.connection).await {
        Ok(given) => given,
        Err(error) => return form_page(&visit, here, typed, Check::Fails(error)),
    };
    let check = check(&state, given.as_ref().unwrap_or(&stored.connection), kind).await;
    if typed.action != "save" || !matches!(check, Check::Works(_)) {
        return form_page(&visit, here, typed, check);
    }
    let mut tx = state.pool.begin().await?;
    smartstate::share_results(&mut tx, &state.clock, stored.id, shares).await?;
    match provider::update(&mut tx, &state.clock, &state.sealer, stored.id, &typed.name, kind, given.as_ref()).await {
        Ok(()) => {
            tx.commit().await?;
            access::audit::provider_changed(visit.by(), &typed.name);
            Ok(redirect(&format!("/providers/{id}"), Flash::success(format!("{} was saved.", typed.name))))
        }
        Err(SaveError::Name(problem)) => form_page(&visit, here, typed, Check::NameIsWrong(problem)),
        Err(SaveError::NotFound) => Err(Error::NotFound("This provider")),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stored_login_goes_to_no_other_address_and_past_no_other_ca() {
        let ca = include_str!("../../../../inventory/testdata/another-ca.pem");
        let stored = Connection::from_token("https://lab:6443", "stored", ca).unwrap();
        let typed = |endpoint: &str, token: &str, ca: &str| Typed { endpoint: endpoint.into(), token: token.into(), ca: ca.into(), ..Typed::empty() };
        let from_browser = format!("\r\n{}\r\n", ca.replace('\n', "\r\n"));
        assert_eq!(typed("https://lab:6443", "", &from_browser).change(&stored).await.unwrap(), None);
        for (endpoint, ca) in [("https://other:6443", ca), ("https://lab:6443", ""), ("https://other:6443", "")] {
            let refusal = typed(endpoint, "", ca).change(&stored).await.unwrap_err();
            assert!(refusal.message.contains("token is missing"), "{endpoint}: {refusal}");
        }
        let changed = typed("https://lab:6443", "new", ca).change(&stored).await.unwrap().unwrap();
        assert_eq!((changed.ca_pem, changed.server), (stored.ca_pem.clone(), stored.server.clone()), "with a new token the CA stays");
        let moved = typed("https://other:6443", "new", "").change(&stored).await.unwrap().unwrap();
        assert_eq!((moved.server.as_str(), moved.ca_pem.as_str()), ("https://other:6443", ""));
    }
}
