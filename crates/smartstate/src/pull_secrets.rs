//! The logins that the workloads of an image pull it with: those of this very image, and of each only what its registry is asked with. A scan pod handles
//! what a stranger may have made; it is not to hold logins of anything else.

use crate::lease::Scan;
use crate::reference;
use inventory::reference::Reference;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use scap::keyring;
use serde_json::{Map, json};
use sqlx::PgConnection;
use std::collections::BTreeSet;

const SECRETS_AT_MOST: usize = 20;
/// Where the two forms of pull secrets keep their logins.
const FILES: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

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

/// The logins at `places` that `image` may be pulled with, each as the text of a docker config with `auths`, and a warning for each secret, or entry for
/// this image, that could not be read: the others are used.
///
/// # Errors
/// The cluster does not answer, or does not know Tidewaiter.
pub(crate) async fn read(client: &Client, places: &[(String, String)], image: &str) -> Result<(Vec<String>, Vec<String>), kube::Error> {
    let (mut logins, mut warnings) = (vec![], vec![]);
    let Some(image) = Reference::parse(image) else { return Ok((vec![], vec![])) };
    for (namespace, name) in places {
        match Api::<Secret>::namespaced(client.clone(), namespace).get(name).await {
            Ok(secret) => {
                let (login, problems) = fitting(&secret, &image);
                logins.extend(login.filter(|login| !logins.contains(login)));
                warnings.extend(problems.into_iter().map(|problem| format!("The pull secret {namespace}/{name} {problem}.")));
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                warnings.push(format!("The pull secret {name} could not be read, and the image is pulled without it: {NO_RIGHT}{namespace}."));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                warnings.push(format!("There is no pull secret {namespace}/{name}; the image is pulled without it."));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((logins, warnings))
}

/// How the part of a warning begins that names a namespace.
const NO_RIGHT: &str = "Tidewaiter may not read pull secrets in the namespace ";

/// The namespaces in which, by the warnings of [`read`], Tidewaiter may not read pull secrets; `None`: there is none.
pub(crate) fn forbidden_in(warnings: &[String]) -> Option<String> {
    let namespaces: std::collections::BTreeSet<_> =
        warnings.iter().filter_map(|warning| warning.split_once(NO_RIGHT)).map(|(_, name)| name.trim_end_matches('.')).collect();
    (!namespaces.is_empty()).then(|| namespaces.into_iter().collect::<Vec<_>>().join(", "))
}

/// A docker config of those logins of a secret that are for the place of `image`, `None` when none is; and what of it cannot be read.
///
/// Source: Kubernetes, types `kubernetes.io/dockerconfigjson` and (older, without `auths`) `kubernetes.io/dockercfg`.
fn fitting(secret: &Secret, image: &Reference) -> (Option<String>, Vec<String>) {
    let (mut auths, mut problems) = (Map::new(), vec![]);
    let files: Vec<_> = FILES.iter().filter_map(|file| Some((file, secret.data.as_ref()?.get(*file)?))).collect();
    if files.is_empty() {
        problems.push(format!("holds no registry login: it has neither {} nor {}", FILES[0], FILES[1]));
    }
    for (file, text) in files {
        match keyring::entries(&text.0) {
            Ok(entries) if entries.is_empty() => problems.push(format!("holds no registry login in {file}")),
            Ok(entries) => {
                for (key, entry) in entries.into_iter().filter(|(key, _)| keyring::rank(key, &image.registry, &image.name).is_some()) {
                    match keyring::logins(&entry) {
                        Ok(logins) if logins.is_empty() => problems.push(format!("has an entry for “{}” without a login", shown(&key))),
                        Ok(_) => _ = auths.insert(key, entry),
                        Err(problem) => problems.push(format!("has an entry for “{}” that cannot be used: {problem}", shown(&key))),
                    }
                }
            }
            Err(problem) => problems.push(format!("cannot be used: {problem} in {file}")),
        }
    }
    ((!auths.is_empty()).then(|| json!({ "auths": auths }).to_string()), problems)
}

/// A key as people may see it.
fn shown(key: &str) -> String {
    const MAX_CHARS: usize = 100;
    key.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::taken;
    use serde_json::Value;
    use sqlx::PgPool;

    fn secret(file: &str, text: &str) -> Secret {
        serde_json::from_value(json!({ "data": { file: k8s_openapi::ByteString(text.into()) } })).unwrap()
    }

    /// The keys that the pod gets, and the warnings.
    fn fitted(file: &str, text: &str, image: &str) -> (Vec<String>, Vec<String>) {
        let image = Reference::parse(&format!("{image}@sha256:{}", "a".repeat(64))).unwrap();
        let (config, problems) = fitting(&secret(file, text), &image);
        let auths = |config: String| serde_json::from_str::<Value>(&config).unwrap()["auths"].as_object().unwrap().keys().cloned().collect();
        (config.map(auths).unwrap_or_default(), problems)
    }

    fn kept(keys: &[&str], image: &str) -> Vec<String> {
        let auths: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), json!({ "auth": "eDp5" }))).collect();
        let (keys, problems) = fitted(".dockerconfigjson", &json!({ "auths": auths }).to_string(), image);
        assert!(problems.is_empty(), "{problems:?}");
        keys
    }

    #[test]
    fn of_a_secret_with_many_logins_the_pod_gets_those_for_the_images_place() {
        let keys = ["quay.io", "quay.io/shop", "quay.io/web", "quay.io:8443", "https://index.docker.io/v1/", "*.azurecr.io", "evil-quay.io"];
        assert_eq!(kept(&keys, "quay.io/shop/cart"), ["quay.io", "quay.io/shop"]);
        assert_eq!(kept(&keys, "quay.io:8443/shop"), ["quay.io:8443"]);
        assert_eq!(kept(&keys, "debian"), ["https://index.docker.io/v1/"]);
        assert_eq!(kept(&keys, "team.azurecr.io/a"), ["*.azurecr.io"]);
        assert!(kept(&keys, "a.team.azurecr.io/a").is_empty());
        assert_eq!(kept(&["myhost", "myhost/team"], "myhost:443/app"), ["myhost"]);
        assert_eq!(kept(&["10.99.0.*:5001"], "10.99.0.1:5001/bugs/glob"), ["10.99.0.*:5001"]);
    }

    #[test]
    fn both_forms_of_pull_secrets_are_read() {
        let one = (vec!["quay.io".to_owned()], vec![]);
        assert_eq!(fitted(".dockerconfigjson", r#"{"auths":{"quay.io":{"auth":"eDp5"}},"credsStore":"x","HttpHeaders":{}}"#, "quay.io/a"), one);
        assert_eq!(fitted(".dockercfg", r#"{"quay.io":{"auth":"eDp5","email":"x"}}"#, "quay.io/a"), one);
    }

    #[test]
    fn what_cannot_be_read_is_said_and_stops_nothing_else() {
        for (file, text, words) in [
            (".dockerconfigjson", "broken secret", "cannot be used: it is no JSON"),
            ("other", "{}", "holds no registry login"),
            (".dockerconfigjson", r#"{"auths":null,"credHelpers":{"a.b":"ecr"}}"#, "holds no registry login"),
            (".dockerconfigjson", r#"{"auths":{"quay.io":{"auth":"!!secret!!"}}}"#, "“quay.io” that cannot be used: its “auth”"),
            (".dockerconfigjson", r#"{"auths":{"quay.io":{}}}"#, "“quay.io” without a login"),
            (".dockerconfigjson", r#"{"auths":[]}"#, "“auths” is no object"),
        ] {
            let (keys, problems) = fitted(file, text, "quay.io/a");
            assert!(keys.is_empty() && problems.len() == 1 && problems[0].contains(words) && !problems[0].contains("secret"), "{problems:?}");
        }
        let (keys, problems) = fitted(".dockerconfigjson", r#"{"auths":{"quay.io":{"auth":"!"},"quay.io/a":{"auth":"eDp5"},"other.io":7}}"#, "quay.io/a");
        assert_eq!((keys, problems.len()), (vec!["quay.io/a".to_owned()], 1));
        let elsewhere = fitted(".dockerconfigjson", r#"{"auths":{"other.io":{"auth":"!"}}}"#, "quay.io/a");
        assert_eq!(elsewhere, (vec![], vec![]), "entries for other places do not matter");
    }

    #[test]
    fn a_namespace_that_keeps_its_secrets_is_named() {
        let warning = |namespace: &str| format!("The pull secret a could not be read, and the image is pulled without it: {NO_RIGHT}{namespace}.");
        assert_eq!(forbidden_in(&["The first scan pod got lost.".into()]), None);
        assert_eq!(forbidden_in(&[warning("shop"), warning("bank"), warning("shop")]).as_deref(), Some("bank, shop"));
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
