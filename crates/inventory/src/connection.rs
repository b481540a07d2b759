//! How to reach a provider: address, trust, login.

use crate::failure::ConnectError;
use crate::kubeconfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::sync::Semaphore;
use url::Url;

/// The port of an API server when an address names neither port nor scheme.
const DEFAULT_PORT: u16 = 6443;

/// The kind of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Any conformant Kubernetes.
    Kubernetes,
    /// Red Hat OpenShift or OKD.
    Openshift,
}

impl Kind {
    /// Every kind, in the order a form shows them.
    pub const ALL: [Self; 2] = [Self::Kubernetes, Self::Openshift];

    /// As stored in `providers.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Openshift => "openshift",
        }
    }

    /// As people write it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes",
            Self::Openshift => "OpenShift",
        }
    }

    /// The inverse of [`Kind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Everything needed to talk to one API server. Stored sealed, as JSON. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `https://host:port`, with a path when the API server is behind one; no slash at the end.
    pub server: String,
    /// The certificate authority to trust, PEM; empty: the operating system's.
    #[serde(default)]
    pub ca_pem: String,
    /// How Tidewaiter logs in.
    pub auth: Auth,
    /// Trust whoever answers. Validation warns about it.
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
    /// The name to expect in the certificate when it is not the address's host.
    #[serde(default)]
    pub tls_server_name: Option<String>,
}

/// How Tidewaiter logs in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A bearer token, usually of a ServiceAccount.
    Token(String),
    /// A client certificate with its key, both PEM.
    ClientCertificate {
        /// The certificate (chain).
        certificate_pem: String,
        /// Its private key.
        key_pem: String,
        /// A bearer token that is sent too, as kubectl does when it has both.
        #[serde(default)]
        token: Option<String>,
    },
    /// User name and password (old clusters).
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::ClientCertificate { .. } => "ClientCertificate(…)",
            Self::Basic { .. } => "Basic(…)",
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Connection {
    /// From an address, a token and (optionally, else empty) the PEM of the certificate authority. Spaces and line ends around each are dropped.
    ///
    /// # Errors
    /// Reason `Input`: the address, the token or the PEM cannot be right; the sentence says which and why.
    pub fn from_token(endpoint: &str, token: &str, ca_pem: &str) -> Result<Self, ConnectError> {
        let token = token.trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
        if token.is_empty() {
            return Err(ConnectError::input("The token is missing.", "Paste the token of a ServiceAccount; config/kubernetes-provider.yaml makes one."));
        }
        if token.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ConnectError::input("The token has spaces or line breaks inside.", "Copy it again, as one line."));
        }
        Ok(Self {
            server: endpoint_of(endpoint)?,
            ca_pem: checked_ca(ca_pem)?,
            auth: Auth::Token(token.to_owned()),
            insecure_skip_tls_verify: false,
            tls_server_name: None,
        })
    }

    /// As [`Connection::from_kubeconfig`], where it keeps no request waiting: reading a kubeconfig takes time that its writer decides.
    ///
    /// # Errors
    /// See there.
    pub async fn read_kubeconfig(text: String, context: Option<String>) -> Result<Self, ConnectError> {
        static READERS: Semaphore = Semaphore::const_new(2);
        // The semaphore is never closed.
        let _turn = READERS.acquire().await.ok();
        let reading = tokio::task::spawn_blocking(move || kubeconfig::parse(&text, context.as_deref()));
        reading.await.unwrap_or_else(|_| Err(ConnectError::input("The kubeconfig cannot be read.", "Report this, with a kubeconfig without its secrets.")))
    }

    /// From the text of a kubeconfig (at most 256 KiB): its current context, or the one named.
    ///
    /// # Errors
    /// Reason `Input`: not a kubeconfig, no such context, or it points at files or programs of the machine it comes from.
    pub fn from_kubeconfig(text: &str, context: Option<&str>) -> Result<Self, ConnectError> {
        kubeconfig::parse(text, context)
    }

    /// The host (and port) a person recognises, e.g. `10.99.1.1:6443`.
    pub fn host(&self) -> String {
        let rest = self.server.split_once("://").map_or(self.server.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest).to_owned()
    }
}

/// `https://host[:port][/path]` of what a person typed.
pub(crate) fn endpoint_of(text: &str) -> Result<String, ConnectError> {
    let bad = |why: &str| {
        ConnectError::input(format!("The address {text:?} cannot be right: {why}."), "Give it as https://host:6443, as `kubectl cluster-info` prints it.")
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(ConnectError::input("The address is missing.", "Give it as https://host:6443, as `kubectl cluster-info` prints it."));
    }
    let has_scheme = text.contains("://");
    let full = if has_scheme { text.to_owned() } else { format!("https://{text}") };
    let mut url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?.to_owned();
    let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return Err(bad("http would send the login in clear; use https")),
        other => return Err(bad(&format!("{other} is not https"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it has a user name or password inside"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it has a query or fragment"));
    }
    if !has_scheme && url.port().is_none() && !text.contains(":443") {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| bad("it takes no port"))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The PEM, trimmed, when it holds at least one certificate; empty stays empty.
pub(crate) fn checked_ca(pem: &str) -> Result<String, ConnectError> {
    let pem = pem.trim();
    if pem.is_empty() {
        return Ok(String::new());
    }
    if !tls::certificates(pem.as_bytes()).is_empty() {
        return Ok(format!("{pem}\n"));
    }
    // Copied with the spaces of a YAML file before its lines, or with a byte order mark.
    if let Ok(plain) = tls::pem_of(pem.as_bytes()) {
        return Ok(plain);
    }
    Err(ConnectError::input(
        "The CA certificate is not in PEM form.",
        "Paste the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----; in a kubeconfig it is certificate-authority-data, base64-encoded once more.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_brought_to_one_form() {
        for (text, want) in [
            ("https://api.example.org:6443/", "https://api.example.org:6443"),
            (" https://api.example.org ", "https://api.example.org"),
            ("10.99.1.1", "https://10.99.1.1:6443"),
            ("api.example.org:8443", "https://api.example.org:8443"),
            ("https://rancher.example.org/k8s/clusters/c-1/", "https://rancher.example.org/k8s/clusters/c-1"),
            ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
            ("[fd00::1]", "https://[fd00::1]:6443"),
        ] {
            assert_eq!(endpoint_of(text).unwrap(), want, "{text}");
        }
        for bad in ["", "http://api.example.org", "ftp://x", "https://user:secret@x", "https://x/?a=b", "https://", "https://a b"] {
            assert_eq!(endpoint_of(bad).unwrap_err().reason, crate::Reason::Input, "{bad}");
        }
    }

    #[test]
    fn an_authority_may_be_pasted_with_the_spaces_around_it() {
        let pem = include_str!("../../tls/testdata/ca.pem");
        let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
        for text in [pem.to_owned(), indented, format!("\u{feff}{pem}"), pem.replace('\n', "\r\n"), format!("# the authority\n{pem}")] {
            let known = checked_ca(&text).unwrap();
            assert_eq!(tls::certificates(known.as_bytes()), tls::certificates(pem.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_token_is_cleaned_and_never_shown() {
        let connection = Connection::from_token("10.0.0.1", " Bearer secret\n", "").unwrap();
        assert_eq!(connection.auth, Auth::Token("secret".into()));
        assert!(!format!("{connection:?}").contains("secret"));
        assert!(Connection::from_token("10.0.0.1", " ", "").is_err());
        assert!(Connection::from_token("10.0.0.1", "a b", "").is_err());
        assert!(Connection::from_token("10.0.0.1", "a", "no pem").unwrap_err().message.contains("PEM"));
    }
}
