//! The one place where clients of providers are made.

use crate::bounded::BoundedLayer;
use crate::connection::{Auth, Connection};
use anyhow::Context as _;
use http::{HeaderValue, header};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::AuthInfo;
use std::time::Duration;
use tls::{Identity, Trust};
use tower::{BoxError, ServiceBuilder};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a connection reads ahead at most, and the longest head of an answer.
const READ_BYTES: usize = 64 << 10;
/// How audit logs and priority rules of a cluster know Tidewaiter.
const USER_AGENT: &str = concat!("tidewaiter/", env!("CARGO_PKG_VERSION"));

/// A client for `connection`, with bounded answers. Nothing is sent yet. Redirects are not followed, and a request is tried once.
///
/// # Errors
/// The certificate authority, client certificate or key cannot be used.
pub async fn client(connection: &Connection) -> anyhow::Result<kube::Client> {
    // Two TLS libraries of the dependency tree each bring a provider; rustls refuses to choose by itself. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = kube::Config::new(connection.server.parse().context("the address")?);
    config.auth_info = auth_info(&connection.auth);
    config.headers = vec![(header::USER_AGENT, HeaderValue::from_static(USER_AGENT))];
    let mut connector = TimeoutConnector::new(https(connection)?);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let service = ServiceBuilder::new()
        .layer(BoundedLayer::new())
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).http1_max_buf_size(READ_BYTES).build::<_, Body>(connector));
    Ok(kube::Client::new(service, "default"))
}

fn https(connection: &Connection) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let trust = match connection.ca_pem.as_str() {
        _ if connection.insecure_skip_tls_verify => Trust::Anyone,
        "" => Trust::System,
        pem => Trust::Given(tls::certificates(pem.as_bytes())),
    };
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls::client_config(trust, identity(&connection.auth)?)?).https_or_http();
    if let Some(name) = &connection.tls_server_name {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone().try_into().context("the TLS server name")?));
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    Ok(builder.enable_http1().wrap_connector(connector))
}

fn identity(auth: &Auth) -> anyhow::Result<Option<Identity>> {
    let Auth::ClientCertificate { certificate_pem, key_pem, .. } = auth else { return Ok(None) };
    Ok(Some(Identity::from_pem(certificate_pem.as_bytes(), key_pem.as_bytes())?))
}

fn auth_info(auth: &Auth) -> AuthInfo {
    match auth {
        Auth::Token(token) => AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() },
        Auth::Basic { username, password } => AuthInfo { username: Some(username.clone()), password: Some(password.clone().into()), ..AuthInfo::default() },
        Auth::ClientCertificate { token, .. } => AuthInfo { token: token.clone().map(Into::into), ..AuthInfo::default() },
    }
}

#[cfg(test)]
mod tests;
