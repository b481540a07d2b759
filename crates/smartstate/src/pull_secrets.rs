//! The logins that the workloads of an image pull it with: those of this very image, and of each only what its registry is asked with. A scan pod handles
//! what a stranger may have made; it is not to hold logins of anything else.

use crate::lease::Scan;
use crate::reference;
use inventory::reference::Reference;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::collections::BTreeSet;

const SECRETS_AT_MOST: usize = 20;

/// Where pull secrets of the image's workloads are: namespace and name, each once. Workloads that have the same content from elsewhere do not count: their
/// secrets are for there.
///
/// # Errors
/// The database.
pub(crate) async fn places(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT projects.name AS namespace, secret AS "secret!", image_registries.name AS registry, container_images.name, pulled_from
           FROM container_images
           JOIN image_registries ON image_registries.id = registry_id
           JOIN containers ON containers.image_id = container_images.id
           JOIN pods ON pods.id = containers.pod_id
           JOIN projects ON projects.id = pods.project_id
           CROSS JOIN UNNEST(pods.pull_secrets) AS secret
           WHERE container_images.digest = $1
             AND container_images.provider_id = $2
             AND containers.archived_at IS NULL
           ORDER BY 1, 2"#,
        scan.digest,
        scan.provider.0
    )
    .fetch_all(conn)
    .await?;
    let of_this_image = rows.into_iter().filter(|row| reference::all(&row.registry, &row.name, &row.pulled_from, &scan.digest).contains(&scan.reference));
    let places: BTreeSet<_> = of_this_image.map(|row| (row.namespace, row.secret)).collect();
    Ok(places.into_iter().take(SECRETS_AT_MOST).collect())
}

/// The logins at `places` that `image` may be pulled with, each as the text of a docker config with `auths`, and a warning for each secret that could not
/// be read.
///
/// # Errors
/// The cluster does not answer, or does not know Tidewaiter.
pub(crate) async fn read(client: &Client, places: &[(String, String)], image: &str) -> Result<(Vec<String>, Vec<String>), kube::Error> {
    let (mut logins, mut warnings) = (BTreeSet::new(), vec![]);
    let Some(image) = Reference::parse(image) else { return Ok((vec![], vec![])) };
    for (namespace, name) in places {
        match Api::<Secret>::namespaced(client.clone(), namespace).get(name).await {
            Ok(secret) => match auths(&secret) {
                Some(auths) => logins.extend(fitting(auths, &image)),
                None => warnings.push(format!("The pull secret {namespace}/{name} holds no registry login.")),
            },
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                warnings.push(format!("The pull secret {namespace}/{name} could not be read ({}); the image is pulled without it.", status.message));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((logins.into_iter().collect(), warnings))
}

/// The logins of both forms of pull secrets, by what they are for.
///
/// Source: Kubernetes, types `kubernetes.io/dockerconfigjson` and (older, without `auths`) `kubernetes.io/dockercfg`.
fn auths(secret: &Secret) -> Option<Map<String, Value>> {
    let data = secret.data.as_ref()?;
    let object = |key: &str| match serde_json::from_slice(&data.get(key)?.0).ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    };
    match object(".dockerconfigjson") {
        Some(mut config) => match config.remove("auths")? {
            Value::Object(auths) => Some(auths),
            _ => None,
        },
        None => object(".dockercfg"),
    }
}

/// A docker config of those `auths` that are for the place of `image`; `None` when none is.
fn fitting(auths: Map<String, Value>, image: &Reference) -> Option<String> {
    let auths: Map<String, Value> = auths.into_iter().filter_map(|(key, login)| Some((key_for(&key, image)?, login))).collect();
    (!auths.is_empty()).then(|| json!({ "auths": auths }).to_string())
}

/// The key, when it is for the place of `image`; with the port that the image's host was given to be known as one (see `reference`).
///
/// Source: kubelet's keyring (k8s.io/kubernetes/pkg/credentialprovider); the inspector chooses among the fitting ones by the same rules.
fn key_for(key: &str, image: &Reference) -> Option<String> {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    let path = match path {
        "v1" | "v2" => "",
        path => path.trim_start_matches("v1/").trim_start_matches("v2/"),
    };
    let rest = image.name.strip_prefix(path)?;
    if !(path.is_empty() || rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    if host_fits(host, &image.registry) {
        return Some(key.to_owned());
    }
    let marked = image.registry.strip_suffix(":443").filter(|name| !name.contains('.'))?;
    marked.eq_ignore_ascii_case(host).then(|| if path.is_empty() { image.registry.clone() } else { format!("{}/{path}", image.registry) })
}

/// `*` stands for (a part of) one label of the host, as in `*.example.com`.
fn host_fits(pattern: &str, host: &str) -> bool {
    let ((pattern, pattern_port), (host, port)) = (with_port(pattern), with_port(host));
    let (patterns, labels): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port && patterns.len() == labels.len() && patterns.iter().zip(&labels).all(|(pattern, label)| label_fits(pattern, label))
}

fn with_port(host: &str) -> (&str, &str) {
    host.rsplit_once(':').unwrap_or((host, ""))
}

fn label_fits(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(label),
        Some((start, end)) => label.len() >= start.len() + end.len() && label.starts_with(start) && label.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::taken;
    use sqlx::PgPool;

    fn kept(keys: &[&str], image: &str) -> Vec<String> {
        let image = Reference::parse(&format!("{image}@sha256:{}", "a".repeat(64))).unwrap();
        let auths = keys.iter().map(|key| ((*key).to_owned(), json!({ "auth": "eDp5" }))).collect();
        let Some(config) = fitting(auths, &image) else { return vec![] };
        let config: Value = serde_json::from_str(&config).unwrap();
        config["auths"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn of_a_secret_with_many_logins_the_pod_gets_those_for_the_images_place() {
        let keys = ["quay.io", "quay.io/shop", "quay.io/sho", "quay.io:8443", "https://index.docker.io/v1/", "*.azurecr.io", "evil-quay.io"];
        assert_eq!(kept(&keys, "quay.io/shop/cart"), ["quay.io", "quay.io/shop"]);
        assert_eq!(kept(&keys, "quay.io:8443/shop"), ["quay.io:8443"]);
        assert_eq!(kept(&keys, "debian"), ["https://index.docker.io/v1/"]);
        assert_eq!(kept(&keys, "team.azurecr.io/a"), ["*.azurecr.io"]);
        assert!(kept(&keys, "a.team.azurecr.io/a").is_empty());
        assert_eq!(kept(&["myhost", "myhost/team"], "myhost:443/app"), ["myhost:443"]);
    }

    #[test]
    fn both_forms_of_pull_secrets_are_read() {
        let secret = |key: &str, text: &str| serde_json::from_value::<Secret>(json!({ "data": { key: k8s_openapi::ByteString(text.into()) } })).unwrap();
        let keys = |secret: Secret| auths(&secret).map(|auths| auths.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(secret(".dockerconfigjson", r#"{"auths":{"quay.io":{}},"credsStore":"x"}"#)), Some(vec!["quay.io".into()]));
        assert_eq!(keys(secret(".dockercfg", r#"{"quay.io":{}}"#)), Some(vec!["quay.io".into()]));
        assert_eq!(keys(secret(".dockerconfigjson", "broken")), None);
        assert_eq!(keys(secret("other", "{}")), None);
    }

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn a_secret_of_a_pod_that_names_another_registry_for_the_same_digest_is_not_read(pool: PgPool) {
        let (_, scan) = taken(&pool).await;
        sqlx::raw_sql(
            "INSERT INTO image_registries (provider_id, host, name, first_seen_at) SELECT id, 'evil.example.org', 'evil.example.org', NOW() FROM providers;
             INSERT INTO container_images (provider_id, registry_id, name, digest, first_seen_at, last_seen_at)
             SELECT provider_id, (SELECT MAX(id) FROM image_registries), 'x', digest, NOW(), NOW() FROM container_images;
             INSERT INTO projects (provider_id, uid, name, created_at, first_seen_at) SELECT id, 'u', 'shop', NOW(), NOW() FROM providers;
             INSERT INTO pods (provider_id, project_id, uid, name, pull_secrets, created_at, first_seen_at)
             SELECT provider_id, id, kind, kind, ARRAY[kind], NOW(), NOW() FROM projects, UNNEST(ARRAY['own', 'evil']) AS kind;
             INSERT INTO containers (provider_id, pod_id, image_id, kind, name, image_reference)
             SELECT provider_id, id, (SELECT CASE pods.name WHEN 'own' THEN MIN(id) ELSE MAX(id) END FROM container_images), 'container', 'c', '' FROM pods;",
        )
        .execute(&pool)
        .await
        .unwrap();
        let found = places(&mut pool.acquire().await.unwrap(), &scan).await.unwrap();
        assert_eq!(found, [("shop".to_owned(), "own".to_owned())]);
    }
}
