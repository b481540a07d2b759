//! Logging in as container runtimes do: each login in turn, and last nobody's.
//!
//! Source: distribution/docs/spec/auth/{token,oauth}.md; containerd, `core/remotes/docker/{authorizer,auth/fetch}.go`.

use super::{Registry, is_denied};
use crate::challenge::{self, Challenge};
use crate::failure::failure;
use crate::transport::Ask;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Response, StatusCode};
use scap::keyring::Login;
use scap::protocol::{Failure, FailureCode};
use std::collections::BTreeSet;
use std::net::IpAddr;
use url::{Url, form_urlencoded};

const MAX_TOKEN_BYTES: usize = 1 << 20;
/// A registry may ask for more with its second challenge (`insufficient_scope`).
const ROUNDS: u32 = 2;

/// The last answer, the header that was good, and why logins were not.
type LoggedIn = (Response, Option<String>, Option<String>);

/// Where tokens come from, and for what.
struct Realm<'a> {
    url: Url,
    service: Option<&'a str>,
    scopes: BTreeSet<String>,
    /// Where the registry was when it named the realm.
    registry: IpAddr,
}

impl Registry {
    /// Repeats a request with each login until one is good; what a login does not see may be there for the next.
    pub(super) async fn log_in<'a>(&self, denied: Response, ask: &impl Fn(Option<&'a str>) -> Ask<'a>) -> Result<LoggedIn, Failure> {
        let (mut answer, mut hidden, mut why) = (denied, None, None);
        let mut offer = self.offer(&answer).await?;
        for login in self.logins.iter().map(Some).chain([None]) {
            let mut tried = None;
            for _ in 0..ROUNDS {
                let header = match self.header(&offer, login, &mut why).await? {
                    Some(header) if tried.as_ref() != Some(&header) => header,
                    _ => break,
                };
                let next = self.transport.send(&Ask { authorization: Some(&header), ..ask(None) }).await?;
                if next.status() == StatusCode::NOT_FOUND && self.is_ours(&next) {
                    hidden = Some((next, header));
                    break;
                }
                if !is_denied(&next) || !self.is_ours(&next) {
                    return Ok((next, Some(header), why));
                }
                offer = self.challenge(&next).or(offer);
                answer = next;
                tried = Some(header);
            }
        }
        match hidden {
            Some((answer, header)) => Ok((answer, Some(header), why)),
            None => Ok((answer, None, why)),
        }
    }

    /// Repeats a request where a registry that is only a name for another one redirected to, with a token that anybody gets there: our logins are for here.
    pub(super) async fn log_in_elsewhere(&self, denied: Response, ask: &Ask<'_>) -> Result<Response, Failure> {
        let Some((Challenge::Bearer { realm, service, scope }, registry)) = self.challenge(&denied) else { return Ok(denied) };
        let scopes = scope.as_deref().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let realm = Realm { url: self.realm(&realm)?, service: service.as_deref(), scopes, registry };
        let Some(token) = self.token(&realm, None, &mut None).await? else { return Ok(denied) };
        let (url, header) = (denied.url().clone(), format!("Bearer {token}"));
        self.transport.send_elsewhere(&Ask { from: ask.from, ..Ask::new(&url, ask.accept, Some(&header)) }).await
    }

    /// The challenge of an answer, or else, for what is hidden, that of the registry itself.
    async fn offer(&self, denied: &Response) -> Result<Option<(Challenge, IpAddr)>, Failure> {
        if let Some(offer) = self.challenge(denied) {
            return Ok(Some(offer));
        }
        let root = self.url("")?;
        let answer = self.transport.send(&Ask::new(&root, "*/*", None)).await?;
        Ok(self.challenge(&answer))
    }

    fn challenge(&self, denied: &Response) -> Option<(Challenge, IpAddr)> {
        let values = denied.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        // Some registries refuse without a word about how to log in.
        let challenge = challenge::parse(values).or_else(|| is_denied(denied).then_some(Challenge::Basic))?;
        Some((challenge, denied.remote_addr()?.ip()))
    }

    /// The `Authorization` header that an offer leaves open for `login`; `None`, with the reason, when there is none.
    async fn header(&self, offer: &Option<(Challenge, IpAddr)>, login: Option<&Login>, why: &mut Option<String>) -> Result<Option<String>, Failure> {
        match (offer, login) {
            (Some(_), Some(Login::RegistryToken(token))) => Ok(Some(format!("Bearer {token}")).filter(|_| is_token(token))),
            (Some((Challenge::Basic, _)), Some(login)) => Ok(basic(login)),
            (Some((Challenge::Bearer { realm, service, scope }, registry)), login) => {
                let realm = Realm { url: self.realm(realm)?, service: service.as_deref(), scopes: self.scopes(scope.as_deref()), registry: *registry };
                Ok(self.token(&realm, login, why).await?.map(|token| format!("Bearer {token}")))
            }
            _ => Ok(None),
        }
    }

    /// Tokens are asked for with passwords: never without TLS, unless the registry itself is trusted without it.
    fn realm(&self, realm: &str) -> Result<Url, Failure> {
        let registry = &self.image.registry;
        match Url::parse(realm) {
            Ok(url) if url.has_host() && (url.scheme() == "https" || (self.plain && url.scheme() == "http")) => Ok(url),
            _ => Err(failure(FailureCode::AccessDenied, format!("The registry {registry} sends logins to “{}”, which is not an HTTPS address.", shown(realm)))),
        }
    }

    /// The scopes of a challenge, and pulling in any case.
    fn scopes(&self, told: Option<&str>) -> BTreeSet<String> {
        let mut scopes: BTreeSet<String> = told.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let ours = format!("repository:{}:", self.image.repository);
        if !scopes.iter().any(|scope| scope.starts_with(&ours)) {
            scopes.insert(format!("{ours}pull"));
        }
        scopes
    }

    /// A token, asked for as each login wants it: by GET with the password, or by POST where that is not offered or the login is a refresh token.
    async fn token(&self, realm: &Realm<'_>, login: Option<&Login>, why: &mut Option<String>) -> Result<Option<String>, Failure> {
        let mut response = match login {
            Some(Login::IdentityToken(_)) => None,
            _ => Some(self.fetch(realm, login).await?),
        };
        let not_offered = response.as_ref().is_none_or(|response| matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED));
        if let Some(form) = form(realm, login).filter(|_| not_offered) {
            let ask = Ask { form: Some(form), ..Ask::new(&realm.url, "application/json", None) };
            response = Some(self.transport.send_login(realm.registry, &ask).await?);
        }
        let Some(response) = response else { return Ok(None) };
        let (status, host) = (response.status(), realm.url.host_str().unwrap_or_default().to_owned());
        if !status.is_success() {
            why.get_or_insert(format!("the token server {host} answered with {status}"));
            return Ok(None);
        }
        let bytes = self.transport.read(response, MAX_TOKEN_BYTES, "a login token").await?;
        let token = token_in(&bytes);
        if token.is_none() {
            why.get_or_insert(format!("the token server {host} gave no token"));
        }
        Ok(token)
    }

    async fn fetch(&self, realm: &Realm<'_>, login: Option<&Login>) -> Result<Response, Failure> {
        let mut url = realm.url.clone();
        url.query_pairs_mut().extend_pairs(realm.service.map(|service| ("service", service))).extend_pairs(realm.scopes.iter().map(|scope| ("scope", scope)));
        let authorization = login.and_then(basic);
        self.transport.send_login(realm.registry, &Ask::new(&url, "application/json", authorization.as_deref())).await
    }
}

/// What is posted for a login; `None` for what cannot be.
fn form(realm: &Realm<'_>, login: Option<&Login>) -> Option<String> {
    let scope = realm.scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("service", realm.service.unwrap_or_default()).append_pair("client_id", "tidewaiter").append_pair("scope", &scope);
    match login? {
        Login::IdentityToken(refresh) => form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh),
        Login::Password { user, pair } => {
            let password = String::from_utf8_lossy(pair.get(user.len() + 1..)?);
            form.append_pair("grant_type", "password").append_pair("username", user).append_pair("password", &password)
        }
        Login::RegistryToken(_) => return None,
    };
    Some(form.finish())
}

/// The first of the two fields that holds something.
fn token_in(bytes: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let field = |name: &str| answer.get(name)?.as_str().filter(|token| is_token(token)).map(str::to_owned);
    field("token").or_else(|| field("access_token"))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The header for a password.
fn basic(login: &Login) -> Option<String> {
    match login {
        Login::Password { pair, .. } => Some(format!("Basic {}", STANDARD.encode(pair))),
        Login::IdentityToken(_) | Login::RegistryToken(_) => None,
    }
}

/// What a registry wrote, as people may see it.
fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 120;
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}
