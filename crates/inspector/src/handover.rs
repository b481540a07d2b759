//! What the container that pulls leaves to the one that inspects: a file in the work folder that they share.

use crate::pull::Unpacked;
use crate::settings::Settings;
use scap::protocol::{Failure, FailureCode};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// Which part of the work this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Pulls and unpacks, leaves the outcome to [`Part::Inspect`], and ends.
    Pull,
    /// Goes on from what [`Part::Pull`] left, without logins.
    Inspect,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Unpacked(Box<Unpacked>),
    Failed(Failure),
}

fn file(settings: &Settings) -> PathBuf {
    settings.work.join("pulled.json")
}

/// Leaves how the pull ended.
pub(crate) fn leave(settings: &Settings, pulled: Result<Unpacked, Failure>) -> io::Result<()> {
    let outcome = match pulled {
        Ok(unpacked) => Outcome::Unpacked(Box::new(unpacked)),
        Err(failure) => {
            // On a full disk there is no room even for the reason.
            let _ = std::fs::remove_dir_all(settings.work.join("blobs"));
            Outcome::Failed(failure)
        }
    };
    std::fs::write(file(settings), serde_json::to_vec(&outcome)?)
}

/// Takes up what was left.
pub(crate) fn take_up(settings: &Settings) -> Result<Unpacked, Failure> {
    let read = std::fs::read(file(settings)).and_then(|json| Ok(serde_json::from_slice(&json)?));
    match read {
        Ok(Outcome::Unpacked(unpacked)) => Ok(*unpacked),
        Ok(Outcome::Failed(failure)) => Err(failure),
        Err(error) => Err(Failure { code: FailureCode::Internal, message: format!("The container that pulls left no image: {error}.") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;
    use scap::protocol::env;
    use scap::report::ImageConfig;

    fn settings(work: &std::path::Path) -> Settings {
        let image = format!("registry.example.org/a@sha256:{}", "a".repeat(64));
        let read = |name: &str| match name {
            env::IMAGE => Some(image.clone()),
            env::SCAN_ID => Some("7".into()),
            env::TOKEN_SHA256 => Some("0".repeat(64)),
            env::WORK => Some(work.to_str().unwrap().to_owned()),
            _ => None,
        };
        Settings::read(read).unwrap()
    }

    #[test]
    fn what_was_pulled_or_why_not_is_taken_up_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        assert_eq!(take_up(&settings).unwrap_err().code, FailureCode::Internal);
        let failure = Failure { code: FailureCode::AccessDenied, message: "no".into() };
        leave(&settings, Err(failure.clone())).unwrap();
        assert_eq!(take_up(&settings).unwrap_err(), failure);
        let unpacked = Unpacked {
            root: "/work/root".into(),
            state_file: "/work/state".into(),
            manifest_digest: "sha256:b".into(),
            media_type: "m".into(),
            config: ImageConfig { env: vec!["A=B".into()], ..ImageConfig::default() },
            platform: Platform::parse("linux/arm/v7").unwrap(),
            compressed_bytes: 1,
            unpacked_bytes: 2,
            entries: 3,
            inodes: 4,
            pull_ms: 5,
            unpack_ms: 6,
            warnings: vec!["w".into()],
            cut_files: vec!["etc/passwd".into()],
        };
        let before = format!("{unpacked:?}");
        leave(&settings, Ok(unpacked)).unwrap();
        assert_eq!(format!("{:?}", take_up(&settings).unwrap()), before);
    }
}
