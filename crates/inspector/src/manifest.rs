//! Manifests: one platform's image, or a list of them.
//!
//! Source: OCI image specification 1.1 (manifest.md, image-index.md); Docker image manifest version 2, schema 2.

use crate::failure::{bad_image, failure};
use crate::go;
use crate::platform::Platform;
use crate::reference::is_sha256;
use scap::protocol::{Failure, FailureCode};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// All that we take. Registries answer 404, or with another manifest, when the right one is missing here.
pub(crate) const ACCEPT: [&str; 5] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, "*/*"];
pub(crate) const MAX_MANIFEST_BYTES: usize = 4 << 20;
pub(crate) const MAX_CONFIG_BYTES: usize = 8 << 20;
const MAX_LAYERS: usize = 1024;
/// Fields that Go takes in any case.
const NAMES: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "digest",
    "size",
    "platform",
    "annotations",
    "artifactType",
    "urls",
    "architecture",
    "os",
    "variant",
];

/// A blob by digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    /// In bytes, as stored.
    pub(crate) size: u64,
    /// Normalised.
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    artifact_type: Option<String>,
    /// Where else the content is.
    #[serde(default)]
    urls: Option<Vec<String>>,
}

impl Descriptor {
    pub(crate) fn urls(&self) -> &[String] {
        self.urls.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// `null` counts as left out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a manifest turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    Image {
        media_type: String,
        config: Box<Descriptor>,
        layers: Vec<Descriptor>,
    },
    /// Entries in the list's order.
    List(Vec<Descriptor>),
}

/// Reads a manifest; whether it is a list is told by its content, since media types are often wrong or missing.
///
/// # Errors
/// `BadImage`: not JSON, Docker's first form, an artifact that is no container image, or digests that are none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Manifest, Failure> {
    let raw: Raw = go::parse(bytes, NAMES).map_err(|e| bad_image(format!("The image's manifest is damaged: {e}.")))?;
    if raw.schema_version == Some(1) {
        return Err(bad_image("The image has a manifest of Docker's first form (schema 1): push it again with a current tool."));
    }
    let (manifests, layers) = (raw.manifests, raw.layers.unwrap_or_default());
    match (manifests, raw.config) {
        (manifests, Some(config)) if manifests.as_ref().is_none_or(Vec::is_empty) => {
            check(&config, &layers)?;
            let media_type = raw.media_type.unwrap_or_else(|| if config.media_type.contains("docker") { DOCKER_MANIFEST } else { OCI_MANIFEST }.to_owned());
            Ok(Manifest::Image { media_type, config: Box::new(config), layers })
        }
        (Some(manifests), None) if layers.is_empty() => Ok(Manifest::List(manifests)),
        (Some(_), _) => Err(bad_image("The image's manifest is an image and a list of images at once, which nobody may take.")),
        (None, _) => Err(bad_image("The image's manifest is neither an image nor a list of images.")),
    }
}

/// Whether it is of Docker's first form, which [`parse`] refuses in words.
pub(crate) fn is_schema_1(bytes: &[u8]) -> bool {
    go::parse::<Raw>(bytes, NAMES).is_ok_and(|raw| raw.schema_version == Some(1))
}

fn check(config: &Descriptor, layers: &[Descriptor]) -> Result<(), Failure> {
    // Old tools say octet-stream, and some nothing at all.
    const CONFIGS: [&str; 4] = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json", "application/octet-stream", ""];
    if !CONFIGS.contains(&config.media_type.as_str()) {
        return Err(bad_image(format!("This is not a container image but an artifact of type “{}”.", config.media_type)));
    }
    if layers.len() > MAX_LAYERS {
        return Err(failure(FailureCode::TooLarge, format!("The image has {} layers; at most {MAX_LAYERS} are taken.", layers.len())));
    }
    for Descriptor { digest, media_type, .. } in layers.iter().chain([config]) {
        if !is_sha256(digest) {
            return Err(bad_image(format!("The image's manifest names “{digest}”, which is no SHA-256 digest.")));
        }
        if media_type.ends_with("+encrypted") {
            return Err(bad_image("The image has encrypted layers, which cannot be inspected."));
        }
    }
    Ok(())
}

/// Whether an entry of a list accompanies an image rather than to be one: an attestation, a signature, a list of contents.
pub(crate) fn is_companion(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(Platform::is_unknown)
        || entry.artifact_type.as_ref().is_some_and(|kind| !kind.is_empty())
        || entry.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("vnd.docker.reference.type"))
}

/// Whether an entry of a list says that it is a list itself.
pub(crate) fn is_list(entry: &Descriptor) -> bool {
    matches!(entry.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
}

#[cfg(test)]
mod tests {
    use super::{Manifest, parse};
    use scap::protocol::FailureCode;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    #[test]
    fn manifests_that_are_no_images_are_refused_in_words() {
        let image = |config: &str, layer: &str, digest: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{d}","size":1}},"layers":[{{"mediaType":"{layer}","digest":"{digest}","size":1}}]}}"#,
                d = self::digest('a')
            )
        };
        let (config, tar, good) = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip", digest('b'));
        for config in [config, "application/octet-stream"] {
            assert!(matches!(parse(image(config, tar, &good).as_bytes()), Ok(Manifest::Image { layers, .. }) if layers.len() == 1));
        }
        for odd in [r#","layers":null,"manifests":null"#, r#","manifests":[]"#, ""] {
            let text = format!(r#"{{"SchemaVersion":2,"Config":{{"mediaType":null,"digest":"{good}","size":1,"annotations":{{"a":null}}}}{odd}}}"#);
            assert!(matches!(parse(text.as_bytes()), Ok(Manifest::Image { layers, .. }) if layers.is_empty()), "{text}");
        }
        for (text, word) in [
            (image("application/vnd.cncf.helm.config.v1+json", tar, &good), "helm"),
            (image(config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", &good), "encrypted"),
            (image(config, tar, "sha256:../../x"), "digest"),
            (image(config, tar, &good).replacen('{', r#"{"manifests":[{"digest":"x","size":1}],"#, 1), "at once"),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[{"digest":"x","size":1}]}"#.to_owned(), "at once"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
            ("{}".to_owned(), "neither"),
            ("<html>".to_owned(), "damaged"),
        ] {
            let refused = parse(text.as_bytes()).unwrap_err();
            assert_eq!(refused.code, FailureCode::BadImage);
            assert!(refused.message.contains(word), "{}", refused.message);
        }
    }
}
