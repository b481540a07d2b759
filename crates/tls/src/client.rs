//! rustls' configuration of a client.

use crate::accepting_verifier::AcceptingVerifier;
use crate::identity::{Identity, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;

/// Whose certificates are accepted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The operating system's authorities.
    System,
    /// These and nobody else.
    Given(Vec<CertificateDer<'static>>),
    /// The operating system's authorities, and these.
    SystemAnd(Vec<CertificateDer<'static>>),
    /// Whoever answers.
    Anyone,
}

/// The certificates in a PEM text. Text around them and blocks of other kinds are passed over, as are certificates that cannot be read, when others can.
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    found.filter(|each| x509_parser::parse_x509_certificate(each).is_ok()).collect()
}

/// A client that accepts whom `trust` says and logs in with `identity`, if there is one. Reads the operating system's authorities when it needs them.
///
/// # Errors
/// Only where rustls' own settings do not fit each other.
pub fn client_config(trust: Trust, identity: Option<Identity>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anyone => Arc::new(Anyone(provider.signature_verification_algorithms.supported_schemes())),
        Trust::Given(given) => Arc::new(AcceptingVerifier::new(given, &provider)),
        Trust::System => Arc::new(AcceptingVerifier::new(system(), &provider)),
        Trust::SystemAnd(mut given) => {
            given.extend(system());
            Arc::new(AcceptingVerifier::new(given, &provider))
        }
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(match identity {
        Some(Identity(key)) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    })
}

/// Those that can be read; none at all leads to a refusal of every server.
fn system() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Accepts everybody; signatures too, since whoever stands in between would sign with a key of their own.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
