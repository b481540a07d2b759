//! The real cluster: a connection as its administrator, and namespaces that one test has to itself.

use super::setting;
use inventory::Connection;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

/// The registry that needs no login, host:port.
pub fn registry() -> String {
    setting("TIDEWAITER_TEST_REGISTRY")
}

/// The administrator's connection to the test cluster.
pub fn connection() -> Connection {
    let path = setting("KUBECONFIG");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Connection::from_kubeconfig(&text, None).unwrap()
}

/// The administrator's client.
pub async fn client() -> kube::Client {
    inventory::client(&connection()).await.unwrap()
}

/// Stops or starts a piece of the cluster, e.g. `("stop", "apiserver")`. Only while holding [`super::turn::alone`].
pub async fn piece(verb: &'static str, piece: &'static str) {
    let tool = setting("TIDEWAITER_TEST_CLUSTER_TOOL");
    let status = tokio::process::Command::new(&tool).args([verb, piece]).stdin(std::process::Stdio::null()).status().await.unwrap();
    assert!(status.success(), "{tool} {verb} {piece} failed");
}

/// A namespace of one test; [`Space::end`] deletes it.
pub struct Space {
    pub client: kube::Client,
    pub name: String,
}

impl Space {
    /// A new one, named after `label`, with the default service account in place.
    pub async fn new(label: &str) -> Self {
        let client = client().await;
        let name = format!("{label}-{:08x}", rand::random::<u32>());
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), &name);
        super::eventually("the namespace has its default service account", std::time::Duration::from_secs(120), || async {
            accounts.get_opt("default").await.unwrap()
        })
        .await;
        Self { client, name }
    }

    /// The namespace's pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Starts a pod with one container of `image`, which need not be able to run.
    pub async fn run(&self, name: &str, image: &str) -> Pod {
        self.run_with_secret(name, image, None).await
    }

    /// As [`Space::run`], pulled with the secret of that name.
    pub async fn run_with_secret(&self, name: &str, image: &str, pull_secret: Option<&str>) -> Pod {
        let mut pod = json!({
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "containers": [{ "name": "main", "image": image, "command": ["/no-such-program"] }],
            },
        });
        if let Some(secret) = pull_secret {
            pod["spec"]["imagePullSecrets"] = json!([{ "name": secret }]);
        }
        self.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap()
    }

    /// Deletes a pod at once.
    pub async fn delete_pod(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    /// Deletes the namespace; does not wait for the cluster to finish with it.
    pub async fn end(self) {
        let deleted = Api::<Namespace>::all(self.client.clone()).delete(&self.name, &DeleteParams::default()).await;
        assert!(deleted.is_ok(), "{deleted:?}");
    }
}
