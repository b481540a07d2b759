//! Which versions of Kubernetes and OpenShift a cluster has.

use crate::ask;
use crate::bounded::{Limits, cleaned};
use crate::connection::Kind;
use crate::failure::{ConnectError, explain};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// An API server that takes the connection and never answers is not there, whoever asks.
const WITHIN_SECS: u64 = 10;
const CHARS_MAX: usize = 64;

/// `Display`: as people know the cluster, e.g. `OpenShift 4.22.0 (Kubernetes v1.35.2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The API server's, e.g. `v1.36.2`.
    pub kubernetes: String,
    /// OpenShift's, e.g. `4.22.0`; empty when it is none, or the login may not read it.
    pub openshift: String,
    /// What the provider was added as.
    pub kind: Kind,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.openshift.as_str()) {
            (Kind::Kubernetes, _) => write!(f, "Kubernetes {}", self.kubernetes),
            (Kind::Openshift, "") => write!(f, "Kubernetes {} (OpenShift)", self.kubernetes),
            (Kind::Openshift, version) => write!(f, "OpenShift {version} (Kubernetes {})", self.kubernetes),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kubernetes {
    git_version: String,
}

/// Source: <https://docs.redhat.com/en/documentation/openshift_container_platform/4.16/html/config_apis/clusterversion-config-openshift-io-v1>
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClusterVersion {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    desired: Release,
    history: Option<Vec<Release>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Release {
    version: String,
    state: String,
}

impl ClusterVersion {
    /// The newest that was installed completely, else the one that is being installed.
    fn version(self) -> String {
        let installed = self.status.history.unwrap_or_default().into_iter().find(|each| each.state == "Completed");
        installed.map_or(self.status.desired.version, |release| release.version)
    }
}

/// Asks for the API server's version, which is also the cheapest proof that it is one and accepts the login, and for OpenShift's where it is to be one.
pub(crate) async fn read(client: &kube::Client, server: &str, kind: Kind) -> Result<Versions, ConnectError> {
    match tokio::time::timeout(Duration::from_secs(WITHIN_SECS), ask_both(client, server, kind)).await {
        Ok(versions) => versions,
        Err(_) => Err(ConnectError::timeout(server, WITHIN_SECS)),
    }
}

async fn ask_both(client: &kube::Client, server: &str, kind: Kind) -> Result<Versions, ConnectError> {
    let found: Kubernetes = ask::get(client, "/version", Limits::SMALL).await.map_err(|error| explain(&error, server))?;
    let openshift = match kind {
        Kind::Kubernetes => String::new(),
        // A right that not every login has, and a group that not every OpenShift serves.
        Kind::Openshift => {
            let found = ask::get::<ClusterVersion>(client, "/apis/config.openshift.io/v1/clusterversions/version", Limits::SMALL).await;
            found.map(ClusterVersion::version).unwrap_or_default()
        }
    };
    let short = |text: &str| cleaned(text).chars().take(CHARS_MAX).collect::<String>();
    Ok(Versions { kubernetes: short(&found.git_version), openshift: short(&openshift), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_called_by_the_version_that_people_know() {
        let sample: ClusterVersion = serde_json::from_str(include_str!("../testdata/clusterversion.json")).unwrap();
        let of = |kind, openshift: &str| Versions { kubernetes: "v1.36.2".into(), openshift: openshift.into(), kind }.to_string();
        assert_eq!(of(Kind::Openshift, &sample.version()), "OpenShift 4.22.0 (Kubernetes v1.36.2)");
        assert_eq!(of(Kind::Openshift, ""), "Kubernetes v1.36.2 (OpenShift)");
        assert_eq!(of(Kind::Kubernetes, ""), "Kubernetes v1.36.2");
    }

    #[test]
    fn an_update_that_is_under_way_does_not_count_yet() {
        for (status, want) in [
            (r#"{"desired":{"version":"4.23.0"},"history":[{"state":"Partial","version":"4.23.0"},{"state":"Completed","version":"4.22.0"}]}"#, "4.22.0"),
            (r#"{"desired":{"version":"4.23.0"},"history":null}"#, "4.23.0"),
            ("{}", ""),
        ] {
            let found: ClusterVersion = serde_json::from_str(&format!(r#"{{"status":{status}}}"#)).unwrap();
            assert_eq!(found.version(), want);
        }
    }
}
