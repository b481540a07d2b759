//! Registry logins from Docker configuration files, and which of them fit an image.

use crate::reference::Reference;
use scap::keyring::{self, Login, Rank};
use std::fs;
use std::path::Path;

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
            match keyring::entries(&text) {
                Ok(entries) => logins.extend(entries.iter().flat_map(|(key, entry)| {
                    let found = keyring::logins(entry).unwrap_or_else(|problem| {
                        tracing::warn!("an entry of {} is left out: {problem}", path.display());
                        Vec::new()
                    });
                    found.into_iter().map(|login| (key.clone(), login)).collect::<Vec<_>>()
                })),
                Err(problem) => tracing::warn!("{} is left out: {problem}", path.display()),
            }
        }
        Self(logins)
    }

    /// The logins that fit `image`, the most specific key first, each once.
    pub(crate) fn matching(&self, image: &Reference) -> Vec<Login> {
        let rank = |key: &str| keyring::rank(key, &image.registry, &image.repository);
        let mut fitting: Vec<(Rank, &Login)> = self.0.iter().filter_map(|(key, login)| Some((rank(key)?, login))).collect();
        fitting.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut logins: Vec<Login> = Vec::new();
        for (_, login) in fitting {
            if !logins.contains(login) {
                logins.push(login.clone());
            }
        }
        logins
    }
}

#[cfg(test)]
mod tests {
    use super::Logins;
    use crate::reference::Reference;
    use scap::keyring::Login;
    use std::fs;

    fn image(name: &str) -> Reference {
        Reference::parse(&format!("{name}@sha256:{}", "a".repeat(64))).unwrap()
    }

    fn users(logins: &Logins, name: &str) -> Vec<String> {
        let user = |login: Login| match login {
            Login::Password { pair, .. } => String::from_utf8(pair).unwrap().replacen(':', "/", 1),
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
        assert_eq!(users(&logins, "quay.io/shop/web"), ["shop/p", "no/p", "host/p", "v1/p"]);
        assert_eq!(users(&logins, "quay.io/web"), ["host/p", "v1/p"]);
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
