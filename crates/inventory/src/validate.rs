//! Is a connection usable, and if not, why not?

use crate::connection::{Connection, Kind};
use crate::failure::{ConnectError, Reason};
use crate::openshift::{self, Openshift};
use crate::versions::{self, Versions};
use crate::{client, permissions, provider, status};
use anyhow::Context;
use futures::future::try_join;
use model::ids::ProviderId;
use model::{Clock, Sealer};
use sqlx::PgPool;
use std::time::Duration;

/// How long the whole of it may take.
const LIMIT_SECS: u64 = 10;

/// What a good connection told about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// Kubernetes' version and, where it is known, OpenShift's.
    pub versions: Versions,
    /// Whether it has OpenShift's security context constraints or projects.
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
    let versions = versions::read(&client, server, kind).await?;
    let (missing, found) = try_join(permissions::missing(&client, server, scan_namespace), openshift::look(&client, server)).await?;
    if kind == Kind::Openshift && found == Openshift::No {
        return Err(ConnectError::new(
            Reason::Error,
            format!("{server} is a plain Kubernetes {}: it serves neither OpenShift's security context constraints nor its projects.", versions.kubernetes),
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
    warnings.extend(openshift::warning(kind, found));
    Ok(Validated { versions, openshift: matches!(found, Openshift::Yes | Openshift::Away), warnings })
}

/// A client, or why the certificates in the connection cannot be used.
pub(crate) async fn connect(connection: &Connection) -> Result<kube::Client, ConnectError> {
    client(connection).await.map_err(|error| {
        ConnectError::new(
            Reason::Tls,
            format!("The login's certificates cannot be used: {error:#}."),
            "Give them again, in PEM form, or the token of a ServiceAccount instead.",
        )
    })
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
            status::version(&mut conn, id, &found.versions).await?;
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
