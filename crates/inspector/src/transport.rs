//! HTTP to registries: patience with busy ones, plain words for those that cannot be reached.

mod cause;
mod retry;

use crate::failure::{bad_image, failure};
use crate::reach::{is_this_machine, literal, may_hold_content, may_log_in_at};
use crate::registry::Access;
use cause::authority;
pub(crate) use cause::{chain, unreachable};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RANGE};
use reqwest::{Client, Method, Response, redirect};
use scap::protocol::{Failure, FailureCode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a transfer counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// For small answers as a whole: manifests, configurations, tokens.
const SMALL_TIMEOUT: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// As Go follows them.
const MAX_REDIRECTS: usize = 10;

pub(crate) struct Transport {
    client: Client,
    /// The registry is on this machine.
    here: bool,
    tls: rustls::ClientConfig,
    retry_for: Duration,
}

/// A request for the registry or what it names.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    pub(crate) accept: &'a str,
    pub(crate) authorization: Option<&'a str>,
    /// Only what follows this many bytes.
    pub(crate) from: u64,
    /// Fields of a form: posted, and never sent on by a redirect, since they hold secrets.
    pub(crate) form: Option<String>,
}

impl<'a> Ask<'a> {
    pub(crate) const fn new(url: &'a Url, accept: &'a str, authorization: Option<&'a str>) -> Self {
        Self { url, accept, authorization, from: 0, form: None }
    }
}

impl Transport {
    /// `host`: the registry's, as it stands in addresses.
    ///
    /// # Errors
    /// The file of additional roots cannot be used.
    pub(crate) fn new(access: &Access, host: &str) -> Result<Self, Failure> {
        let tls = tls::client_config(tls::Trust::SystemAnd(authorities(access)?), None)
            .map_err(|e| failure(FailureCode::RegistryTls, format!("No TLS client could be made: {e}.")))?;
        let named = Url::parse(&format!("http://{host}")).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let here = is_this_machine(&named);
        let resolver = Screened(Arc::new(move |name: &str, address| name == named || may_hold_content(address, here)));
        let client = client(&tls, resolver, follow(move |address| may_hold_content(address, here)))?;
        Ok(Self { client, here, tls, retry_for: access.retry_for })
    }

    /// Asks the registry, and what it redirects to: never this machine or its neighbours, unless the registry is there.
    ///
    /// # Errors
    /// `RegistryUnreachable`, `RegistryTls` (at once), `RateLimited`.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        self.send_with(&self.client, ask).await
    }

    /// Asks an address that the image names.
    ///
    /// # Errors
    /// As [`Transport::send`]; `AccessDenied` for this machine and its neighbours.
    pub(crate) async fn send_elsewhere(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        if ask.url.host_str().and_then(literal).is_some_and(|address| !may_hold_content(address, self.here)) {
            return Err(cause::inside(ask.url));
        }
        self.send_with(&self.client, ask).await
    }

    /// Asks where a registry at `registry` sends logins to. The address that is connected to is the one that is judged, whatever the name meant before.
    ///
    /// # Errors
    /// As [`Transport::send`]; `AccessDenied` when logins must not go there.
    pub(crate) async fn send_login(&self, registry: IpAddr, ask: &Ask<'_>) -> Result<Response, Failure> {
        let may = move |address| may_log_in_at(address, registry);
        if ask.url.host_str().and_then(literal).is_some_and(|address| !may(address)) {
            return Err(cause::inside(ask.url));
        }
        let redirects = if ask.form.is_some() { redirect::Policy::none() } else { follow(may) };
        let client = client(&self.tls, Screened(Arc::new(move |_: &str, address| may(address))), redirects)?;
        self.send_with(&client, ask).await
    }

    /// Sends a request until it gets an answer other than 429 and 5xx, or the time for retries is over.
    async fn send_with(&self, client: &Client, ask: &Ask<'_>) -> Result<Response, Failure> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let (problem, told) = match request(client, ask).send().await {
                Ok(response) if !retry::is_busy(response.status()) => return Ok(response),
                Ok(response) => (cause::busy(ask.url, response.status()), retry::after(response.headers())),
                Err(e) if cause::is_final(&e) => return Err(cause::of(ask.url, &e)),
                Err(e) => (unreachable(ask.url, &e), None),
            };
            // A registry that says "at once" and stays busy is not asked without a pause.
            let pause = told.map_or(wait, |told| told.max(wait));
            if started.elapsed().saturating_add(pause) > self.retry_for {
                return Err(problem);
            }
            tracing::info!("{} Trying again in {} ms.", problem.message, pause.as_millis());
            tokio::time::sleep(pause).await;
            wait = wait.saturating_mul(2);
        }
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// `TooLarge`, or `RegistryUnreachable` when the transfer breaks or takes too long.
    pub(crate) async fn read(&self, response: Response, limit: usize, what: &str) -> Result<Vec<u8>, Failure> {
        let host = authority(response.url());
        match tokio::time::timeout(SMALL_TIMEOUT, read(response, limit, what)).await {
            Ok(read) => read,
            Err(_) => {
                let message = format!("The registry {host} did not send {what} within {} s.", SMALL_TIMEOUT.as_secs());
                Err(failure(FailureCode::RegistryUnreachable, message))
            }
        }
    }
}

async fn read(mut response: Response, limit: usize, what: &str) -> Result<Vec<u8>, Failure> {
    let url = response.url().clone();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| unreachable(&url, &e))? {
        if bytes.len() + chunk.len() > limit {
            let message = format!("What the registry {} sent as {what} is larger than {} MiB, the most that is read.", authority(&url), limit >> 20);
            return Err(failure(FailureCode::TooLarge, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn client(tls: &rustls::ClientConfig, resolver: Screened, redirects: redirect::Policy) -> Result<Client, Failure> {
    let builder = Client::builder()
        .user_agent(concat!("tidewaiter-inspector/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(redirects)
        // Storage elsewhere is not to know which registry and image it holds.
        .referer(false)
        .dns_resolver(resolver)
        .tls_backend_preconfigured(tls.clone());
    builder.build().map_err(|e| failure(FailureCode::RegistryTls, format!("No TLS client could be made: {}.", chain(&e))))
}

fn request(client: &Client, ask: &Ask<'_>) -> reqwest::RequestBuilder {
    let method = if ask.form.is_some() { Method::POST } else { Method::GET };
    let mut request = client.request(method, ask.url.clone()).header(ACCEPT, ask.accept);
    if let Some(authorization) = ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    if ask.from > 0 {
        request = request.header(RANGE, format!("bytes={}-", ask.from));
    }
    match &ask.form {
        Some(form) => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone()),
        None => request,
    }
}

type May = dyn Fn(&str, IpAddr) -> bool + Send + Sync;

/// Resolves names to those of their addresses that may be connected to.
struct Screened(Arc<May>);

impl Resolve for Screened {
    fn resolve(&self, name: Name) -> Resolving {
        let may = Arc::clone(&self.0);
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let fit: Vec<SocketAddr> = all.iter().filter(|address| may(name.as_str(), address.ip())).copied().collect();
            if fit.is_empty() && !all.is_empty() {
                return Err(Box::from(cause::Forbidden));
            }
            Ok(Box::new(fit.into_iter()) as Addrs)
        })
    }
}

/// The additional roots, if any.
fn authorities(access: &Access) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>, Failure> {
    let Some(file) = &access.ca_file else { return Ok(Vec::new()) };
    let wrong = |e: String| failure(FailureCode::RegistryTls, format!("The registries' CA file {} cannot be used: {e}.", file.display()));
    let bytes = std::fs::read(file).map_err(|e| wrong(e.to_string()))?;
    tls::certificates_in(&bytes).map_err(wrong)
}

/// Storage behind registries is often elsewhere; reqwest then leaves the login out. Never from TLS to none, nor to an address that `may` does not allow
/// (names are judged when they are resolved).
fn follow(may: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let downgrade = attempt.previous().last().is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
        let elsewhere = attempt.previous().last().is_none_or(|from| from.host_str() != attempt.url().host_str());
        if downgrade {
            attempt.error("the registry redirects to an address without TLS")
        } else if elsewhere && attempt.url().host_str().and_then(literal).is_some_and(|address| !may(address)) {
            attempt.error(cause::Forbidden)
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("the registry redirects too often")
        } else {
            attempt.follow()
        }
    })
}

/// A wrong answer of a registry.
pub(crate) fn odd(url: &Url, what: &str) -> Failure {
    bad_image(format!("The registry {} {what}.", authority(url)))
}

#[cfg(test)]
mod tests {
    use super::{Ask, Transport};
    use crate::registry::Access;
    use scap::protocol::FailureCode;
    use std::time::Duration;
    use url::Url;

    /// Names are judged by the address that is connected to, so that a name that means another address the second time helps nobody.
    #[tokio::test]
    async fn logins_are_not_sent_to_a_name_of_this_machine_for_a_registry_that_is_elsewhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let access = Access { plain_http: vec![], ca_file: None, auth_dir: "/nonexistent".into(), platform: None, retry_for: Duration::ZERO };
        let transport = Transport::new(&access, "registry.example").unwrap();
        for host in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "2130706433", "0x7f.1"] {
            let url = Url::parse(&format!("http://{host}:{port}/token")).unwrap();
            for form in [None, Some("grant_type=password".to_owned())] {
                let ask = Ask { form, ..Ask::new(&url, "*/*", Some("Basic dTpw")) };
                let refused = transport.send_login("93.184.216.34".parse().unwrap(), &ask).await.unwrap_err();
                assert_eq!(refused.code, FailureCode::AccessDenied, "{host}: {}", refused.message);
            }
        }
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "nobody came");
    }
}
