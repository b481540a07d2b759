use super::*;
use kube::core::Status;

fn of(code: u16, message: &str, reason: &str) -> ConnectError {
    explain(&kube::Error::Api(Status::failure(message, reason).with_code(code).boxed()), "https://lab")
}

#[test]
fn strangers_are_not_quoted() {
    let gone = of(503, "Service Unavailable", NOT_A_STATUS);
    assert_eq!((gone.reason, gone.message.as_str()), (Reason::Unreachable, "https://lab answers that it cannot work now: 503 Service Unavailable."));
    assert_eq!(of(403, "Forbidden", NOT_A_STATUS).reason, Reason::WrongAddress);
    let teapot = of(418, "I'm a teapot", NOT_A_STATUS);
    assert!(teapot.message.contains("status 418 where an object of Kubernetes was expected"), "{teapot}");
    assert_eq!(of(302, "Found", NOT_A_STATUS).reason, Reason::WrongAddress);
}

#[test]
fn what_kubernetes_says_is_shown_bounded() {
    let overloaded = of(503, &"busy \u{7} ".repeat(1_000), "ServiceUnavailable");
    assert!(overloaded.message.len() < 400 && overloaded.message.contains("busy busy"), "{overloaded}");
    assert_eq!(of(403, "pods is forbidden", "Forbidden").missing, ["pods is forbidden"]);
    assert_eq!(of(401, "", "Unauthorized").reason, Reason::Login);
}

#[test]
fn too_much_and_too_slow_are_told_apart_however_deep_they_are_wrapped() {
    let wrapped = |limit: BodyLimit| {
        let inner = kube::Error::Service(Box::new(limit));
        kube::Error::ReadEvents(io::Error::other(io::Error::other(inner)))
    };
    let much = explain(&kube::Error::Service(Box::new(BodyLimit::Bytes { bytes: 16 << 20, line: false })), "https://lab");
    assert_eq!((much.reason, much.message.as_str()), (Reason::TooLarge, "https://lab sent more than 16 MiB in one answer, which is not read."));
    assert!(much.advice.contains("pause"), "{much}");
    let line = explain(&wrapped(BodyLimit::Bytes { bytes: 8 << 20, line: true }), "https://lab");
    assert_eq!((line.reason, line.message.contains("one line of a watch")), (Reason::TooLarge, true), "{line}");
    assert_eq!(explain(&wrapped(BodyLimit::Slow { secs: 60 }), "https://lab").reason, Reason::Unreachable);
}

#[test]
fn old_versions_of_tls_are_told_from_a_refused_login() {
    let said = |error: rustls::Error| of_tls(&error, "https://lab").message;
    for old in
        [rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)]
    {
        assert_eq!(said(old), "https://lab offers no TLS version that is safe to use (1.2 or newer is needed).");
    }
    assert!(said(rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)).contains("no way of encryption"));
    assert!(said(rustls::Error::AlertReceived(AlertDescription::BadCertificate)).contains("refused the TLS handshake"));
}

#[test]
fn old_certificates_are_refused_in_words() {
    for (refusal, words) in
        [(Refusal::NoNames, "subjectAltName"), (Refusal::Version1, "version 1"), (Refusal::Sha1, "SHA-1"), (Refusal::WeakKey(1024), "1024 bits")]
    {
        let error = of_tls(&refusal.into(), "https://lab");
        assert_eq!(error.reason, Reason::Tls);
        assert!(error.message.starts_with("https://lab has a certificate that ") && error.message.contains(words), "{error}");
    }
}
