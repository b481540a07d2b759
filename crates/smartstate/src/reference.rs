//! By which names an image can be asked for at registries.

use crate::lease::Scan;
use sqlx::PgConnection;
use std::collections::HashSet;

/// An image is tried by so many names at most.
const NAMES_AT_MOST: usize = 3;

/// The references of an image, the likeliest first: what a node says it has the image from, then the name in the pods.
///
/// `pulled_from`: as in `container_images`, empty when it is the same name.
pub(crate) fn all(registry: &str, name: &str, pulled_from: &str, digest: &str) -> Vec<String> {
    let own = format!("{}/{name}@{digest}", unambiguous(registry));
    match pulled_from.split_once('/') {
        None => vec![own],
        Some((registry, name)) => vec![format!("{}/{name}@{digest}", unambiguous(registry)), own],
    }
}

/// A host without dot or port, which a pod marked as one by its capital letters, is given the port that it has anyway: else it would be read as a folder
/// of Docker Hub.
fn unambiguous(registry: &str) -> String {
    if registry.contains(['.', ':']) || registry == "localhost" { registry.into() } else { format!("{registry}:443") }
}

/// By which name the scan's image may be tried next at its provider, besides those that have failed; images in use first.
///
/// # Errors
/// The database.
pub(crate) async fn next(conn: &mut PgConnection, scan: &Scan) -> anyhow::Result<Option<String>> {
    if scan.tried.len() + 1 >= NAMES_AT_MOST {
        return Ok(None);
    }
    let rows = sqlx::query!(
        "SELECT image_registries.name AS registry, container_images.name, pulled_from
         FROM container_images
         JOIN image_registries ON image_registries.id = registry_id
         WHERE digest = $1
           AND container_images.provider_id = $2
         ORDER BY archived_at IS NOT NULL, container_images.id",
        scan.digest,
        scan.provider.0
    )
    .fetch_all(conn)
    .await?;
    let failed: HashSet<&str> = scan.tried.iter().chain([&scan.reference]).map(String::as_str).collect();
    let names = rows.iter().flat_map(|row| all(&row.registry, &row.name, &row.pulled_from, &scan.digest));
    Ok(names.into_iter().find(|name| !failed.contains(name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::tests::taken;
    use sqlx::PgPool;

    #[test]
    fn where_the_node_has_it_from_comes_first_and_hosts_stay_hosts() {
        assert_eq!(all("quay.io", "shop/cart", "", "sha256:d"), ["quay.io/shop/cart@sha256:d"]);
        assert_eq!(all("r.local", "ml-zstd", "r.local/ml", "sha256:d"), ["r.local/ml@sha256:d", "r.local/ml-zstd@sha256:d"]);
        assert_eq!(all("myhost", "app", "", "sha256:d"), ["myhost:443/app@sha256:d"]);
        assert_eq!(all("localhost", "app", "other/x", "sha256:d"), ["other:443/x@sha256:d", "localhost/app@sha256:d"]);
    }

    #[sqlx::test(migrator = "model::MIGRATOR")]
    async fn an_image_is_tried_by_each_of_its_names_once(pool: PgPool) {
        let (_, mut scan) = taken(&pool).await;
        let mut conn = pool.acquire().await.unwrap();
        assert_eq!(next(&mut conn, &scan).await.unwrap(), None, "it has one name");
        sqlx::query(
            "INSERT INTO container_images (provider_id, registry_id, name, digest, pulled_from, first_seen_at, last_seen_at)
             SELECT provider_id, registry_id, 'alias', digest, 'mirror.local/alias', first_seen_at, last_seen_at FROM container_images",
        )
        .execute(&mut *conn)
        .await
        .unwrap();
        let mirror = next(&mut conn, &scan).await.unwrap().unwrap();
        assert_eq!(mirror, format!("mirror.local/alias@{}", scan.digest));
        scan.tried.push(std::mem::replace(&mut scan.reference, mirror));
        let own = next(&mut conn, &scan).await.unwrap().unwrap();
        assert_eq!(own, format!("r:443/alias@{}", scan.digest));
        scan.tried.push(std::mem::replace(&mut scan.reference, own));
        assert_eq!(next(&mut conn, &scan).await.unwrap(), None);
    }
}
