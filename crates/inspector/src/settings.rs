//! The inspector's settings: environment variables of its container.

use crate::platform::Platform;
use crate::reference::{Reference, is_hex_sha256};
use crate::registry::Access;
use crate::unpack::Limits;
use anyhow::{Context as _, ensure};
use scap::protocol::env;
use std::path::PathBuf;
use std::time::Duration;

/// How long requests to a registry are tried again.
pub const RETRY_FOR: Duration = Duration::from_secs(45);

/// What a scan pod is told.
#[derive(Debug, Clone)]
pub struct Settings {
    pub scan_id: String,
    /// SHA-256 of the token that requests carry.
    pub token_sha256: [u8; 32],
    pub image: Reference,
    /// As in the environment; written into results.
    pub image_name: String,
    /// The process ends after this time, whatever it does.
    pub deadline: Duration,
    /// For everything written.
    pub work: PathBuf,
    pub access: Access,
    pub limits: Limits,
    /// The container's, where it is told.
    pub memory_bytes: Option<u64>,
}

impl Settings {
    /// Reads the variables of [`scap::protocol::env`] through `variable`.
    ///
    /// # Errors
    /// A variable is missing or out of form; its name is in the message.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let told = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &str| told(name).with_context(|| format!("{name} is not set"));
        let image_name = needed(env::IMAGE)?;
        let token = needed(env::TOKEN_SHA256)?;
        ensure!(is_hex_sha256(&token), "{} is no SHA-256 in lower-case hex", env::TOKEN_SHA256);
        let mut token_sha256 = [0; 32];
        hex::decode_to_slice(&token, &mut token_sha256).context(env::TOKEN_SHA256)?;
        let mut limits = Limits::default();
        if let Some(bytes) = told(env::MAX_UNPACKED_BYTES) {
            limits.unpacked_bytes = bytes.parse().context(env::MAX_UNPACKED_BYTES)?;
        }
        let memory_bytes = told(env::MEMORY_BYTES).map(|bytes| bytes.parse()).transpose().context(env::MEMORY_BYTES)?;
        Ok(Self {
            scan_id: needed(env::SCAN_ID)?,
            token_sha256,
            image: Reference::parse(&image_name).map_err(anyhow::Error::msg).context(env::IMAGE)?,
            image_name,
            deadline: Duration::from_secs(told(env::DEADLINE_SECS).map_or(Ok(1800), |secs| secs.parse()).context(env::DEADLINE_SECS)?),
            work: told(env::WORK).map_or_else(|| "/work".into(), PathBuf::from),
            access: Access {
                plain_http: told(env::PLAIN_HTTP).unwrap_or_default().split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect(),
                ca_file: told(env::REGISTRY_CA).map(PathBuf::from),
                auth_dir: told(env::AUTH).map_or_else(|| "/auth".into(), PathBuf::from),
                platform: told(env::PLATFORM).map(|text| Platform::parse(&text).context("it is no os/architecture").context(env::PLATFORM)).transpose()?,
                retry_for: RETRY_FOR,
            },
            limits: memory_bytes.map_or(limits, |bytes| limits.within_memory(bytes)),
            memory_bytes,
        })
    }
}
