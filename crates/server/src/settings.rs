//! All settings, checked as a whole.

use anyhow::Context;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Every setting with its default; also what a person reads.
const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Source: config/default.toml, where each is explained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub server: Server,
    pub database: Database,
    pub secrets: Secrets,
    pub access: Access,
    pub inventory: Inventory,
    pub smartstate: smartstate::Settings,
    pub content: smartstate::ContentSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: String,
    pub name: String,
    pub secure_cookies: bool,
    pub trusted_proxies: Vec<web::Network>,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub insecure_http: bool,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
}

impl Server {
    /// Whether the server speaks https itself.
    pub fn has_tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty()
    }

    /// Whether browsers reach it by https alone.
    pub fn is_https(&self) -> bool {
        self.secure_cookies || self.has_tls()
    }

    /// Whether passwords are safe on the way to `address`, where the server listens.
    ///
    /// # Errors
    /// They would cross a network in clear; the message says what to do.
    pub fn check_exposure(&self, address: SocketAddr) -> anyhow::Result<()> {
        let behind_proxy = self.secure_cookies && !self.trusted_proxies.is_empty();
        if address.ip().to_canonical().is_loopback() || self.has_tls() || behind_proxy || self.insecure_http {
            return Ok(());
        }
        anyhow::bail!(
            "{address} can be reached from other machines, and passwords would cross the network in clear. Choose one of three ways: \
             server.tls_certificate and server.tls_key, so that Tidewaiter speaks https; server.trusted_proxies with server.secure_cookies = true, \
             so that a proxy does; or server.insecure_http = true, where the network is safe. docs/TLS.md shows each"
        )
    }
}

/// `Debug` shows no address, which has the password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: String,
    pub private_dir: PathBuf,
    pub max_connections: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub key_file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub session_idle_mins: u32,
    pub session_max_hours: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    pub page_size: u32,
    pub refresh_interval_secs: u64,
    pub objects_max: usize,
    pub refresh_limit_secs: u64,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("private_dir", &self.private_dir).field("max_connections", &self.max_connections).finish_non_exhaustive()
    }
}

impl Settings {
    /// The settings of this process.
    ///
    /// # Errors
    /// A key that is not known or of the wrong type (the message names it and where it was set), or a file that cannot be read.
    pub fn load() -> anyhow::Result<Self> {
        let file = std::env::var_os("TIDEWAITER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let url = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let mut settings = Self::from(file.as_deref(), url.as_deref(), Env::prefixed("TIDEWAITER__").split("__"))?;
        let var = PathBuf::from(std::env::var_os("TIDEWAITER_VAR").filter(|path| !path.is_empty()).unwrap_or_else(|| "var".into()));
        settings.database.private_dir = placed(&settings.database.private_dir, &var)?;
        settings.secrets.key_file = placed(&settings.secrets.key_file, &var)?;
        if settings.server.has_tls() == settings.server.tls_key.as_os_str().is_empty() {
            anyhow::bail!("server.tls_certificate and server.tls_key belong together: set both or none");
        }
        if settings.server.max_connections == 0 || settings.server.max_connections_per_address == 0 {
            anyhow::bail!("server.max_connections and server.max_connections_per_address are at least 1: with 0 nobody could connect");
        }
        if settings.server.name.is_empty() {
            settings.server.name = std::fs::read_to_string("/proc/sys/kernel/hostname").context("reading the host's name")?.trim().to_owned();
        }
        Ok(settings)
    }

    fn from(file: Option<&Path>, url: Option<&str>, environment: Env) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(file) = file {
            if !file.is_file() {
                anyhow::bail!("TIDEWAITER_CONFIG names {}, which is not a file", file.display());
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        if let Some(url) = url {
            figment = figment.merge(Serialized::default("database.url", url));
        }
        figment.merge(environment).extract().map_err(|error| anyhow::anyhow!("a setting is wrong: {error}. All settings are explained in config/default.toml"))
    }
}

/// `var/…` inside the var directory, everything absolute.
fn placed(path: &Path, var: &Path) -> anyhow::Result<PathBuf> {
    let path = match path.strip_prefix("var") {
        Ok(rest) => var.join(rest),
        Err(_) => path.to_owned(),
    };
    std::path::absolute(&path).with_context(|| format!("finding {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> anyhow::Result<Settings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::from(Some(file.path()), None, Env::prefixed("TIDEWAITER_NOTHING_HAS_THIS_PREFIX__"))
    }

    #[test]
    fn the_defaults_are_complete_and_a_file_changes_single_keys() {
        let settings = from_file("[smartstate]\nplain_http_registries = ['10.0.0.1:5000']\n[access]\nsession_idle_mins = 5").unwrap();
        assert_eq!(settings.smartstate.plain_http_registries, ["10.0.0.1:5000"]);
        assert_eq!(settings.smartstate.namespace, "tidewaiter");
        assert_eq!((settings.access.session_idle_mins, settings.access.session_max_hours), (5, 24));
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        assert!(from_file("").unwrap().server.trusted_proxies.is_empty());
        assert_eq!(from_file("[server]\ntrusted_proxies = ['10.0.0.0/8', '::1']").unwrap().server.trusted_proxies.len(), 2);
        let error = from_file("[server]\ntrusted_proxies = ['proxy.example']").unwrap_err().to_string();
        assert!(error.contains("trusted_proxies") && error.contains("proxy.example"), "{error}");
    }

    #[test]
    fn beyond_this_machine_only_https_a_named_proxy_or_somebodys_word() {
        let check = |text: &str, address: &str| from_file(&format!("[server]\n{text}")).unwrap().server.check_exposure(address.parse().unwrap());
        for address in ["127.0.0.1:3000", "[::1]:3000", "127.1.2.3:80", "[::ffff:127.0.0.1]:3000"] {
            check("", address).unwrap();
        }
        for address in ["0.0.0.0:3000", "[::]:3000", "10.0.0.1:3000"] {
            for text in ["", "secure_cookies = true", "trusted_proxies = ['10.0.0.0/8']"] {
                let error = check(text, address).unwrap_err().to_string();
                assert!(["tls_certificate", "trusted_proxies", "secure_cookies", "insecure_http"].iter().all(|way| error.contains(way)), "{error}");
            }
            for text in ["insecure_http = true", "secure_cookies = true\ntrusted_proxies = ['10.0.0.0/8']", "tls_certificate = 'c'\ntls_key = 'k'"] {
                check(text, address).unwrap();
            }
        }
    }

    #[test]
    fn the_databases_password_is_not_printed() {
        let settings = from_file("[database]\nurl = 'postgres://tidewaiter:hunter2@db/tidewaiter'").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        for text in ["[server]\nlisten_to = 'x'", "[smartstate]\nlisten_to = 3", "[listen_to]\nx = 1"] {
            assert!(from_file(text).unwrap_err().to_string().contains("listen_to"));
        }
        assert!(from_file("[inventory]\npage_size = 'many'").unwrap_err().to_string().contains("page_size"));
    }

    #[test]
    fn the_var_directory_can_lie_elsewhere() {
        assert_eq!(placed(Path::new("var/postgres"), Path::new("/srv/tidewaiter")).unwrap(), Path::new("/srv/tidewaiter/postgres"));
        assert_eq!(placed(Path::new("/etc/key"), Path::new("/srv")).unwrap(), Path::new("/etc/key"));
    }
}
