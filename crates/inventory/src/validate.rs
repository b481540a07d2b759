//! Is a connection usable, and if not, why not?

use crate::connection::{Connection, Kind};
use crate::failure::{ConnectError, Reason, explain};
use crate::{client, permissions, provider, status};
use anyhow::Context;
use futures::future::try_join;
use http::Request;
use model::ids::ProviderId;
use model::{Clock, Sealer};
use serde::Deserialize;
use sqlx::PgPool;
use std::time::Duration;

/// How long the whole of it may take.
const LIMIT_SECS: u64 = 10;
/// An API server that takes the connection and never answers is not there, whoever asks.
const VERSION_LIMIT: Duration = Duration::from_secs(LIMIT_SECS);

/// What a good connection told about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// The API server's version, e.g. `v1.33.2`.
    pub version: String,
    /// Whether it serves OpenShift's projects.
    pub openshift: bool,
    /// What will not work, and what is not safe; sentences.
    pub warnings: Vec<String>,
}

/// Logs in and asks for everything Tidewaiter needs, without changing anything. Takes ten seconds at most.
///
/// `scan_namespace`: where scan pods will run (`smartstate.namespace`).
///
/// # Errors
/// What is wrong and what to do about it; see [`Reason`].
pub async fn validate(connection: &Connection, kind: Kind, scan_namespace: &str) -> Result<Validated, ConnectError> {
    tokio::time::timeout(Duration::from_secs(LIMIT_SECS), check(connection, kind, scan_namespace))
        .await
        .unwrap_or_else(|_| Err(ConnectError::timeout(&connection.server, LIMIT_SECS)))
}

async fn check(connection: &Connection, kind: Kind, scan_namespace: &str) -> Result<Validated, ConnectError> {
    let server = connection.server.as_str();
    let client = connect(connection).await?;
    let version = version(&client, server).await?;
    let (missing, openshift) = try_join(permissions::missing(&client, server, scan_namespace), serves_projects(&client, server)).await?;
    if kind == Kind::Openshift && !openshift {
        return Err(ConnectError::new(
            Reason::Error,
            format!("{server} is a plain Kubernetes {version}: it serves no OpenShift projects."),
            "Add it with the type Kubernetes.",
        ));
    }
    if !missing.required.is_empty() {
        return Err(ConnectError::permissions(missing.required));
    }
    let mut warnings = missing.warnings;
    if connection.insecure_skip_tls_verify {
        warnings.push("The server's certificate is not checked (insecure-skip-tls-verify): whoever stands in between can read the login. Give the CA certificate instead.".into());
    }
    if kind == Kind::Kubernetes && openshift {
        warnings.push("This cluster is an OpenShift, which refuses scan pods that are made for a plain Kubernetes: give it the type OpenShift.".into());
    }
    Ok(Validated { version, openshift, warnings })
}

/// A client, or why the certificates in the connection cannot be used.
pub(crate) async fn connect(connection: &Connection) -> Result<kube::Client, ConnectError> {
    client(connection).await.map_err(|error| {
        ConnectError::new(Reason::Tls, format!("The CA or client certificate cannot be used: {error:#}."), "Paste the certificates again, in PEM form.")
    })
}

/// The API server's version; also the cheapest proof that it is one and accepts the login.
pub(crate) async fn version(client: &kube::Client, server: &str) -> Result<String, ConnectError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let request = Request::get("/version").body(Vec::new()).map_err(|error| explain(&kube::Error::HttpError(error), server))?;
    match tokio::time::timeout(VERSION_LIMIT, client.request::<Version>(request)).await {
        Ok(version) => Ok(version.map_err(|error| explain(&error, server))?.git_version),
        Err(_) => Err(ConnectError::timeout(server, LIMIT_SECS)),
    }
}

async fn serves_projects(client: &kube::Client, server: &str) -> Result<bool, ConnectError> {
    let request = Request::get("/apis/project.openshift.io/v1").body(Vec::new()).map_err(|error| explain(&kube::Error::HttpError(error), server))?;
    match client.request_text(request).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 503) => Ok(false),
        Err(error) => Err(explain(&error, server)),
    }
}

/// Validates a stored provider and writes its status.
///
/// # Errors
/// Only Tidewaiter's own: the database, or credentials that cannot be opened. What is wrong with the provider is the inner result.
pub async fn validate_stored(
    pool: &PgPool,
    clock: &Clock,
    sealer: &Sealer,
    id: ProviderId,
    scan_namespace: &str,
) -> anyhow::Result<Result<Validated, ConnectError>> {
    let mut conn = pool.acquire().await?;
    let (kind, connection) = provider::find(&mut conn, sealer, id).await?.context("there is no such provider")?;
    drop(conn);
    let result = validate(&connection, kind, scan_namespace).await;
    let mut conn = pool.acquire().await?;
    match &result {
        Ok(found) => {
            status::version(&mut conn, id, &found.version).await?;
            status::ok(&mut conn, clock, id).await?;
        }
        Err(error) => status::failed(&mut conn, clock, id, error).await?,
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn refused(endpoint: &str) -> ConnectError {
        let connection = Connection::from_token(endpoint, "token", "").unwrap();
        validate(&connection, Kind::Kubernetes, "tidewaiter").await.unwrap_err()
    }

    /// A server that answers every connection with `answer`.
    async fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                let _ = socket.read(&mut buffer).await;
                let _ = socket.write_all(answer).await;
            }
        });
        address.to_string()
    }

    #[tokio::test]
    async fn a_closed_port_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = refused(&format!("https://{address}")).await;
        assert_eq!(error.reason, Reason::Unreachable, "{error:?}");
        assert!(error.message.contains("nothing listens there"), "{error:?}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_wrong_address() {
        let error = refused("https://no-such-host.invalid:6443").await;
        assert_eq!(error.reason, Reason::WrongAddress, "{error:?}");
        assert!(error.message.contains("cannot be resolved"), "{error:?}");
    }

    #[tokio::test]
    async fn plain_http_on_a_tls_port_is_a_wrong_address() {
        let address = server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let error = refused(&format!("https://{address}")).await;
        assert_eq!(error.reason, Reason::WrongAddress, "{error:?}");
        assert!(error.message.contains("does not speak TLS"), "{error:?}");
    }

    #[tokio::test]
    async fn a_web_server_is_no_api_server() {
        for answer in
            [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"]
        {
            let address = server(answer).await;
            let error = refused(&format!("http://{address}")).await;
            assert_eq!(error.reason, Reason::WrongAddress, "{error:?}");
        }
    }
}
