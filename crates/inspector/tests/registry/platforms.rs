//! Which variant of an image is read.

use crate::images::{Image, digest};
use crate::odd::{Odd, Tokens, Way};
use inspector::platform::Platform;
use inspector::pull::{Unpacked, pull};
use inspector::reference::Reference;
use inspector::unpack::Limits;
use scap::protocol::{Failure, FailureCode};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn entry(manifest: &[u8], kind: &str, platform: Value) -> Value {
    let mut entry = json!({"mediaType": kind, "digest": digest(manifest), "size": manifest.len()});
    if !platform.is_null() {
        entry["platform"] = platform;
    }
    entry
}

fn list(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into_bytes()
}

fn platform(text: &str) -> Value {
    let parts: Vec<&str> = text.split('/').collect();
    json!({"os": parts[0], "architecture": parts[1], "variant": parts.get(2)})
}

/// An image that is there, so that its digest tells which variant was taken, and one that is not.
const THERE: &str = "there";

async fn read(image: &Image, manifests: Vec<Vec<u8>>, wanted: &str) -> Result<Unpacked, Failure> {
    let odd = Odd::with(Way::Open, Tokens::Posts, image, manifests).await;
    let mut access = odd.access(&[]);
    access.platform = Platform::parse(wanted);
    let dir = tempfile::tempdir().unwrap();
    pull(&Reference::parse(&odd.image).unwrap(), &access, Limits::default(), dir.path(), |_| {}).await
}

/// Reads a list of which only the entry called `there` has an image; what warnings say.
async fn taken(entries: &[(&str, &str)], wanted: &str) -> String {
    let image = Image::of(json!({"os": "linux"}));
    let entries: Vec<Value> =
        entries.iter().map(|(name, text)| entry(if *name == THERE { &image.manifest } else { name.as_bytes() }, MANIFEST, platform(text))).collect();
    match read(&image, vec![list(&entries)], wanted).await {
        Ok(unpacked) => unpacked.warnings.join(" "),
        Err(failure) => panic!("{entries:?} for {wanted}: {}", failure.message),
    }
}

#[tokio::test]
async fn the_wanted_platform_is_chosen_or_what_runs_there() {
    for (entries, wanted) in [
        (vec![("x", "linux/arm64"), (THERE, "linux/386")], "linux/amd64"),
        (vec![(THERE, "Linux/x86_64")], "linux/amd64"),
        (vec![("x", "unknown/unknown"), ("x", "windows/amd64"), (THERE, "linux/amd64"), ("x", "linux/amd64/v3")], "linux/amd64"),
        (vec![("x", "linux/amd64"), (THERE, "linux/arm64/v8")], "linux/arm64"),
        (vec![("x", "linux/arm/v6"), (THERE, "linux/arm/v7")], "linux/arm"),
        (vec![("x", "linux/arm/v5"), (THERE, "linux/arm/v6"), ("x", "linux/amd64")], "linux/arm/v7"),
        (vec![(THERE, "linux/armhf"), ("x", "linux/amd64")], "linux/arm64"),
        (vec![(THERE, "linux/amd64"), ("x", "linux/amd64")], "linux/amd64"),
    ] {
        assert_eq!(taken(&entries, wanted).await, "", "{entries:?}");
    }
}

#[tokio::test]
async fn without_the_wanted_platform_another_one_for_linux_is_read_and_said() {
    let said = taken(&[(THERE, "linux/arm64")], "linux/amd64").await;
    assert_eq!(said, "The image has no variant for linux/amd64; the one for linux/arm64 was read.");
    assert!(taken(&[("x", "windows/amd64"), ("x", "linux/s390x"), (THERE, "linux/amd64/v3")], "linux/amd64").await.contains("linux/amd64/v3 was read"));
    let single = Image::of(json!({"os": "Linux", "architecture": "aarch64"}));
    let unpacked = read(&single, vec![], "linux/amd64").await.unwrap();
    assert_eq!(unpacked.config.architecture, "arm64");
    assert!(unpacked.warnings[0].contains("linux/arm64 was read"), "{:?}", unpacked.warnings);
    let silent = read(&Image::of(json!({"os": "", "architecture": null})), vec![], "linux/amd64").await.unwrap();
    assert!(silent.warnings.is_empty(), "{:?}", silent.warnings);
}

#[tokio::test]
async fn entries_that_do_not_say_what_they_are_for_are_looked_at() {
    let image = Image::of(json!({"os": "linux", "architecture": "amd64"}));
    let signature = json!({"schemaVersion": 2, "config": {"mediaType": "application/vnd.example.signature", "digest": digest(b"s"), "size": 1}, "layers": []})
        .to_string()
        .into_bytes();
    let unnamed = entry(&image.manifest, MANIFEST, Value::Null);
    let artifact = entry(&signature, MANIFEST, Value::Null);
    for (entries, wanted) in [
        (vec![artifact.clone(), unnamed.clone()], "linux/amd64"),
        (vec![entry(b"x", MANIFEST, platform("linux/arm64")), unnamed.clone()], "linux/amd64"),
        (vec![entry(&image.manifest, "", json!({}))], "linux/amd64"),
        (vec![entry(b"gone", MANIFEST, Value::Null), unnamed.clone()], "linux/amd64"),
    ] {
        let unpacked = read(&image, vec![list(&entries), signature.clone()], wanted).await;
        assert!(unpacked.as_ref().is_ok_and(|unpacked| unpacked.warnings.is_empty()), "{entries:?}: {unpacked:?}");
    }
    let only = read(&image, vec![list(&[artifact]), signature], "linux/amd64").await.unwrap_err();
    assert!(only.message.contains("artifact"), "{}", only.message);
}

#[tokio::test]
async fn lists_may_be_in_lists() {
    let image = Image::of(json!({"os": "linux", "architecture": "amd64"}));
    let inner = list(&[entry(b"x", MANIFEST, platform("linux/arm64")), entry(&image.manifest, MANIFEST, platform("linux/amd64"))]);
    for outer in [
        list(&[entry(&inner, INDEX, Value::Null)]),
        list(&[entry(&inner, INDEX, platform("linux/amd64"))]),
        list(&[entry(&inner, "", platform("linux/amd64"))]),
        list(&[entry(b"x", MANIFEST, platform("linux/s390x")), entry(&inner, INDEX, Value::Null)]),
    ] {
        let unpacked = read(&image, vec![outer, inner.clone()], "linux/amd64").await.unwrap();
        assert_eq!(unpacked.manifest_digest, image.digest());
    }
    let mut lists = vec![inner];
    for _ in 0..3 {
        lists.insert(0, list(&[entry(&lists[0], INDEX, Value::Null)]));
    }
    let deep = read(&image, lists, "linux/amd64").await.unwrap_err();
    assert!(deep.message.contains("and so on"), "{}", deep.message);
}

#[tokio::test]
async fn what_is_for_no_linux_is_said_to_be_for_what_it_is() {
    let image = Image::of(json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1"}));
    let single = read(&image, vec![], "linux/amd64").await.unwrap_err();
    assert_eq!((single.code, single.message.as_str()), (FailureCode::NoPlatform, "The image is for windows: only Linux images can be inspected."));
    let elsewhere = read(&image, vec![], "windows/amd64").await.unwrap_err();
    assert_eq!(
        (elsewhere.code, elsewhere.message.as_str()),
        (FailureCode::NoPlatform, "The image's containers run on windows/amd64: only Linux images can be inspected.")
    );
    let many = list(&[entry(b"x", MANIFEST, platform("windows/amd64")), entry(b"y", MANIFEST, platform("freebsd/arm64"))]);
    let many = read(&image, vec![many], "linux/amd64").await.unwrap_err();
    assert_eq!(
        (many.code, many.message.as_str()),
        (FailureCode::NoPlatform, "The image is made for windows/amd64, freebsd/arm64: only Linux images can be inspected.")
    );
    let empty = read(&image, vec![list(&[])], "linux/amd64").await.unwrap_err();
    assert_eq!((empty.code, empty.message.as_str()), (FailureCode::NoPlatform, "The image's list names no image."));
}
