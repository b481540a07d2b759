//! HTTP to registries: patience with busy ones, plain words for those that cannot be reached.

use crate::failure::{bad_image, failure};
use crate::registry::Access;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Response, StatusCode, redirect};
use scap::protocol::{Failure, FailureCode};
use std::error::Error;
use std::time::{Duration, Instant};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a transfer counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_REDIRECTS: usize = 5;

pub(crate) struct Transport {
    client: Client,
    /// For forms, which hold secrets: a redirect would send them on to wherever it leads.
    posting: Client,
    retry_for: Duration,
}

impl Transport {
    /// # Errors
    /// The file of additional roots cannot be read.
    pub(crate) fn new(access: &Access) -> Result<Self, Failure> {
        let authorities = authorities(access)?;
        let client = |redirects| {
            let builder = Client::builder()
                .user_agent(concat!("tidewaiter-inspector/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(redirects)
                .tls_certs_merge(authorities.clone());
            builder.build().map_err(|e| failure(FailureCode::RegistryTls, format!("No TLS client could be made: {}.", chain(&e))))
        };
        Ok(Self { client: client(redirects())?, posting: client(redirect::Policy::none())?, retry_for: access.retry_for })
    }

    /// Sends a request until it gets an answer other than 429 and 5xx, or the time for retries is over. `form` is a body of form fields.
    ///
    /// # Errors
    /// `RegistryUnreachable`, `RegistryTls` (at once), `RateLimited`.
    pub(crate) async fn send(&self, method: Method, url: &Url, accept: &str, authorization: Option<&str>, form: Option<String>) -> Result<Response, Failure> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let client = if form.is_some() { &self.posting } else { &self.client };
            let mut request = client.request(method.clone(), url.clone()).header(ACCEPT, accept);
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some(form) = &form {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone());
            }
            let (problem, told) = match request.send().await {
                Ok(response) if !is_busy(response.status()) => return Ok(response),
                Ok(response) => (busy(url, response.status()), retry_after(response.headers())),
                Err(e) if is_tls(&e) => return Err(tls(url, &e)),
                Err(e) => (unreachable(url, &e), None),
            };
            // A registry that says "at once" and stays busy is not asked without a pause.
            let pause = told.map_or(wait, |told| told.max(wait));
            if started.elapsed() + pause > self.retry_for {
                return Err(problem);
            }
            tracing::info!("{} Trying again in {} ms.", problem.message, pause.as_millis());
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// `BadImage` when it is larger, `RegistryUnreachable` when the transfer breaks.
    pub(crate) async fn read(&self, mut response: Response, limit: usize, what: &str) -> Result<Vec<u8>, Failure> {
        let url = response.url().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(&url, &e))? {
            if bytes.len() + chunk.len() > limit {
                return Err(bad_image(format!("The image's {what} is larger than {} MiB.", limit >> 20)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The additional roots, if any.
fn authorities(access: &Access) -> Result<Vec<Certificate>, Failure> {
    let Some(file) = &access.ca_file else { return Ok(Vec::new()) };
    let wrong = |e: &dyn Error| failure(FailureCode::RegistryTls, format!("The registries' CA file {} cannot be used: {e}.", file.display()));
    let pem = std::fs::read(file).map_err(|e| wrong(&e))?;
    Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))
}

/// Storage behind registries is often elsewhere; reqwest then leaves the login out. Never from TLS to none.
fn redirects() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let downgrade = attempt.previous().last().is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
        if downgrade {
            attempt.error("the registry redirects to an address without TLS")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("the registry redirects too often")
        } else {
            attempt.follow()
        }
    })
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// Seconds alone; registries do not send dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn busy(url: &Url, status: StatusCode) -> Failure {
    let host = authority(url);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let message = format!("The registry {host} limits how often images are pulled: wait, or add an image pull secret of an account with a higher limit.");
        return failure(FailureCode::RateLimited, message);
    }
    failure(FailureCode::RegistryUnreachable, format!("The registry {host} answered with {status}: see its log."))
}

/// The transfer or the connection failed.
pub(crate) fn unreachable(url: &Url, error: &reqwest::Error) -> Failure {
    let message = format!(
        "The registry {} cannot be reached from the scan pod ({}): check that it runs, and the cluster's network policies.",
        authority(url),
        chain(error)
    );
    failure(FailureCode::RegistryUnreachable, message)
}

fn tls(url: &Url, error: &reqwest::Error) -> Failure {
    let host = authority(url);
    let message = format!(
        "No trusted TLS connection to the registry {host} ({}): give Tidewaiter its CA (smartstate.registry_ca_file), or list it under smartstate.plain_http_registries if it speaks plain HTTP.",
        chain(error)
    );
    failure(FailureCode::RegistryTls, message)
}

fn is_tls(error: &reqwest::Error) -> bool {
    let text = chain(error).to_ascii_lowercase();
    error.is_connect() && ["certificate", "tls", "corrupt message", "handshake"].iter().any(|word| text.contains(word))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost cause, which is what helps; reqwest's own words repeat the address, which may hold a signature.
fn chain(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
