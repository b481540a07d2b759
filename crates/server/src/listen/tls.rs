//! The server's own TLS: a certificate and its key from PEM files, read again when they change.

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificate that is shown now.
pub struct Certificate {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Which files these are: what is changed in place or replaced has another.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(f)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Certificate {
    /// # Errors
    /// A file cannot be read, holds something else, or the key is another certificate's.
    pub fn load(certificate: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Arc::new(Self { files, current }))
    }

    /// HTTP/1.1 over TLS 1.2 and 1.3, with whatever certificate is current.
    ///
    /// # Errors
    /// No cryptography was chosen for this process.
    pub fn config(self: &Arc<Self>) -> anyhow::Result<Arc<ServerConfig>> {
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Takes up what changes in the files, for ever. What cannot be used is said once; the certificate of before stays.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.files.stamp();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.files.stamp();
            if now != seen {
                seen = now;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match self.files.read() {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!(certificate = %self.files.certificate.display(), "the TLS certificate was read again");
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "the new TLS certificate cannot be used; the one of before stays"),
        }
    }
}

impl Files {
    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect);
        let chain: Vec<_> = chain.map_err(|error| anyhow::anyhow!("reading certificates from {certificate} (server.tls_certificate): {error}"))?;
        anyhow::ensure!(!chain.is_empty(), "{certificate} (server.tls_certificate) holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
        let private = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| anyhow::anyhow!("reading a private key from {key} (server.tls_key): {error}"))?;
        let provider = CryptoProvider::get_default().context("no cryptography was chosen")?;
        CertifiedKey::from_der(chain, private, provider).with_context(|| {
            format!(
                "using {certificate} with {key} (server.tls_certificate and server.tls_key: the server's own certificate comes first, and the key is its own)"
            )
        })
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| fs::metadata(path).ok().map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec()));
        [of(&self.certificate), of(&self.key)]
    }
}
