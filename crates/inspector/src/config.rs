//! An image's configuration blob.
//!
//! Source: OCI image specification 1.1, config.md; Docker image specification 1.2.

use crate::failure::{bad_image, failure};
use crate::go;
use crate::platform::Platform;
use chrono::{DateTime, Utc};
use scap::protocol::{Failure, FailureCode};
use scap::report::ImageConfig;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is used of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) image: ImageConfig,
    pub(crate) platform: Platform,
    /// Digests of the layers' tar streams, lowest first.
    pub(crate) diff_ids: Vec<String>,
    /// What checks the container's health; empty where nothing does.
    pub(crate) health_command: Vec<String>,
    /// The steps of the build as it noted them, oldest first.
    pub(crate) history: Vec<String>,
}

/// Fields that Go takes in any case.
const NAMES: &[&str] = &[
    "architecture",
    "os",
    "variant",
    "author",
    "created",
    "config",
    "rootfs",
    "diff_ids",
    "User",
    "WorkingDir",
    "Env",
    "Entrypoint",
    "Cmd",
    "ExposedPorts",
    "Labels",
    "Healthcheck",
    "Test",
];

// Docker writes null where OCI leaves out.
#[derive(Deserialize)]
struct Raw {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    author: Option<String>,
    created: Option<String>,
    config: Option<Container>,
    rootfs: Option<RootFs>,
    history: Option<Vec<Step>>,
}

#[derive(Deserialize)]
struct Step {
    created_by: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Container {
    user: Option<String>,
    working_dir: Option<String>,
    env: Option<Vec<Option<String>>>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    labels: Option<BTreeMap<String, Option<String>>>,
    healthcheck: Option<Healthcheck>,
}

/// Old images have a plain string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    test: Option<Words>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

/// Reads the configuration of an image with `layers` layers.
///
/// # Errors
/// `BadImage`: no JSON, not for Linux, or not as many diff_ids as layers.
pub(crate) fn parse(bytes: &[u8], layers: usize) -> Result<Config, Failure> {
    let raw: Raw = go::parse(bytes, NAMES).map_err(|e| bad_image(format!("The image's configuration is damaged: {e}.")))?;
    let platform = Platform::new(raw.os.as_deref(), raw.architecture.as_deref(), raw.variant.as_deref());
    if !platform.is_linux() {
        return Err(failure(FailureCode::NoPlatform, format!("The image is for {}: only Linux images can be inspected.", platform.os)));
    }
    let diff_ids = raw.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
    if diff_ids.len() != layers {
        return Err(bad_image(format!("The image has {layers} layers but its configuration lists {}.", diff_ids.len())));
    }
    let container = raw.config.unwrap_or_default();
    let words = |words: Option<Words>| match words {
        None => Vec::new(),
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
    };
    let image = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        author: raw.author.unwrap_or_default(),
        created_at: raw.created.and_then(|text| DateTime::parse_from_rfc3339(&text).ok()).map(|time| time.with_timezone(&Utc)),
        user: container.user.unwrap_or_default(),
        working_dir: container.working_dir.unwrap_or_default(),
        env: container.env.unwrap_or_default().into_iter().flatten().collect(),
        entrypoint: words(container.entrypoint),
        cmd: words(container.cmd),
        exposed_ports: container.exposed_ports.unwrap_or_default().into_keys().collect(),
        labels: container.labels.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect(),
    };
    let test = words(container.healthcheck.and_then(|check| check.test));
    let health_command = if test.first().is_some_and(|kind| kind != "NONE") { test.into_iter().skip(1).collect() } else { Vec::new() };
    let history = raw.history.unwrap_or_default().into_iter().filter_map(|step| step.created_by).collect();
    Ok(Config { image, platform, diff_ids, health_command, history })
}
