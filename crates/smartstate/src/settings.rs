//! Sections `[smartstate]` and `[content]` of the settings.

use crate::feed::shown;
use serde::Deserialize;
use std::fmt;

/// Section `[smartstate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The namespace of scan pods; made when it is missing and Tidewaiter may.
    pub namespace: String,
    /// The inspector's image, by digest: `registry/name@sha256:…`.
    pub inspector_image: String,
    /// Most scans at a time per provider.
    pub concurrent_per_provider: i64,
    /// `host:port` of registries spoken to without TLS.
    pub plain_http_registries: Vec<String>,
    /// PEM file with more roots for registries; empty: none.
    pub registry_ca_file: String,
    /// A scan pod ends by itself after this time.
    pub pod_deadline_secs: u64,
    /// Kubernetes quantities of the scan pod.
    pub cpu_request: String,
    pub cpu_limit: String,
    pub memory_request: String,
    pub memory_limit: String,
    /// Room for the unpacked image and its layers.
    pub storage_limit: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "tidewaiter".into(),
            inspector_image: String::new(),
            concurrent_per_provider: 3,
            plain_http_registries: vec![],
            registry_ca_file: String::new(),
            pod_deadline_secs: 3600,
            cpu_request: "100m".into(),
            cpu_limit: "2".into(),
            memory_request: "512Mi".into(),
            memory_limit: "1536Mi".into(),
            storage_limit: "12Gi".into(),
        }
    }
}

/// Section `[content]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentSettings {
    /// Vulnerability definitions by distribution.
    pub vulnerability_feeds: Vec<Feed>,
    /// Whether addresses and redirects may do without TLS.
    pub allow_http_feeds: bool,
}

/// OVAL vulnerability definitions of one distribution's release.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// `ID` of os-release, e.g. `debian`.
    pub id: String,
    /// `VERSION_ID` of os-release, or its part before the first dot, e.g. `12`.
    pub version: String,
    /// Path or https address of a file `.xml`, `.xml.bz2`, `.xml.gz` or `.xml.zst`.
    pub location: String,
    /// SHA-256 of that file as it lies there, hex; without it, any is taken.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// An address may hold a password.
impl fmt::Debug for Feed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, location, sha256 } = self;
        to.debug_struct("Feed").field("id", id).field("version", version).field("location", &shown(location)).field("sha256", sha256).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_printed_without_what_is_secret_in_its_address() {
        let feed = Feed { location: "https://user:hunter2@example.org/oval.xml?sig=hunter3".into(), ..Feed::default() };
        let printed = format!("{feed:?}");
        assert!(printed.contains("https://example.org/oval.xml") && !printed.contains("hunter"), "{printed}");
    }
}
