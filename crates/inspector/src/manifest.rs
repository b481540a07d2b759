//! Manifests: one platform's image, or a list of them.
//!
//! Source: OCI image specification 1.1 (manifest.md, image-index.md); Docker image manifest version 2, schema 2.

use crate::failure::{bad_image, failure};
use crate::reference::is_sha256;
use scap::protocol::{Failure, FailureCode};
use serde::Deserialize;
use std::collections::BTreeMap;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// All that we take. Registries answer 404, or with another manifest, when the right one is missing here.
pub(crate) const ACCEPT: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];
pub(crate) const MAX_MANIFEST_BYTES: usize = 4 << 20;
pub(crate) const MAX_CONFIG_BYTES: usize = 8 << 20;
const MAX_LAYERS: usize = 1024;

/// A blob by digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    /// In bytes, as stored.
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: Option<String>,
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

/// What a manifest turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    Image {
        media_type: String,
        config: Descriptor,
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
    let raw: Raw = serde_json::from_slice(bytes).map_err(|e| bad_image(format!("The image's manifest is damaged: {e}.")))?;
    if raw.schema_version == Some(1) {
        return Err(bad_image("The image has a manifest of Docker's first form (schema 1): push it again with a current tool."));
    }
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) => Ok(Manifest::List(manifests)),
        (None, Some(config), Some(layers)) => {
            check(&config, &layers)?;
            let media_type = raw.media_type.unwrap_or_else(|| if config.media_type.contains("docker") { DOCKER_MANIFEST } else { OCI_MANIFEST }.to_owned());
            Ok(Manifest::Image { media_type, config, layers })
        }
        _ => Err(bad_image("The image's manifest is neither an image nor a list of images.")),
    }
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
        if media_type.contains("foreign") || media_type.contains("nondistributable") {
            return Err(bad_image(
                "The image has a foreign layer, whose content is not in the registry (Windows base images are like this): it cannot be inspected.",
            ));
        }
        if media_type.ends_with("+encrypted") {
            return Err(bad_image("The image has encrypted layers, which cannot be inspected."));
        }
    }
    Ok(())
}

/// The entry of a list for Linux on `architecture` (Go's words); attestations are passed over. On 32-bit ARM the highest variant up to `v7` wins.
///
/// # Errors
/// `NoPlatform`, with the platforms that there are.
pub(crate) fn select<'a>(list: &'a [Descriptor], architecture: &str) -> Result<&'a Descriptor, Failure> {
    let images: Vec<(&Descriptor, &Platform)> =
        list.iter().filter(|entry| !is_attestation(entry)).filter_map(|entry| Some((entry, entry.platform.as_ref()?))).collect();
    let fitting = images.iter().filter(|(_, platform)| platform.os == "linux" && platform.architecture == architecture);
    let rank = |platform: &Platform| match platform.variant.as_deref().unwrap_or_default() {
        "" => 1,
        // amd64's v2 and higher need newer processors; what is inside is the same.
        variant if architecture == "amd64" => u8::from(variant == "v1"),
        variant => variant.trim_start_matches('v').parse::<u8>().unwrap_or(0),
    };
    // The first of the best, as container runtimes take it.
    let best = fitting.rev().max_by_key(|(_, platform)| rank(platform)).map(|(entry, _)| *entry);
    match best.or_else(|| only_unnamed(list)) {
        Some(entry) if is_sha256(&entry.digest) => Ok(entry),
        Some(_) => Err(bad_image("The image's list names a digest that is not SHA-256.")),
        None => {
            let there: Vec<String> = images.iter().map(|(_, platform)| format!("{}/{}", platform.os, platform.architecture)).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(failure(FailureCode::NoPlatform, format!("The image has no variant for linux/{architecture}, the scan pod's node; it has: {there}.")))
        }
    }
}

fn is_attestation(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown" || platform.architecture == "unknown")
        || entry.annotations.as_ref().is_some_and(|annotations| annotations.contains_key("vnd.docker.reference.type"))
}

/// A list of one image that does not say its platform, as some tools write it.
fn only_unnamed(list: &[Descriptor]) -> Option<&Descriptor> {
    match list {
        [entry] if entry.platform.is_none() => Some(entry),
        _ => None,
    }
}

/// This machine's architecture in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Manifest, parse, select};
    use scap::protocol::FailureCode;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn list(entries: &[(char, &str, &str, &str)]) -> Vec<super::Descriptor> {
        let entry = |(letter, os, architecture, variant): &(char, &str, &str, &str)| serde_json::json!({"digest": digest(*letter), "size": 1, "platform": {"os": os, "architecture": architecture, "variant": variant}});
        let text = serde_json::json!({"schemaVersion": 2, "manifests": entries.iter().map(entry).collect::<Vec<_>>()});
        match parse(text.to_string().as_bytes()).unwrap() {
            Manifest::List(list) => list,
            Manifest::Image { .. } => panic!("a list was read as an image"),
        }
    }

    #[test]
    fn the_platform_of_the_node_is_chosen_and_attestations_never() {
        let list = list(&[
            ('a', "unknown", "unknown", ""),
            ('b', "windows", "amd64", ""),
            ('c', "linux", "amd64", ""),
            ('d', "linux", "amd64", "v3"),
            ('e', "linux", "arm", "v6"),
            ('f', "linux", "arm", "v7"),
        ]);
        assert_eq!(select(&list, "amd64").unwrap().digest, digest('c'));
        assert_eq!(select(&list, "arm").unwrap().digest, digest('f'));
        let missing = select(&list, "arm64").unwrap_err();
        assert_eq!(missing.code, FailureCode::NoPlatform);
        assert!(
            missing.message.contains("linux/arm64") && missing.message.contains("windows/amd64") && !missing.message.contains("unknown"),
            "{}",
            missing.message
        );
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
        for (text, word) in [
            (image("application/vnd.cncf.helm.config.v1+json", tar, &good), "helm"),
            (image(config, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &good), "foreign"),
            (image(config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", &good), "encrypted"),
            (image(config, tar, "sha256:../../x"), "digest"),
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
