//! Certificates as people make them for their registries.

use crate::images::Image;
use crate::peers::{Registry, openssl};
use crate::{access, fetch, refused};
use scap::protocol::FailureCode;
use std::fs;
use std::path::{Path, PathBuf};

const SAN: &str = "-addext subjectAltName=IP:127.0.0.1";

/// A registry with the certificate that these arguments of `openssl req -x509` make, in cert.pem.
async fn registry(arguments: &str) -> (Registry, String) {
    let registry = Registry::with_certificate(|dir| {
        openssl(dir, &format!("req -newkey rsa:2048 -nodes -sha256 -x509 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem {arguments}"));
    })
    .await;
    let name = registry.push(&Image::sample(), "shop/tls");
    (registry, name)
}

async fn pulls(registry: &Registry, name: &str, ca: PathBuf) -> Result<(), String> {
    let mut access = access(registry, None);
    access.plain_http.clear();
    access.ca_file = Some(ca);
    let dir = tempfile::tempdir().unwrap();
    fetch(name, &access, dir.path()).await.map(|_| ()).map_err(|failure| format!("{:?}: {}", failure.code, failure.message))
}

#[tokio::test]
async fn a_certificate_that_is_given_itself_is_trusted_whether_it_is_an_authority_or_not() {
    for arguments in [format!("-days 2 {SAN}"), format!("-days 2 {SAN} -addext basicConstraints=critical,CA:FALSE")] {
        let (registry, name) = registry(&arguments).await;
        let pem = registry.dir().join("cert.pem");
        assert_eq!(pulls(&registry, &name, pem.clone()).await, Ok(()), "{arguments}");
        let text = fs::read_to_string(&pem).unwrap();
        for (file, bytes) in [
            ("text.pem", format!("Certificate of the registry\r\n{}", text.replace('\n', "\r\n")).into_bytes()),
            ("two.pem", format!("{text}{text}-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n").into_bytes()),
            ("der.crt", openssl(registry.dir(), "x509 -in cert.pem -outform DER")),
        ] {
            let file = registry.dir().join(file);
            fs::write(&file, bytes).unwrap();
            assert_eq!(pulls(&registry, &name, file.clone()).await, Ok(()), "{file:?}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    for (arguments, words) in [
        ("-days 2", "names no host in subjectAltName"),
        ("-days 2 -addext subjectAltName=DNS:registry.example.org", "is for registry.example.org, not for 127.0.0.1"),
        ("-days 2 -addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=clientAuth", "not made for servers"),
    ] {
        let (registry, name) = registry(arguments).await;
        says(&registry, &name, words).await;
    }
    for (from, to, words) in
        [("20200101000000Z", "20200201000000Z", "has expired (2020-02-01)"), ("20900101000000Z", "20900201000000Z", "is not valid yet (2090-01-01)")]
    {
        let registry = Registry::with_certificate(|dir| dated(dir, from, to)).await;
        let name = registry.push(&Image::sample(), "shop/tls");
        says(&registry, &name, words).await;
    }
}

async fn says(registry: &Registry, name: &str, words: &str) {
    let problem = pulls(registry, name, registry.dir().join("cert.pem")).await.unwrap_err();
    assert!(problem.starts_with("RegistryTls: ") && problem.contains(words), "{words}: {problem}");
    assert!(!problem.contains("registry_ca_file"), "the CA is not the trouble: {problem}");
}

/// A certificate of its own for some days of the past or the future.
fn dated(dir: &Path, from: &str, to: &str) {
    let config = "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index\nserial=serial\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n\
        [p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1\n";
    for (file, text) in [("config", config), ("index", ""), ("serial", "01")] {
        fs::write(dir.join(file), text).unwrap();
    }
    openssl(dir, "req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout key.pem -out request.pem");
    openssl(dir, &format!("ca -batch -notext -selfsign -config config -keyfile key.pem -in request.pem -out cert.pem -startdate {from} -enddate {to}"));
}

#[tokio::test]
async fn a_ca_file_that_holds_none_is_said_before_anything_is_asked() {
    let registry = Registry::open().await;
    let name = format!("{}/a@sha256:{}", registry.host(), "0".repeat(64));
    let file = registry.dir().join("ca");
    for (text, words) in [("", "no certificate"), ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key")] {
        fs::write(&file, text).unwrap();
        let mut access = access(&registry, None);
        access.ca_file = Some(file.clone());
        let problem = refused(&name, &access).await;
        assert_eq!(problem.code, FailureCode::RegistryTls);
        assert!(problem.message.contains(words), "{}", problem.message);
    }
}
