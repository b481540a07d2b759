//! Why a provider cannot be used, told apart, each with what to do.

use crate::bounded::{BodyLimit, NOT_A_STATUS, cleaned};
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use tls::Refusal;

/// The sort of a [`ConnectError`]; all but `Input` are a status of `providers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// What was typed cannot be right; nothing was sent.
    Input,
    /// The name does not resolve, or what answers is no Kubernetes API server.
    WrongAddress,
    /// Nobody answers.
    Unreachable,
    /// The server's certificate is not trusted, or the client's was refused.
    Tls,
    /// The login was refused.
    Login,
    /// Logged in, but not allowed what Tidewaiter needs.
    Permissions,
    /// It sends more than any cluster has a reason to.
    TooLarge,
    /// Anything else.
    Error,
}

impl Reason {
    /// As stored in `providers.status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongAddress => "wrong_address",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Permissions => "permissions",
            Self::TooLarge => "too_large",
            Self::Input | Self::Error => "error",
        }
    }
}

/// Why a provider cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    /// The sort of failure.
    pub reason: Reason,
    /// One sentence: what happened.
    pub message: String,
    /// One sentence: what to do about it.
    pub advice: String,
    /// With `Reason::Permissions`: what is not allowed, e.g. `list pods in all namespaces`. Empty otherwise.
    pub missing: Vec<String>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message, self.advice)
    }
}

impl StdError for ConnectError {}

impl ConnectError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason, message: message.into(), advice: advice.into(), missing: Vec::new() }
    }

    pub(crate) fn input(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Reason::Input, message, advice)
    }

    pub(crate) fn timeout(server: &str, secs: u64) -> Self {
        Self::new(Reason::Unreachable, format!("{server} did not answer within {secs} seconds."), UNREACHABLE)
    }

    pub(crate) fn not_kubernetes(server: &str) -> Self {
        Self::new(
            Reason::WrongAddress,
            format!("What answers at {server} is not a Kubernetes API server."),
            "Check host, port and path; `kubectl cluster-info` prints the right address.",
        )
    }

    /// `what` it sent, e.g. `more than 16 MiB in one answer`.
    pub(crate) fn too_large(server: &str, what: &str) -> Self {
        Self::new(Reason::TooLarge, format!("{server} sent {what}, which is not read."), TOO_LARGE)
    }

    /// Tidewaiter's own trouble with what a provider sent; the log has the details.
    pub(crate) fn internal(server: &str) -> Self {
        Self::new(
            Reason::Error,
            format!("What {server} sent could not be processed."),
            "Tidewaiter tries again by itself, with growing pauses; its log says why. If this stays, pause the provider and report it.",
        )
    }

    /// It is an API server, but sent something that Tidewaiter's shapes do not fit.
    pub(crate) fn unreadable(server: &str, why: &str) -> Self {
        Self::new(
            Reason::Error,
            format!("{server} sent an object that Tidewaiter cannot read: {}.", brief(why)),
            "Tidewaiter reads everything anew by itself. If this stays, report it with the version of the API server and this text.",
        )
    }

    pub(crate) fn permissions(missing: Vec<String>) -> Self {
        let message = format!("The login works, but it is not allowed to: {}.", missing.join("; "));
        Self {
            missing,
            ..Self::new(Reason::Permissions, message, "Apply config/kubernetes-provider.yaml to the cluster; it grants exactly what Tidewaiter needs.")
        }
    }
}

const UNREACHABLE: &str = "Check that the API server runs, and that no firewall stands between it and this server.";
const TOO_LARGE: &str =
    "Look at what answers at that address: no sound API server sends so much. What was read before stays; pause the provider until this is clear.";
const CHECK_LOGIN: &str =
    "Check that the token or certificate belongs to this cluster and has not expired or been revoked; config/kubernetes-provider.yaml makes one that lasts.";

/// What a failed call to the API server at `server` means.
pub(crate) fn explain(error: &kube::Error, server: &str) -> ConnectError {
    if let kube::Error::Api(status) = error {
        return of_status(status, server);
    }
    if matches!(error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
        return ConnectError::not_kubernetes(server);
    }
    of_chain(error, server)
}

fn of_status(status: &kube::core::Status, server: &str) -> ConnectError {
    let said = said(status);
    match status.code {
        401 => ConnectError::new(Reason::Login, format!("{server} refused the login."), CHECK_LOGIN),
        403 if status.message.contains("system:anonymous") => {
            ConnectError::new(Reason::Login, format!("{server} did not recognise the login and treats Tidewaiter as anonymous."), CHECK_LOGIN)
        }
        403 if status.reason == NOT_A_STATUS => ConnectError::not_kubernetes(server),
        403 => ConnectError::permissions(vec![said]),
        429 | 500..=599 => ConnectError::new(
            Reason::Unreachable,
            format!("{server} answers that it cannot work now: {said}."),
            "Look at the state of the cluster's control plane; Tidewaiter tries again by itself.",
        ),
        404 | 405 | 400 | 301..=399 => ConnectError::not_kubernetes(server),
        code => ConnectError::new(
            Reason::Error,
            format!("{server} answers with status {code} where an object of Kubernetes was expected: {said}."),
            "Look into the API server's log for the request.",
        ),
    }
}

/// What a status of Kubernetes says; of any other answer its number alone.
fn said(status: &kube::core::Status) -> String {
    if status.reason == NOT_A_STATUS { format!("{} {}", status.code, brief(&status.message)) } else { brief(&status.message) }
}

/// The first cause in the chain that tells something definite.
fn of_chain(error: &(dyn StdError + 'static), server: &str) -> ConnectError {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = of_cause(cause, server) {
            return found;
        }
        texts.push(cause.to_string());
        next = cause.source();
    }
    let last = texts.last().map(String::as_str).unwrap_or_default();
    if texts.iter().any(|text| text.contains("dns error")) {
        let message = format!("The name of {server} cannot be resolved: {}.", brief(last));
        return ConnectError::new(Reason::WrongAddress, message, "Check the host name, or give the API server's IP address.");
    }
    if texts.iter().any(|text| text.contains("invalid HTTP")) {
        return ConnectError::not_kubernetes(server);
    }
    ConnectError::new(Reason::Unreachable, format!("The connection to {server} failed: {}.", brief(last)), UNREACHABLE)
}

/// Whether a large page or line did not come in time.
pub(crate) fn is_late(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if matches!(cause.downcast_ref(), Some(BodyLimit::Late { .. })) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn of_cause(cause: &(dyn StdError + 'static), server: &str) -> Option<ConnectError> {
    if let Some(found) = of_known(cause, server) {
        return Some(found);
    }
    let mut io = cause.downcast_ref::<io::Error>()?;
    // An io::Error that wraps another error leaves it out of source(): look inside, however deep.
    loop {
        let Some(inner) = io.get_ref() else { return of_io(io.kind(), server) };
        if let Some(found) = of_known(inner, server) {
            return Some(found);
        }
        match inner.downcast_ref::<io::Error>() {
            Some(deeper) => io = deeper,
            None => return of_io(io.kind(), server),
        }
    }
}

fn of_known(cause: &(dyn StdError + 'static), server: &str) -> Option<ConnectError> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(of_tls(tls, server));
    }
    let limit = cause.downcast_ref::<BodyLimit>()?;
    Some(match limit {
        BodyLimit::Slow { secs } => ConnectError::timeout(server, *secs),
        BodyLimit::Bytes { .. } | BodyLimit::Nodes { .. } | BodyLimit::Late { .. } => ConnectError::too_large(server, &limit.to_string()),
    })
}

fn of_io(kind: io::ErrorKind, server: &str) -> Option<ConnectError> {
    let what = match kind {
        io::ErrorKind::ConnectionRefused => "refused the connection: nothing listens there",
        io::ErrorKind::TimedOut => "did not answer in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "cannot be reached from this server's network",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "broke the connection off"
        }
        _ => return None,
    };
    Some(ConnectError::new(Reason::Unreachable, format!("{server} {what}."), UNREACHABLE))
}

fn of_tls(error: &rustls::Error, server: &str) -> ConnectError {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, PeerIncompatible as Incompatible};
    let (what, advice) = match error {
        InvalidMessage(_) => {
            return ConnectError::new(
                Reason::WrongAddress,
                format!("What answers at {server} does not speak TLS."),
                "Check the port; an API server listens with TLS, usually on 6443.",
            );
        }
        InvalidCertificate(certificate) => of_certificate(certificate),
        AlertReceived(AlertDescription::ProtocolVersion)
        | Incompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => {
            ("offers no TLS version that is safe to use (1.2 or newer is needed)".into(), "Renew the TLS settings of the API server.")
        }
        AlertReceived(alert) => {
            (format!("refused the TLS handshake ({alert:?})"), "If the login is a client certificate, it may have expired or belong to another cluster.")
        }
        Incompatible(_) => (format!("offers no way of encryption that is safe to use ({error})"), "Renew the TLS settings of the API server."),
        other => (format!("failed the TLS handshake: {other}"), "Check host and port."),
    };
    ConnectError::new(Reason::Tls, format!("{server} {what}."), advice)
}

fn of_certificate(error: &CertificateError) -> (String, &'static str) {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "has a certificate from an authority that is not trusted here".into(),
            "Give the cluster's own CA certificate (certificate-authority-data in a kubeconfig, or ca.crt of a ServiceAccount's secret).",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (format!("has a certificate that has expired ({error})"), "Renew the API server's certificate; if it is valid, check this server's clock.")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (format!("has a certificate that is not valid yet ({error})"), "Check this server's clock.")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            (format!("has a certificate for another name ({error})"), "Use an address that the certificate names, or a kubeconfig with tls-server-name.")
        }
        _ if Refusal::of(error).is_some() => {
            let refusal = Refusal::of(error).map(|refusal| refusal.to_string()).unwrap_or_default();
            (format!("has a certificate that {refusal}"), "Renew the API server's certificate; kubeadm, k3s and OpenShift make good ones.")
        }
        CertificateError::Revoked => ("has a certificate that was revoked".into(), "Renew the API server's certificate."),
        other => (
            format!("has a certificate that cannot be accepted ({other})"),
            "Give the cluster's own CA certificate, and check that the server presents one made for servers.",
        ),
    }
}

/// One line of at most 300 characters, without a full stop at its end.
fn brief(text: &str) -> String {
    let short: String = cleaned(text).chars().take(300).collect();
    short.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
