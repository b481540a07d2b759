//! Why a registry could not be asked, in words for people.

use crate::failure::failure;
use chrono::DateTime;
use reqwest::StatusCode;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use rustls_pki_types::UnixTime;
use scap::protocol::{Failure, FailureCode};
use std::error::Error;
use std::io;
use url::Url;

/// A registry names an address where it has nothing to say.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the registry names an address inside the network or on this machine, where it is not itself")]
pub(super) struct Forbidden;

/// Trying again would not help.
pub(super) fn is_final(error: &reqwest::Error) -> bool {
    is_tls(error) || find::<Forbidden>(error).is_some() || error.is_redirect()
}

/// The failure of what [`is_final`].
pub(super) fn of(url: &Url, error: &reqwest::Error) -> Failure {
    if find::<Forbidden>(error).is_some() {
        return inside(url);
    }
    if is_tls(error) { tls(url, error) } else { unreachable(url, error) }
}

/// Logins or requests would go where the registry has nothing to say.
pub(super) fn inside(url: &Url) -> Failure {
    let message = format!(
        "Asking {} was refused: a registry names it or redirects there, but it is inside a private network or on this machine, and the registry is not.",
        authority(url)
    );
    failure(FailureCode::AccessDenied, message)
}

pub(super) fn busy(url: &Url, status: StatusCode) -> Failure {
    let host = authority(url);
    if status == StatusCode::TOO_MANY_REQUESTS {
        let message = format!("The registry {host} limits how often images are pulled: wait, or add an image pull secret of an account with a higher limit.");
        return failure(FailureCode::RateLimited, message);
    }
    failure(FailureCode::RegistryUnreachable, format!("The registry {host} answered with {status}: see its log."))
}

/// The transfer or the connection failed.
pub(crate) fn unreachable(url: &Url, error: &reqwest::Error) -> Failure {
    let host = authority(url);
    let why = chain(error);
    let message = if error.is_redirect() {
        format!("The registry {host} cannot be asked: {why}.")
    } else {
        format!("The registry {host} cannot be reached from the scan pod ({why}): check that it runs, and the cluster's network policies.")
    };
    failure(FailureCode::RegistryUnreachable, message)
}

fn tls(url: &Url, error: &reqwest::Error) -> Failure {
    let host = authority(url);
    let message = match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "The TLS certificate of the registry {host} is signed by an authority that is not known here: give Tidewaiter its CA (smartstate.registry_ca_file)."
        ),
        Some(rustls::Error::InvalidCertificate(wrong)) => format!("The TLS certificate of the registry {host} {}.", certificate(wrong)),
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("The registry {host} does not answer in TLS: list it under smartstate.plain_http_registries if it speaks plain HTTP.")
        }
        Some(
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
            | rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
        ) => format!("The registry {host} offers no TLS version that is safe to use: 1.2 or newer is needed."),
        _ => format!("No TLS connection to the registry {host} ({}).", chain(error)),
    };
    failure(FailureCode::RegistryTls, message)
}

/// What is wrong with a certificate, and what to do.
fn certificate(wrong: &CertificateError) -> String {
    let day = |time: &UnixTime| {
        i64::try_from(time.as_secs()).ok().and_then(|secs| DateTime::from_timestamp(secs, 0)).map_or_else(String::new, |time| time.format(" (%F)").to_string())
    };
    match wrong {
        CertificateError::Expired => "has expired: renew it".into(),
        CertificateError::ExpiredContext { not_after, .. } => format!("has expired{}: renew it", day(not_after)),
        CertificateError::NotValidYet => "is not valid yet: check the clocks".into(),
        CertificateError::NotValidYetContext { not_before, .. } => format!("is not valid yet{}: check the clocks", day(not_before)),
        CertificateError::NotValidForName => "is for another name".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // rustls writes them as `DnsName("registry.example")`.
            let plain = |name: &String| name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')').trim_matches('"')).to_owned();
            let names: Vec<String> = presented.iter().take(5).map(plain).collect();
            // An address in a certificate is of a kind of its own.
            if names.iter().any(|name| *name == expected.to_str()) {
                return format!("has {} as a DNS name only: add it as an IP address (subjectAltName)", expected.to_str());
            }
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("is for {names}, not for {}: add this name to it (subjectAltName)", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for servers (extendedKeyUsage): make one that is".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        wrong => match tls::Refusal::of(wrong) {
            Some(refusal) => format!("{refusal}: make a new one"),
            None => format!("cannot be accepted ({wrong})"),
        },
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    error.is_connect() && find::<rustls::Error>(error).is_some()
}

pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The innermost cause, which is what helps; reqwest's own words repeat the address, which may hold a signature.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The error of a kind in a chain of causes; io errors hide what they hold.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = held.and_then(|held| find::<T>(held)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::ServerName;

    #[test]
    fn a_certificate_for_another_name_says_for_which() {
        let said = |expected: &str, presented: &str| {
            let expected = ServerName::try_from(expected.to_owned()).unwrap();
            certificate(&CertificateError::NotValidForNameContext { expected, presented: vec![presented.to_owned()] })
        };
        assert_eq!(said("a.example", "DnsName(\"b.example\")"), "is for b.example, not for a.example: add this name to it (subjectAltName)");
        assert_eq!(said("10.0.0.1", "DnsName(\"10.0.0.1\")"), "has 10.0.0.1 as a DNS name only: add it as an IP address (subjectAltName)");
    }
}
