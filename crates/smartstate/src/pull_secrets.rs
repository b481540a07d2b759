//! The logins that the workloads of an image pull it with.

use crate::lease::Scan;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

const SECRETS_AT_MOST: i64 = 20;

/// Where pull secrets of the image's workloads are: namespace and name, each once.
///
/// # Errors
/// The database.
pub(crate) async fn places(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT projects.name AS namespace, secret AS "secret!"
           FROM container_images
           JOIN containers ON containers.image_id = container_images.id
           JOIN pods ON pods.id = containers.pod_id
           JOIN projects ON projects.id = pods.project_id
           CROSS JOIN UNNEST(pods.pull_secrets) AS secret
           WHERE container_images.digest = $1
             AND container_images.provider_id = $2
             AND containers.archived_at IS NULL
           ORDER BY 1, 2
           LIMIT $3"#,
        scan.digest,
        scan.provider.0,
        SECRETS_AT_MOST
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.namespace, row.secret)).collect())
}

/// The logins at `places`, each as the text of a docker config with `auths`, and a warning for each that could not be read.
///
/// # Errors
/// The cluster does not answer.
pub(crate) async fn read(client: &Client, places: &[(String, String)]) -> Result<(Vec<String>, Vec<String>), kube::Error> {
    let (mut logins, mut warnings) = (BTreeSet::new(), vec![]);
    for (namespace, name) in places {
        match Api::<Secret>::namespaced(client.clone(), namespace).get(name).await {
            Ok(secret) => match docker_config(&secret) {
                Some(login) => {
                    logins.insert(login);
                }
                None => warnings.push(format!("The pull secret {namespace}/{name} holds no registry login.")),
            },
            Err(kube::Error::Api(status)) if status.code < 500 => {
                warnings.push(format!("The pull secret {namespace}/{name} could not be read ({}); the image is pulled without it.", status.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((logins.into_iter().collect(), warnings))
}

/// Both forms of pull secrets, as one.
///
/// Source: Kubernetes, types `kubernetes.io/dockerconfigjson` and (older, without `auths`) `kubernetes.io/dockercfg`.
fn docker_config(secret: &Secret) -> Option<String> {
    let data: &BTreeMap<_, _> = secret.data.as_ref()?;
    if let Some(config) = data.get(".dockerconfigjson") {
        return String::from_utf8(config.0.clone()).ok();
    }
    let old: serde_json::Value = serde_json::from_slice(&data.get(".dockercfg")?.0).ok()?;
    Some(serde_json::json!({ "auths": old }).to_string())
}
