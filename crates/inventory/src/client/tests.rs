use super::*;
use crate::{Kind, Reason, validate};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../tls/testdata/", $name))
    };
}

/// A TLS server that says it is an API server of version 1.36; with the heads of its requests.
async fn server(certificate: &str, key: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_cert_resolver(resolver)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let asked = heads.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && socket.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\nConnection: close\r\n\r\n{\"gitVersion\":\"v1.36.2\"}").await;
            let _ = socket.shutdown().await;
        }
    });
    (format!("https://{address}"), heads)
}

async fn version(connection: &Connection) -> Result<String, crate::ConnectError> {
    let client = crate::validate::connect(connection).await?;
    crate::versions::read(&client, &connection.server, Kind::Kubernetes).await.map(|versions| versions.kubernetes)
}

#[tokio::test]
async fn servers_that_kubectl_accepts_are_accepted() {
    for (what, certificate, key, ca) in [
        ("its own authority", file!("own-ca.pem"), file!("own-ca.key"), file!("own-ca.pem")),
        ("the server's own certificate as authority", file!("leaf.pem"), file!("leaf.key"), file!("leaf.pem")),
        ("an authority's certificate at a server", file!("ca-leaf.pem"), file!("ca-leaf.key"), file!("ca.pem")),
        ("an ordinary one", file!("leaf.pem"), file!("leaf.key"), file!("ca.pem")),
    ] {
        let (address, heads) = server(certificate, key).await;
        let connection = Connection::from_token(&address, "token", ca).unwrap();
        assert_eq!(version(&connection).await.as_deref(), Ok("v1.36.2"), "{what}");
        let named = Connection { tls_server_name: Some("localhost".into()), ..connection.clone() };
        assert_eq!(version(&named).await.as_deref(), Ok("v1.36.2"), "{what}, by name");
        let head = heads.lock().unwrap()[0].to_lowercase();
        assert!(head.contains("authorization: bearer token\r\n") && head.contains("user-agent: tidewaiter/"), "{head}");
    }
}

#[tokio::test]
async fn others_are_refused_for_their_own_reason() {
    for (certificate, key, ca, words) in [
        (file!("leaf.pem"), file!("leaf.key"), file!("own-ca.pem"), "not trusted here"),
        (file!("leaf.pem"), file!("leaf.key"), "", "not trusted here"),
        (file!("cn-only.pem"), file!("cn-only.key"), file!("ca.pem"), "subjectAltName"),
        (file!("version1.pem"), file!("version1.key"), file!("ca.pem"), "version 1"),
        (file!("sha1-leaf.pem"), file!("sha1-leaf.key"), file!("sha1.pem"), "SHA-1"),
    ] {
        let (address, _) = server(certificate, key).await;
        let error = version(&Connection::from_token(&address, "token", ca).unwrap()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Tls, "{error}");
        assert!(error.message.contains(words), "wanted {words}: {error}");
        let anyone = Connection { insecure_skip_tls_verify: true, ca_pem: String::new(), ..Connection::from_token(&address, "token", "").unwrap() };
        assert_eq!(version(&anyone).await.as_deref(), Ok("v1.36.2"));
    }
    let (address, _) = server(file!("own-ca.pem"), file!("own-ca.key")).await;
    let other = Connection { tls_server_name: Some("other".into()), ..Connection::from_token(&address, "token", file!("own-ca.pem")).unwrap() };
    assert!(version(&other).await.unwrap_err().message.contains("another name"));
}

#[tokio::test]
async fn a_client_certificate_of_version_1_logs_in() {
    let connection = |certificate: &str, key: &str| Connection {
        auth: Auth::ClientCertificate { certificate_pem: certificate.into(), key_pem: key.into(), token: Some("beside".into()) },
        ..Connection::from_token("https://127.0.0.1:1", "token", "").unwrap()
    };
    assert!(client(&connection(file!("version1.pem"), file!("version1.key"))).await.is_ok());
    for (certificate, key, words) in [
        (file!("version1.pem"), file!("ca.key"), "does not belong"),
        (file!("version1.pem"), file!("encrypted.key"), "encrypted"),
        (file!("short.pem"), file!("short.key"), "2048 bits"),
    ] {
        let error = validate(&connection(certificate, key), Kind::Kubernetes, "tidewaiter").await.unwrap_err();
        assert_eq!(error.reason, Reason::Tls);
        assert!(error.message.contains(words), "{error}");
    }
}
