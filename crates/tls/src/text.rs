//! Certificates as people store them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

/// The certificates in a file: PEM with any text around it, spaces before its lines, any line ends or a byte order mark; or one certificate in DER.
///
/// # Errors
/// Words for people: no certificate in it can be used.
pub fn certificates_in(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if let Ok((rest, _)) = x509_parser::parse_x509_certificate(file) {
        return Ok(vec![CertificateDer::from(file[..file.len() - rest.len()].to_vec())]);
    }
    let text = String::from_utf8_lossy(file);
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let found = crate::certificates(lines.join("\n").as_bytes());
    let named = |label: &str| lines.iter().filter(|line| line.starts_with("-----BEGIN ") && line.contains(label)).count();
    match (found.is_empty(), named("CERTIFICATE")) {
        (false, _) => Ok(found),
        (true, 0) if named("PRIVATE KEY") > 0 => Err("it holds a private key and no certificate".into()),
        (true, 0) => Err("it holds no certificate in PEM or DER form".into()),
        (true, _) => Err("its certificates are damaged".into()),
    }
}

/// The certificates in a file, of whatever form, as plain PEM.
///
/// # Errors
/// As [`certificates_in`].
pub fn pem_of(file: &[u8]) -> Result<String, String> {
    const LINE: usize = 64;
    let block = |certificate: &CertificateDer<'_>| {
        let text = STANDARD.encode(certificate);
        let lines: Vec<&str> = text.as_bytes().chunks(LINE).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    Ok(certificates_in(file)?.iter().map(block).collect())
}

#[cfg(test)]
mod tests {
    use super::{certificates_in, pem_of};

    #[test]
    fn certificates_are_found_however_they_are_stored() {
        let pem = include_str!("../testdata/ca.pem");
        let one = certificates_in(pem.as_bytes()).unwrap();
        assert_eq!(one.len(), 1);
        let indented: String = pem.lines().map(|line| format!("  {line} \n")).collect();
        for text in [
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\r"),
            format!("\u{feff}{pem}"),
            format!("Subject: x\n{pem}trailing text"),
            indented,
            pem.trim_end().to_owned(),
        ] {
            assert_eq!(certificates_in(text.as_bytes()).unwrap(), one, "{text}");
        }
        assert_eq!(certificates_in(&one[0]).unwrap(), one, "DER");
        assert_eq!(pem_of(&one[0]).unwrap(), pem);
        assert_eq!(pem_of(format!("text\n{pem}").as_bytes()).unwrap(), pem);
        let both = format!("{pem}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{pem}");
        assert_eq!(certificates_in(both.as_bytes()).unwrap().len(), 2, "a damaged one does not stop the others");
    }

    #[test]
    fn what_holds_no_certificate_is_said() {
        for (text, word) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
        ] {
            let problem = certificates_in(text.as_bytes()).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
