//! Which of an image's variants is read.
//!
//! Reading needs no matching processor: of a list without the wanted platform another one for Linux is taken, and that is said.
//!
//! Source: containerd, `core/images/image.go` (`Manifest`).

use crate::config::{self, Config};
use crate::failure::{bad_image, failure};
use crate::manifest::{self, Descriptor, Manifest};
use crate::platform::Platform;
use crate::reference::{Reference, is_sha256};
use crate::registry::Registry;
use scap::protocol::{Failure, FailureCode};
use sha2::{Digest as _, Sha256};

/// Lists that may be in each other.
const MAX_LISTS: u32 = 3;
/// Entries of lists that are fetched to learn what they are.
const MAX_LOOKED_AT: usize = 64;

/// What an image is made of.
pub(super) struct Parts {
    pub(super) manifest_digest: String,
    pub(super) media_type: String,
    pub(super) config: Config,
    pub(super) layers: Vec<Descriptor>,
    /// Said when another variant was read than the wanted one.
    pub(super) warning: Option<String>,
}

/// An entry of a list that may be read.
struct Candidate {
    platform: Platform,
    digest: String,
    /// What is known of it already.
    parts: Option<Parts>,
}

/// The image's variant for `wanted`, or what stands in for it, or the first one for Linux.
///
/// # Errors
/// `NoPlatform`: nothing is for Linux. `BadImage`, and those of the registry.
pub(super) async fn choose(registry: &Registry, image: &Reference, wanted: &Platform) -> Result<Parts, Failure> {
    if !wanted.is_linux() {
        return Err(failure(FailureCode::NoPlatform, format!("The image's containers run on {wanted}: only Linux images can be inspected.")));
    }
    let mut chosen = match verified(registry, &image.digest).await? {
        Manifest::List(list) => from_list(registry, list, wanted).await?,
        found => parts(registry, image.digest.clone(), found).await?,
    };
    let there = &chosen.config.platform;
    if there.is_told() && there.rank_for(wanted).is_none() {
        chosen.warning = Some(format!("The image has no variant for {wanted}; the one for {there} was read."));
    }
    Ok(chosen)
}

async fn from_list(registry: &Registry, list: Vec<Descriptor>, wanted: &Platform) -> Result<Parts, Failure> {
    let mut list = list;
    for _ in 0..MAX_LISTS {
        let Candidate { platform, digest, parts: known } = best(registry, list, wanted).await?;
        if let Some(known) = known {
            return Ok(known);
        }
        match verified(registry, &digest).await? {
            // The entry did not say that it is one.
            Manifest::List(inner) => list = inner,
            found => {
                let mut chosen = parts(registry, digest, found).await?;
                // The list's word counts for containerd; a configuration often says nothing of variants.
                chosen.config.platform = platform;
                return Ok(chosen);
            }
        }
    }
    Err(too_deep())
}

async fn best(registry: &Registry, list: Vec<Descriptor>, wanted: &Platform) -> Result<Candidate, Failure> {
    let said: Vec<Candidate> = list.iter().filter(|entry| !manifest::is_list(entry)).filter_map(candidate).collect();
    let fits = said.iter().any(|candidate| candidate.platform.rank_for(wanted).is_some());
    let candidates = if fits { said } else { look_at(registry, list).await? };
    let there: Vec<String> = candidates.iter().map(|candidate| candidate.platform.to_string()).collect();
    let for_linux = candidates.into_iter().filter(|candidate| candidate.platform.is_linux());
    for_linux.min_by_key(|candidate| order(&candidate.platform, wanted)).ok_or_else(|| nothing_for_linux(there))
}

fn too_deep() -> Failure {
    bad_image(format!("The image's list names a list, and so on more than {MAX_LISTS} times."))
}

/// What fits comes first, then another variant of the architecture, then the common architectures; of equals the first in the list.
fn order(platform: &Platform, wanted: &Platform) -> (usize, usize) {
    let common = ["amd64", "arm64"].iter().position(|name| *name == platform.architecture).unwrap_or(2);
    match platform.rank_for(wanted) {
        Some(rank) => (0, rank),
        None if platform.architecture == wanted.architecture => (1, 0),
        None => (2, common),
    }
}

/// An entry that says what it is for.
fn candidate(entry: &Descriptor) -> Option<Candidate> {
    let platform = entry.platform.clone().filter(Platform::is_told)?;
    (!manifest::is_companion(entry) && is_sha256(&entry.digest)).then(|| Candidate { platform, digest: entry.digest.clone(), parts: None })
}

/// All entries, those of lists in the list too; of those that do not say what they are for, their configuration tells it.
async fn look_at(registry: &Registry, list: Vec<Descriptor>) -> Result<Vec<Candidate>, Failure> {
    let mut candidates = Vec::new();
    let mut refused = None;
    let mut looked_at = 0;
    let mut ahead: Vec<(Descriptor, u32)> = list.into_iter().rev().map(|entry| (entry, 1)).collect();
    while let Some((entry, depth)) = ahead.pop() {
        if let Some(candidate) = candidate(&entry).filter(|_| !manifest::is_list(&entry)) {
            candidates.push(candidate);
            continue;
        }
        if manifest::is_companion(&entry) || !is_sha256(&entry.digest) {
            continue;
        }
        looked_at += 1;
        if looked_at > MAX_LOOKED_AT {
            let message = format!("The image's lists have more than {MAX_LOOKED_AT} entries that do not say what they are for.");
            return Err(failure(FailureCode::TooLarge, message));
        }
        match verified(registry, &entry.digest).await {
            Ok(Manifest::List(_)) if depth >= MAX_LISTS => {
                refused = refused.or_else(|| Some(too_deep()));
            }
            Ok(Manifest::List(inner)) => ahead.extend(inner.into_iter().rev().map(|entry| (entry, depth + 1))),
            Ok(found) => match parts(registry, entry.digest.clone(), found).await {
                Ok(parts) => candidates.push(Candidate { platform: parts.config.platform.clone(), digest: entry.digest, parts: Some(parts) }),
                Err(problem) => refused = refused.or(Some(passed_over(problem)?)),
            },
            Err(problem) => refused = refused.or(Some(passed_over(problem)?)),
        }
    }
    match (candidates.is_empty(), refused) {
        (true, Some(problem)) => Err(problem),
        _ => Ok(candidates),
    }
}

/// What is wrong with one entry does not hinder the others; what is wrong with the registry does.
fn passed_over(problem: Failure) -> Result<Failure, Failure> {
    let of_the_entry = matches!(problem.code, FailureCode::BadImage | FailureCode::ImageNotFound | FailureCode::NoPlatform);
    if of_the_entry { Ok(problem) } else { Err(problem) }
}

fn nothing_for_linux(mut there: Vec<String>) -> Failure {
    there.dedup();
    let message = match there.as_slice() {
        [] => "The image's list names no image.".to_owned(),
        there => format!("The image is made for {}: only Linux images can be inspected.", there.join(", ")),
    };
    failure(FailureCode::NoPlatform, message)
}

/// An image's configuration and layers.
async fn parts(registry: &Registry, manifest_digest: String, found: Manifest) -> Result<Parts, Failure> {
    let Manifest::Image { media_type, config, layers } = found else {
        return Err(bad_image("The image's list calls a list an image."));
    };
    let bytes = registry.small_blob(&config.digest).await?;
    verify(&bytes, &config.digest, "configuration")?;
    let config = config::parse(&bytes, layers.len())?;
    Ok(Parts { manifest_digest, media_type, config, layers, warning: None })
}

async fn verified(registry: &Registry, digest: &str) -> Result<Manifest, Failure> {
    let bytes = registry.manifest(digest).await?;
    match verify(&bytes, digest, "manifest") {
        // The digest of Docker's first form leaves out the signatures in it.
        Err(_) if manifest::is_schema_1(&bytes) => manifest::parse(&bytes),
        Err(failure) => Err(failure),
        Ok(()) => manifest::parse(&bytes),
    }
}

fn verify(bytes: &[u8], digest: &str, what: &str) -> Result<(), Failure> {
    if format!("sha256:{}", hex::encode(Sha256::digest(bytes))) == digest {
        return Ok(());
    }
    Err(bad_image(format!(
        "The image's {what} is not what its digest {digest} promises: the registry's storage is damaged, or something in between changed it."
    )))
}
