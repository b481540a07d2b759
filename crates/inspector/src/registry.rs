//! A registry's pull side: manifests and blobs by digest, with logins and retries.
//!
//! Source: OCI distribution specification 1.1 §“Pulling manifests”, “Pulling blobs”; distribution/docs/spec/auth.

use crate::auth::{Login, Logins};
use crate::challenge::{self, Challenge};
use crate::failure::{bad_image, failure};
use crate::manifest;
use crate::reference::Reference;
use crate::transport::Transport;
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, Response, StatusCode};
use scap::protocol::{Failure, FailureCode};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// `host:port` of registries spoken to without TLS.
    pub plain_http: Vec<String>,
    /// PEM file of additional roots.
    pub ca_file: Option<PathBuf>,
    /// Folder whose subfolders hold Docker configuration files.
    pub auth_dir: PathBuf,
    /// How long a request is tried again while the registry cannot be reached or is too busy.
    pub retry_for: Duration,
}

/// One repository of a registry.
pub(crate) struct Registry {
    transport: Transport,
    image: Reference,
    base: String,
    plain: bool,
    logins: Vec<Login>,
    /// The header that worked last; `None` before any login.
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// # Errors
    /// The file of additional roots cannot be read.
    pub(crate) fn new(image: &Reference, access: &Access) -> Result<Self, Failure> {
        let plain = access.plain_http.contains(&image.registry);
        let scheme = if plain { "http" } else { "https" };
        Ok(Self {
            transport: Transport::new(access)?,
            base: format!("{scheme}://{}/v2/{}", image.host(), image.repository),
            logins: Logins::read(&access.auth_dir).matching(image),
            image: image.clone(),
            plain,
            authorization: Mutex::new(None),
        })
    }

    /// The bytes of the manifest `digest`; not yet verified.
    pub(crate) async fn manifest(&self, digest: &str) -> Result<Vec<u8>, Failure> {
        let response = self.get(&format!("manifests/{digest}"), &manifest::ACCEPT.join(", ")).await?;
        self.transport.read(response, manifest::MAX_MANIFEST_BYTES, "manifest").await
    }

    /// The bytes of a small blob; not yet verified.
    pub(crate) async fn small_blob(&self, digest: &str) -> Result<Vec<u8>, Failure> {
        let response = self.blob(digest).await?;
        self.transport.read(response, manifest::MAX_CONFIG_BYTES, "configuration").await
    }

    /// A blob as it comes.
    pub(crate) async fn blob(&self, digest: &str) -> Result<Response, Failure> {
        self.get(&format!("blobs/{digest}"), "*/*").await
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Response, Failure> {
        let url = Url::parse(&format!("{}/{path}", self.base)).map_err(|e| bad_image(format!("“{}” is no address of a registry: {e}.", self.image)))?;
        let known = self.authorization.lock().await.clone();
        let response = self.transport.send(Method::GET, &url, accept, known.as_deref(), None).await?;
        if !is_denied(&response) {
            return self.checked(response, path);
        }
        // Layers are fetched side by side: one of them logs in, the others take its result.
        let mut authorization = self.authorization.lock().await;
        if *authorization != known {
            let response = self.transport.send(Method::GET, &url, accept, authorization.as_deref(), None).await?;
            if !is_denied(&response) {
                return self.checked(response, path);
            }
        }
        let mut answer = response;
        for header in self.logins_for(&answer).await? {
            answer = self.transport.send(Method::GET, &url, accept, Some(&header), None).await?;
            if !is_denied(&answer) {
                *authorization = Some(header);
                break;
            }
        }
        self.checked(answer, path)
    }

    /// One `Authorization` header per login that the registry's answer leaves open, the most specific first, and last an anonymous token.
    async fn logins_for(&self, denied: &Response) -> Result<Vec<String>, Failure> {
        let values = denied.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut headers = Vec::new();
        match challenge::parse(values) {
            None => {}
            Some(Challenge::Basic) => headers.extend(self.logins.iter().filter_map(basic)),
            Some(Challenge::Bearer { realm, service, scope }) => {
                let realm = self.realm(&realm)?;
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.image.repository));
                for login in self.logins.iter().map(Some).chain([None]) {
                    if let Some(token) = self.token(&realm, service.as_deref(), &scope, login).await? {
                        headers.push(format!("Bearer {token}"));
                    }
                }
            }
        }
        Ok(headers)
    }

    /// Tokens are asked for with passwords: never without TLS, unless the registry itself is trusted without it.
    fn realm(&self, realm: &str) -> Result<Url, Failure> {
        let registry = &self.image.registry;
        match Url::parse(realm) {
            Ok(url) if url.scheme() == "https" || (self.plain && url.scheme() == "http") => Ok(url),
            _ => Err(failure(FailureCode::AccessDenied, format!("The registry {registry} sends logins to “{realm}”, which is not an HTTPS address."))),
        }
    }

    /// A token for `scope`; `None` when the token server refuses.
    async fn token(&self, realm: &Url, service: Option<&str>, scope: &str, login: Option<&Login>) -> Result<Option<String>, Failure> {
        let response = match login {
            Some(Login::RegistryToken(token)) => return Ok(Some(token.clone())),
            Some(Login::IdentityToken(refresh)) => {
                let service = service.unwrap_or_default();
                let form = [("grant_type", "refresh_token"), ("service", service), ("scope", scope), ("client_id", "tidewaiter"), ("refresh_token", refresh)];
                let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
                self.transport.send(Method::POST, realm, "application/json", None, Some(body)).await?
            }
            _ => {
                let mut url = realm.clone();
                url.query_pairs_mut().extend_pairs(service.map(|service| ("service", service))).append_pair("scope", scope);
                let authorization = login.and_then(basic);
                self.transport.send(Method::GET, &url, "application/json", authorization.as_deref(), None).await?
            }
        };
        if !response.status().is_success() {
            return Ok(None);
        }
        let bytes = self.transport.read(response, 1 << 20, "login token").await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        Ok(token.and_then(|token| token.token.or(token.access_token)).filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())))
    }

    fn checked(&self, response: Response, path: &str) -> Result<Response, Failure> {
        let Reference { registry, repository, .. } = &self.image;
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.logins.is_empty() => Err(failure(
                FailureCode::AccessDenied,
                format!(
                    "The registry {registry} wants a login for {repository} and there is none: add an image pull secret for it to the pods or to their service account."
                ),
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(failure(
                FailureCode::AccessDenied,
                format!(
                    "The registry {registry} refused the image pull secrets for {repository}: check their user name and password, and that the user may pull it."
                ),
            )),
            StatusCode::NOT_FOUND if path.starts_with("blobs/") => Err(bad_image(format!(
                "A part of the image ({}) is missing in the registry {registry}: push the image again.",
                path.trim_start_matches("blobs/")
            ))),
            StatusCode::NOT_FOUND => Err(failure(
                FailureCode::ImageNotFound,
                format!("The registry {registry} has no image {} (any more): it was deleted or moved after the container was started.", self.image),
            )),
            status if status.is_success() => Ok(response),
            status => Err(failure(FailureCode::RegistryUnreachable, format!("The registry {registry} answered with {status} for {path}."))),
        }
    }
}

fn is_denied(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// The header for a password.
fn basic(login: &Login) -> Option<String> {
    use base64::Engine as _;
    match login {
        Login::Password { user, password } => Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))),
        Login::IdentityToken(_) | Login::RegistryToken(_) => None,
    }
}
