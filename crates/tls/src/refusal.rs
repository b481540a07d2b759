//! Why a certificate is refused, where rustls has no word for it.

use rustls::{CertificateError, Error, OtherError};
use std::sync::Arc;

/// What is wrong with a certificate; the sentence continues "the server's certificate …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Names in the subject (CN) count no longer, with kubectl and browsers neither.
    #[error("names no host in subjectAltName, and a name in its subject (CN) counts no longer")]
    NoNames,
    /// Version 1 has no extensions, so that it cannot name its hosts.
    #[error("is of X.509 version 1, which cannot name its hosts in subjectAltName")]
    Version1,
    /// Can be forged.
    #[error("is signed with SHA-1, which can be forged")]
    Sha1,
    /// The cryptography here starts at 2048 bits.
    #[error("has an RSA key of {0} bits; at least 2048 are needed")]
    WeakKey(usize),
}

impl Refusal {
    /// What an error of rustls carries.
    pub fn of(error: &CertificateError) -> Option<Self> {
        match error {
            CertificateError::Other(OtherError(inner)) => inner.downcast_ref::<Self>().copied(),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}
