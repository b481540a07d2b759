use super::*;
use crate::{Identity, Trust, client_config};
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use std::time::Duration;

macro_rules! file {
    ($name:literal) => {
        &include_bytes!(concat!("../../testdata/", $name))[..]
    };
}

fn given(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    crate::certificates(pem)
}

fn verify(trusted: &[u8], sent: &[u8], name: &str) -> Result<(), Error> {
    verify_at(trusted, sent, name, UnixTime::now())
}

fn verify_at(trusted: &[u8], sent: &[u8], name: &str, now: UnixTime) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let sent = given(sent);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    AcceptingVerifier::new(given(trusted), &provider).verify_server_cert(&sent[0], &sent[1..], &name, &[], now).map(drop)
}

fn refusal(error: Error) -> Option<Refusal> {
    match error {
        Error::InvalidCertificate(error) => Refusal::of(&error),
        _ => None,
    }
}

#[test]
fn what_go_accepts_is_accepted() {
    let chain = [file!("below-middle.pem"), file!("middle.pem")].concat();
    for (what, trusted, sent) in [
        ("by the given authority", file!("ca.pem"), file!("leaf.pem")),
        ("its own authority", file!("own-ca.pem"), file!("own-ca.pem")),
        ("signed with its own key", file!("own-leaf.pem"), file!("own-leaf.pem")),
        ("the server's own certificate as authority", file!("leaf.pem"), file!("leaf.pem")),
        ("an authority's certificate at a server", file!("ca.pem"), file!("ca-leaf.pem")),
        ("the same through an authority between", file!("ca.pem"), &chain),
        ("an authority of version 1", file!("version1-ca.pem"), file!("below-version1.pem")),
        ("SHA-1, but given word for word", file!("sha1.pem"), file!("sha1.pem")),
        ("several given", &[file!("impostor.pem"), file!("ca.pem")].concat(), file!("ca-leaf.pem")),
    ] {
        for name in ["localhost", "127.0.0.1"] {
            verify(trusted, sent, name).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        }
    }
}

#[test]
fn what_go_refuses_is_refused() {
    let too_deep = [file!("too-deep.pem"), file!("second-middle.pem"), file!("middle.pem")].concat();
    for (what, trusted, sent) in [
        ("nobody we know", file!("own-ca.pem"), file!("leaf.pem")),
        ("another key of the same name", file!("ca.pem"), file!("forged.pem")),
        ("another certificate of the same name", file!("impostor.pem"), file!("ca-leaf.pem")),
        ("signed by a server", file!("ca.pem"), &[file!("signed-by-leaf.pem"), file!("leaf.pem")].concat()),
        ("signed by a server that is given", file!("leaf.pem"), file!("signed-by-leaf.pem")),
        ("more authorities than one of them allows", file!("ca.pem"), &too_deep),
        ("an authority for other names", file!("ca.pem"), &[file!("below-limited.pem"), file!("limited.pem")].concat()),
        ("an authority that may not sign", file!("ca.pem"), &[file!("below-not-a-signer.pem"), file!("not-a-signer.pem")].concat()),
        ("made for clients", file!("for-clients.pem"), file!("for-clients.pem")),
        ("something critical and unknown", file!("ca.pem"), file!("unknown-critical.pem")),
        ("no authority between was sent", file!("ca.pem"), file!("below-middle.pem")),
    ] {
        assert!(verify(trusted, sent, "localhost").is_err(), "{what}");
    }
}

#[test]
fn names_and_times_count_for_given_certificates_too() {
    for pem in [file!("own-ca.pem"), file!("own-leaf.pem"), file!("leaf.pem"), file!("sha1.pem")] {
        let error = verify(pem, pem, "other.example.org").unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName)), "{error:?}");
        for (secs, late) in [(0, false), (200 * 365 * 86_400, true)] {
            let error = verify_at(pem, pem, "localhost", UnixTime::since_unix_epoch(Duration::from_secs(secs))).unwrap_err();
            let Error::InvalidCertificate(error) = error else { panic!("{error:?}") };
            assert_eq!(matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. }), late, "{error:?}");
            assert_eq!(matches!(error, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }), !late, "{error:?}");
        }
    }
}

#[test]
fn old_certificates_are_refused_in_words() {
    for (trusted, sent, want) in [
        (file!("ca.pem"), file!("cn-only.pem"), Refusal::NoNames),
        (file!("cn-only.pem"), file!("cn-only.pem"), Refusal::NoNames),
        (file!("ca.pem"), file!("version1.pem"), Refusal::Version1),
        (file!("version1.pem"), file!("version1.pem"), Refusal::Version1),
        (file!("sha1.pem"), file!("sha1-leaf.pem"), Refusal::Sha1),
        (file!("short.pem"), file!("short.pem"), Refusal::WeakKey(1024)),
    ] {
        assert_eq!(refusal(verify(trusted, sent, "localhost").unwrap_err()), Some(want));
    }
}

#[test]
fn bytes_that_are_no_certificate_are_refused_without_a_panic() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = AcceptingVerifier::new(given(file!("ca-leaf.pem")), &provider);
    let name = ServerName::try_from("localhost").unwrap();
    let whole = given(file!("ca-leaf.pem")).remove(0);
    for cut in 0..whole.len() {
        assert!(verifier.verify_server_cert(&CertificateDer::from(&whole[..cut]), &[], &name, &[], UnixTime::now()).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 0x41;
        assert!(verifier.verify_server_cert(&CertificateDer::from(changed), &[], &name, &[], UnixTime::now()).is_err(), "{at}");
    }
    for der in [&[][..], &[0x30], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 2, 1]] {
        assert!(element(der).is_none(), "{der:?}");
    }
}

/// A whole handshake in memory; gives whether the server saw a client certificate.
fn shake_hands(trust: Trust, identity: Option<Identity>, server: Identity) -> Result<bool, Error> {
    let client = client_config(trust, identity).unwrap();
    let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(server.0));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(Arc::new(AnyClient)).with_cert_resolver(resolver);
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap())?;
    let mut server = ServerConnection::new(Arc::new(config))?;
    for _ in 0..20 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(server.peer_certificates().is_some())
}

/// Asks for a certificate and takes any.
#[derive(Debug)]
struct AnyClient;

impl rustls::server::danger::ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn verify_client_cert(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<rustls::server::danger::ClientCertVerified, Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn handshakes_succeed_with_whole_chains_and_old_clients() {
    let server = |pem: &[u8], key: &[u8]| Identity::from_pem(pem, key).unwrap();
    let own_ca = || server(file!("own-ca.pem"), file!("own-ca.key"));
    let trust = |pem: &[u8]| Trust::Given(given(pem));
    assert!(!shake_hands(trust(file!("own-ca.pem")), None, own_ca()).unwrap());
    let old = Identity::from_pem(file!("version1.pem"), file!("version1.key")).unwrap();
    assert!(shake_hands(trust(file!("leaf.pem")), Some(old), server(file!("leaf.pem"), file!("leaf.key"))).unwrap());
    assert!(shake_hands(trust(file!("ca.pem")), None, own_ca()).is_err());
    // Somebody who has the certificate, but not its key.
    assert!(shake_hands(trust(file!("own-ca.pem")), None, Identity(Arc::new(stolen()))).is_err());
    assert!(!shake_hands(Trust::Anyone, None, server(file!("version1.pem"), file!("version1.key"))).unwrap());
    assert!(!shake_hands(Trust::SystemAnd(given(file!("own-ca.pem"))), None, own_ca()).unwrap());
    assert!(shake_hands(Trust::System, None, own_ca()).is_err());
}

fn stolen() -> rustls::sign::CertifiedKey {
    let other = Identity::from_pem(file!("leaf.pem"), file!("leaf.key")).unwrap();
    rustls::sign::CertifiedKey::new(given(file!("own-ca.pem")), other.0.key.clone())
}
