//! Judges servers' certificates as Go's TLS does. webpki judges first; what follows is where it is stricter.
//!
//! Source: Go, `crypto/x509/verify.go` (`Certificate.Verify`, `isValid`, `CheckSignatureFrom`).

use crate::refusal::Refusal;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

/// Most authorities between a server's certificate and the given ones.
const AUTHORITIES_MAX: usize = 6;
/// Most signatures that one handshake may make us check beside webpki's own.
const SIGNATURES_MAX: usize = 50;
const RSA_BITS_MIN: usize = 2048;

/// Trusts the given certificates: as authorities, and each for itself.
#[derive(Debug)]
pub struct AcceptingVerifier {
    given: Vec<CertificateDer<'static>>,
    /// `None`: webpki takes none of the given ones as an authority.
    strict: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptingVerifier {
    /// Trusts `given` and nobody else.
    pub fn new(given: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(given.iter().cloned());
        let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
        Self { given, strict, algorithms: provider.signature_verification_algorithms }
    }

    /// Go's rules, for what webpki refused with `refused`.
    fn accept(&self, end_entity: &CertificateDer<'_>, sent: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime, refused: Error) -> Result<(), Error> {
        let Some(leaf) = parse(end_entity) else { return Err(refused) };
        if leaf.version() != X509Version::V3 {
            return Err(Refusal::Version1.into());
        }
        if !is_usable(&leaf, now)? {
            return Err(if is_for_servers(&leaf) { refused } else { CertificateError::InvalidPurpose.into() });
        }
        let pinned = self.given.iter().any(|each| each.as_ref() == end_entity.as_ref());
        if !pinned && !self.is_signed(&leaf, sent, now) {
            return Err(if is_sha1(&leaf) { Refusal::Sha1.into() } else { refused });
        }
        verify_name(end_entity, &leaf, name)
    }

    /// Whether a chain of authorities leads from `leaf` to one of the given certificates.
    fn is_signed(&self, leaf: &X509Certificate<'_>, sent: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let given: Vec<_> = self.given.iter().filter_map(|each| parse(each)).filter(|each| may_sign(each, now, true)).collect();
        let sent: Vec<_> = sent.iter().filter_map(|each| parse(each)).filter(|each| may_sign(each, now, false)).collect();
        let mut signatures = SIGNATURES_MAX;
        self.leads_up(leaf, &given, &sent, 0, &mut signatures)
    }

    fn leads_up(&self, child: &X509Certificate<'_>, given: &[X509Certificate<'_>], sent: &[X509Certificate<'_>], below: usize, signatures: &mut usize) -> bool {
        let mut signed_by = |issuer: &X509Certificate<'_>| {
            let named = issuer.subject().as_raw() == child.issuer().as_raw() && allows_below(issuer, below);
            named && *signatures > 0 && {
                *signatures -= 1;
                self.has_signed(issuer, child)
            }
        };
        if given.iter().any(&mut signed_by) {
            return true;
        }
        let issuers: Vec<_> = sent.iter().filter(|issuer| signed_by(issuer)).collect();
        below < AUTHORITIES_MAX && issuers.into_iter().any(|issuer| self.leads_up(issuer, given, sent, below + 1, signatures))
    }

    fn has_signed(&self, issuer: &X509Certificate<'_>, child: &X509Certificate<'_>) -> bool {
        let Some((algorithm, key)) = key_of(issuer.public_key().raw) else { return false };
        let Some(signed_with) = signature_algorithm(child.as_raw()) else { return false };
        let fits = self.algorithms.all.iter().filter(|each| each.signature_alg_id().as_ref() == signed_with && each.public_key_alg_id().as_ref() == algorithm);
        fits.into_iter().any(|each| each.verify_signature(key, child.tbs_certificate.as_ref(), &child.signature_value.data).is_ok())
    }
}

impl ServerCertVerifier for AcceptingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(bits) = parse(end_entity).and_then(|leaf| weak_key(&leaf)) {
            return Err(Refusal::WeakKey(bits).into());
        }
        let verdict = match &self.strict {
            Some(strict) => strict.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match verdict {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                let leaf = parse(end_entity).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
                verify_name(end_entity, &leaf, server_name).map(|()| ServerCertVerified::assertion())
            }
            Err(refused) if !is_final(&refused) => self.accept(end_entity, intermediates, server_name, now, refused).map(|()| ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Go refuses these too, whoever signed.
fn is_final(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext, Revoked};
    matches!(error, Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } | Revoked))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// In time, made for servers, and without anything critical that nobody here understands.
///
/// # Errors
/// `Expired` or `NotValidYet`.
fn is_usable(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<bool, Error> {
    let (validity, now) = (certificate.validity(), i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(is_for_servers(certificate) && certificate.extensions().iter().all(|extension| !extension.critical || is_understood(extension.parsed_extension())))
}

fn is_for_servers(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.any || usage.value.server_auth),
        Err(_) => false,
    }
}

fn is_understood(extension: &ParsedExtension<'_>) -> bool {
    use ParsedExtension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
    matches!(extension, BasicConstraints(_) | ExtendedKeyUsage(_) | KeyUsage(_) | SubjectAlternativeName(_))
}

/// Whether it is an authority. One that is only meant for some names is left to webpki. A given one may be of version 1, which cannot say so.
fn may_sign(certificate: &X509Certificate<'_>, now: UnixTime, given: bool) -> bool {
    let authority = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => given && certificate.version() != X509Version::V3,
        Err(_) => false,
    };
    let signs = certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    let unlimited = matches!(certificate.name_constraints(), Ok(None));
    authority && signs && unlimited && matches!(is_usable(certificate, now), Ok(true)) && weak_key(certificate).is_none()
}

/// Whether `below` authorities may stand between `issuer` and the server's certificate.
fn allows_below(issuer: &X509Certificate<'_>, below: usize) -> bool {
    let most = issuer.basic_constraints().ok().flatten().and_then(|constraints| constraints.value.path_len_constraint);
    most.is_none_or(|most| usize::try_from(most).is_ok_and(|most| below <= most))
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<usize> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_MIN => Some(key.key_size()),
        _ => None,
    }
}

fn is_sha1(certificate: &X509Certificate<'_>) -> bool {
    let algorithm = certificate.signature_algorithm.oid();
    algorithm == &oid_registry::OID_PKCS1_SHA1WITHRSA || algorithm.to_id_string() == "1.2.840.10045.4.1"
}

fn verify_name(end_entity: &CertificateDer<'_>, leaf: &X509Certificate<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    if matches!(leaf.subject_alternative_name(), Ok(None)) {
        return Err(Refusal::NoNames.into());
    }
    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
}

/// Algorithm (the inside of its identifier) and key bits of a SubjectPublicKeyInfo.
fn key_of(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, _) = element(spki)?;
    let (algorithm, rest) = element(inside)?;
    let (bits, _) = element(rest)?;
    // The first byte counts the unused bits of the last.
    Some((algorithm, bits.strip_prefix(&[0])?))
}

/// The inside of a certificate's second element.
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (inside, _) = element(certificate)?;
    let (_, rest) = element(inside)?;
    element(rest).map(|(algorithm, _)| algorithm)
}

/// The inside of the first DER element, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests;
