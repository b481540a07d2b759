//! A registry's pull side: manifests and blobs by digest, with logins and retries.
//!
//! Source: OCI distribution specification 1.1 §“Pulling manifests”, “Pulling blobs”; distribution/docs/spec/auth.

mod login;
mod refusal;

use crate::auth::Logins;
use crate::failure::bad_image;
use crate::manifest;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::transport::{Ask, Transport};
use reqwest::{Response, StatusCode};
use scap::keyring::Login;
use scap::protocol::{Failure, FailureCode};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;

/// A transfer that broke without having got further is tried this often in all.
pub(crate) const ATTEMPTS: u32 = 4;

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// `host:port` of registries spoken to without TLS.
    pub plain_http: Vec<String>,
    /// PEM file of additional roots.
    pub ca_file: Option<PathBuf>,
    /// Folder whose subfolders hold Docker configuration files.
    pub auth_dir: PathBuf,
    /// Which variant of an image is wanted; `None`: this machine's.
    pub platform: Option<Platform>,
    /// How long a request is tried again while the registry cannot be reached or is too busy.
    pub retry_for: Duration,
}

/// One repository of a registry.
pub(crate) struct Registry {
    transport: Transport,
    image: Reference,
    /// `https://host/v2/`.
    root: String,
    plain: bool,
    logins: Vec<Login>,
    /// The header that worked last; `None` before any login.
    authorization: Mutex<Option<String>>,
}

impl Registry {
    /// # Errors
    /// The file of additional roots cannot be read.
    pub(crate) fn new(image: &Reference, access: &Access) -> Result<Self, Failure> {
        let plain = access.plain_http.contains(&image.registry);
        let scheme = if plain { "http" } else { "https" };
        Ok(Self {
            transport: Transport::new(access, image.host())?,
            root: format!("{scheme}://{}/v2/", image.host()),
            logins: Logins::read(&access.auth_dir).matching(image),
            image: image.clone(),
            plain,
            authorization: Mutex::new(None),
        })
    }

    /// The bytes of the manifest `digest`; not yet verified.
    pub(crate) async fn manifest(&self, digest: &str) -> Result<Vec<u8>, Failure> {
        self.small(&format!("manifests/{digest}"), &manifest::ACCEPT.join(", "), manifest::MAX_MANIFEST_BYTES, "the image's manifest").await
    }

    /// The bytes of a small blob; not yet verified.
    pub(crate) async fn small_blob(&self, digest: &str) -> Result<Vec<u8>, Failure> {
        self.small(&format!("blobs/{digest}"), "*/*", manifest::MAX_CONFIG_BYTES, "the image's configuration").await
    }

    /// A small answer as a whole, asked for again when the transfer breaks.
    async fn small(&self, path: &str, accept: &str, limit: usize, what: &str) -> Result<Vec<u8>, Failure> {
        let mut attempt = 1;
        loop {
            let response = self.get(path, accept, 0).await?;
            match self.transport.read(response, limit, what).await {
                Err(failure) if failure.code == FailureCode::RegistryUnreachable && attempt < ATTEMPTS => {
                    tracing::info!("{} Asking for {what} again.", failure.message);
                    tokio::time::sleep(Duration::from_millis(500) * attempt).await;
                    attempt += 1;
                }
                read => return read,
            }
        }
    }

    /// A blob as it comes, without its first `from` bytes where the registry can leave them out: then the answer is 206.
    pub(crate) async fn blob(&self, digest: &str, from: u64) -> Result<Response, Failure> {
        self.get(&format!("blobs/{digest}"), "*/*", from).await
    }

    /// A layer from an address that the image names, without any login; what comes is verified like everything else.
    pub(crate) async fn elsewhere(&self, url: &Url, from: u64) -> Result<Response, Failure> {
        let response = self.transport.send_elsewhere(&Ask { from, ..Ask::new(url, "*/*", None) }).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal::elsewhere(url, response.status())) }
    }

    async fn get(&self, path: &str, accept: &str, from: u64) -> Result<Response, Failure> {
        let url = self.url(&format!("{}/{path}", self.image.repository))?;
        let ask = |authorization| Ask { from, ..Ask::new(&url, accept, authorization) };
        let known = self.authorization.lock().await.clone();
        let mut response = self.transport.send(&ask(known.as_deref())).await?;
        if is_denied(&response) && !self.is_ours(&response) {
            response = self.log_in_elsewhere(response, &ask(None)).await?;
        }
        if !self.wants_login(&response, known.as_deref()) {
            return self.checked(response, path, None);
        }
        // Layers are fetched side by side: one of them logs in, the others take its result.
        let mut authorization = self.authorization.lock().await;
        if *authorization != known {
            let response = self.transport.send(&ask(authorization.as_deref())).await?;
            if !self.wants_login(&response, authorization.as_deref()) {
                return self.checked(response, path, None);
            }
        }
        let (answer, header, why) = self.log_in(response, &ask).await?;
        *authorization = header.or_else(|| authorization.take());
        self.checked(answer, path, why)
    }

    /// The registry refuses, or hides what is only there for those who log in. What its storage refuses is another matter.
    fn wants_login(&self, response: &Response, authorization: Option<&str>) -> bool {
        let hidden = response.status() == StatusCode::NOT_FOUND && authorization.is_none() && !self.logins.is_empty();
        self.is_ours(response) && (is_denied(response) || hidden)
    }

    /// It comes from the registry, not from where that redirected to.
    fn is_ours(&self, response: &Response) -> bool {
        let answered = response.url();
        Url::parse(&self.root).is_ok_and(|root| root.host_str() == answered.host_str() && root.port_or_known_default() == answered.port_or_known_default())
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        Url::parse(&format!("{}{path}", self.root)).map_err(|e| bad_image(format!("“{}” is no address of a registry: {e}.", self.image)))
    }
}

fn is_denied(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}
