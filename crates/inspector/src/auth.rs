//! Registry logins from Docker configuration files, and which of them fit an image.

use crate::reference::Reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth 2 refresh token.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

// Logs must never show a secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "password of {user}"),
            Self::IdentityToken(_) => f.write_str("identity token"),
            Self::RegistryToken(_) => f.write_str("registry token"),
        }
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// All logins found, each with the key it is for.
#[derive(Debug, Default)]
pub(crate) struct Logins(Vec<(String, Login)>);

impl Logins {
    /// Reads `.dockerconfigjson`, `config.json` and the older `.dockercfg` in each subfolder of `folder` (one per pull secret), in the order of their names.
    /// What cannot be read is logged and left out: another login may do. No folder: no logins.
    pub(crate) fn read(folder: &Path) -> Self {
        let Ok(entries) = fs::read_dir(folder) else { return Self::default() };
        let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        let mut logins = Vec::new();
        for path in folders.iter().flat_map(|folder| [".dockerconfigjson", "config.json", ".dockercfg"].map(|name| folder.join(name))) {
            let Ok(text) = fs::read(&path) else { continue };
            match parse(&text) {
                Ok(found) => logins.extend(found),
                // serde's own words may cite the secret.
                Err(e) => tracing::warn!("{} is no Docker configuration (line {}, column {})", path.display(), e.line(), e.column()),
            }
        }
        Self(logins)
    }

    /// The logins that fit `image`, the most specific key first, each once.
    ///
    /// Source: kubelet's keyring (k8s.io/kubernetes/pkg/credentialprovider).
    pub(crate) fn matching(&self, image: &Reference) -> Vec<Login> {
        let mut fitting: Vec<(usize, &Login)> = self.0.iter().filter_map(|(key, login)| specificity(key, image).map(|rank| (rank, login))).collect();
        fitting.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let mut logins: Vec<Login> = Vec::new();
        for (_, login) in fitting {
            if !logins.contains(login) {
                logins.push(login.clone());
            }
        }
        logins
    }
}

fn parse(text: &[u8]) -> Result<Vec<(String, Login)>, serde_json::Error> {
    let auths = match serde_json::from_slice::<DockerConfig>(text)?.auths {
        auths if auths.is_empty() => serde_json::from_slice(text).unwrap_or_default(),
        auths => auths,
    };
    Ok(auths.into_iter().filter_map(|(key, entry)| login(entry).map(|login| (key, login))).collect())
}

fn login(entry: Entry) -> Option<Login> {
    let told = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = told(entry.identitytoken) {
        return Some(Login::IdentityToken(token));
    }
    if let Some(token) = told(entry.registrytoken) {
        return Some(Login::RegistryToken(token));
    }
    if let (Some(user), Some(password)) = (told(entry.username), told(entry.password)) {
        return Some(Login::Password { user, password });
    }
    let decoded = String::from_utf8(STANDARD.decode(told(entry.auth)?.trim()).ok()?).ok()?;
    let (user, password) = decoded.trim_end_matches('\0').split_once(':')?;
    Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
}

/// How exactly `key` names the place of `image`: the length of its path plus one; `None` when it is for another place.
fn specificity(key: &str, image: &Reference) -> Option<usize> {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    if !host_matches(host, &image.registry) {
        return None;
    }
    let path = match path {
        "v1" | "v2" => "",
        path => path.trim_start_matches("v1/").trim_start_matches("v2/"),
    };
    let rest = image.repository.strip_prefix(path)?;
    (path.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(path.len() + 1)
}

/// Kubernetes allows `*` for (a part of) one label of the host, e.g. `*.example.com`.
fn host_matches(pattern: &str, host: &str) -> bool {
    let split = |text: &str| text.rsplit_once(':').map_or((text.to_owned(), String::new()), |(name, port)| (name.to_owned(), port.to_owned()));
    let ((pattern, pattern_port), (host, port)) = (split(pattern), split(host));
    let (patterns, labels): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port && patterns.len() == labels.len() && patterns.iter().zip(&labels).all(|(pattern, label)| label_matches(pattern, label))
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(label),
        Some((start, end)) => label.len() >= start.len() + end.len() && label.starts_with(start) && label.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, Logins};
    use crate::reference::Reference;
    use std::fs;

    fn image(name: &str) -> Reference {
        Reference::parse(&format!("{name}@sha256:{}", "a".repeat(64))).unwrap()
    }

    fn users(logins: &Logins, name: &str) -> Vec<String> {
        let user = |login: Login| match login {
            Login::Password { user, password } => format!("{user}/{password}"),
            Login::IdentityToken(token) | Login::RegistryToken(token) => token,
        };
        logins.matching(&image(name)).into_iter().map(user).collect()
    }

    fn read(files: &[(&str, &str, &str)]) -> Logins {
        let dir = tempfile::tempdir().unwrap();
        for (folder, name, text) in files {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(name), text).unwrap();
        }
        Logins::read(dir.path())
    }

    #[test]
    fn the_most_specific_login_comes_first_and_others_follow() {
        let logins = read(&[
            (
                "0",
                ".dockerconfigjson",
                r#"{"auths":{"quay.io":{"auth":"aG9zdDpw"},"quay.io/shop":{"username":"shop","password":"p"},"quay.io/sho":{"username":"no","password":"p"}}}"#,
            ),
            (
                "1",
                "config.json",
                r#"{"auths":{"https://quay.io/v1/":{"username":"v1","password":"p","auth":null},"quay.io:8443":{"username":"port","password":"p"}},"credsStore":"x"}"#,
            ),
            ("2", ".dockerconfigjson", "{broken"),
            ("3", ".dockercfg", r#"{"https://index.docker.io/v1/":{"auth":"aHViOmE6Yg==","email":"x"}}"#),
            ("4", ".dockerconfigjson", r#"{"auths":{"*.azurecr.io":{"identitytoken":"refresh","auth":"aWQ6"}}}"#),
        ]);
        assert_eq!(users(&logins, "quay.io/shop/web"), ["shop/p", "host/p", "v1/p"]);
        assert_eq!(users(&logins, "quay.io/shopping/web"), ["host/p", "v1/p"]);
        assert_eq!(users(&logins, "quay.io:8443/a"), ["port/p"]);
        assert_eq!(users(&logins, "debian"), ["hub/a:b"]);
        assert_eq!(users(&logins, "team.azurecr.io/a"), ["refresh"]);
        assert!(users(&logins, "a.team.azurecr.io/a").is_empty());
        assert!(users(&logins, "evil-quay.io/shop").is_empty());
    }

    #[test]
    fn logs_do_not_show_secrets() {
        let logins = read(&[("0", "config.json", r#"{"auths":{"a.b":{"username":"me","password":"hunter2"}}}"#)]);
        assert!(!format!("{logins:?}").contains("hunter2"));
    }
}
