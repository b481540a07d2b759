use super::*;

macro_rules! file {
    ($name:literal) => {
        &include_bytes!(concat!("../../testdata/", $name))[..]
    };
}

#[test]
fn certificates_of_any_version_and_keys_of_any_form_are_taken() {
    for (certificate, key) in [
        (file!("leaf.pem"), file!("leaf.key")),
        (file!("version1.pem"), file!("version1.key")),
        (file!("version1-with-text.pem"), file!("version1-sec1.key")),
        (file!("sha1.pem"), file!("sha1.key")),
        (&[file!("leaf.pem"), file!("ca.pem")].concat(), &[file!("ca.pem"), file!("leaf.key")].concat()),
    ] {
        let identity = Identity::from_pem(certificate, key).unwrap();
        assert_eq!(format!("{identity:?}"), "Identity(…)");
    }
}

#[test]
fn what_cannot_log_in_is_refused_for_its_own_reason() {
    for (certificate, key, want) in [
        (file!("leaf.key"), file!("leaf.key"), IdentityError::Certificate),
        (&b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"[..], file!("leaf.key"), IdentityError::Certificate),
        (file!("leaf.pem"), file!("leaf.pem"), IdentityError::Key),
        (file!("leaf.pem"), b"", IdentityError::Key),
        (file!("leaf.pem"), file!("encrypted.key"), IdentityError::EncryptedKey),
        (file!("short.pem"), file!("short.key"), IdentityError::UnsupportedKey),
        (file!("leaf.pem"), file!("ca.key"), IdentityError::Mismatch),
    ] {
        assert_eq!(Identity::from_pem(certificate, key).unwrap_err(), want);
    }
}
