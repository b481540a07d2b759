//! The certificate and key that a client logs in with.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// A client certificate (chain) with its key. `Debug` shows neither.
#[derive(Clone)]
pub struct Identity(pub(crate) Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// What is wrong with a client certificate or its key: a sentence without its full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No block CERTIFICATE, or not its base64.
    #[error("the client certificate is not in PEM form")]
    Certificate,
    /// No block with a private key, or not its base64.
    #[error("the client key is not in PEM form")]
    Key,
    /// Nobody could type its password.
    #[error("the client key is encrypted with a password")]
    EncryptedKey,
    /// A kind of key, or a length, that the cryptography here does not take.
    #[error("the client key is of a kind that is not supported here: RSA needs at least 2048 bits, ECDSA the curve P-256 or P-384, or it is Ed25519")]
    UnsupportedKey,
    /// The public key is another.
    #[error("the client key does not belong to the client certificate")]
    Mismatch,
}

impl Identity {
    /// From PEM. Text around the blocks is passed over, and a certificate may be of any version.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<_, _>>().map_err(|_| IdentityError::Certificate)?;
        let first = chain.first().ok_or(IdentityError::Certificate)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(first).map_err(|_| IdentityError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| no_key(&error, key_pem))?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| IdentityError::UnsupportedKey)?;
        if key.public_key().is_some_and(|public| public.as_ref() != certificate.public_key().raw) {
            return Err(IdentityError::Mismatch);
        }
        // Not CertifiedKey::from_der, which has webpki read the certificate.
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }
}

fn no_key(error: &pem::Error, pem: &[u8]) -> IdentityError {
    let encrypted = ["ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"].iter().any(|mark| pem.windows(mark.len()).any(|at| at == mark.as_bytes()));
    match error {
        _ if encrypted => IdentityError::EncryptedKey,
        _ => IdentityError::Key,
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
