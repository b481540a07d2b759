//! Pulling from Debian's registry, open, behind a password, behind tokens and behind TLS, and the pod's server on top of it.

#![allow(clippy::unwrap_used)]

mod images;
mod odd;
mod peers;
mod platforms;
mod server;
mod tls;
mod ways;

use images::Image;
use inspector::pull::{Unpacked, pull};
use inspector::reference::Reference;
use inspector::registry::Access;
use inspector::unpack::Limits;
use peers::{Registry, TokenServer};
use scap::protocol::{Failure, FailureCode};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How the registries of these tests are reached; `login` becomes a Docker configuration file for `host`.
fn access(registry: &Registry, login: Option<(&str, &str)>) -> Access {
    let auth_dir = registry.dir().join(format!("auth-{}", login.map_or("none", |(_, password)| password)));
    if let Some((user, password)) = login {
        fs::create_dir_all(auth_dir.join("0")).unwrap();
        let config = serde_json::json!({"auths": {registry.host(): {"username": user, "password": password}}});
        fs::write(auth_dir.join("0/.dockerconfigjson"), config.to_string()).unwrap();
    }
    Access { plain_http: vec![registry.host()], ca_file: None, auth_dir, platform: None, retry_for: Duration::from_millis(600) }
}

async fn fetch(image: &str, access: &Access, into: &Path) -> Result<Unpacked, Failure> {
    pull(&Reference::parse(image).unwrap(), access, Limits::default(), into, |_| {}).await
}

async fn refused(image: &str, access: &Access) -> Failure {
    let dir = tempfile::tempdir().unwrap();
    fetch(image, access, dir.path()).await.unwrap_err()
}

#[tokio::test]
async fn an_open_registry_gives_its_images_and_says_which_it_has_not() {
    let registry = Registry::open().await;
    let name = registry.push(&Image::sample(), "shop/web");
    let dir = tempfile::tempdir().unwrap();
    let access = access(&registry, None);
    let unpacked = fetch(&name, &access, dir.path()).await.unwrap();
    assert_eq!(fs::read_to_string(unpacked.root.join("etc/os-release")).unwrap(), images::OS_RELEASE);
    assert!(!unpacked.root.join("etc/removed").exists());
    assert!(name.ends_with(&unpacked.manifest_digest));
    assert_eq!((unpacked.config.user.as_str(), unpacked.config.architecture.as_str()), ("app", "amd64"));
    assert!(unpacked.compressed_bytes > 0 && unpacked.unpacked_bytes > 0 && unpacked.state_file.is_file());

    let unknown = refused(&format!("{}/shop/web@sha256:{}", registry.host(), "0".repeat(64)), &access).await;
    assert_eq!(unknown.code, FailureCode::ImageNotFound, "{}", unknown.message);
    let elsewhere = refused(&name.replace("shop/web", "shop/none"), &access).await;
    assert_eq!(elsewhere.code, FailureCode::ImageNotFound, "{}", elsewhere.message);
}

#[tokio::test]
async fn damage_in_the_registrys_storage_is_noticed() {
    let registry = Registry::open().await;
    let (image, access) = (Image::sample(), access(&registry, None));
    let name = registry.push(&image, "shop/damaged");
    registry.damage(&image.layer_digest(0));
    let damaged = refused(&name, &access).await;
    assert_eq!(damaged.code, FailureCode::BadImage, "{}", damaged.message);
    assert!(damaged.message.contains(&image.layer_digest(0)), "{}", damaged.message);
}

#[tokio::test]
async fn a_list_gives_the_variant_of_this_machine_and_keeps_its_own_digest() {
    let registry = Registry::open().await;
    let image = Image::sample();
    let name = registry.push(&image, "shop/multi");
    let (list, size) = registry.push_list(&image, "shop/multi").await;
    let index = "application/vnd.oci.image.index.v1+json";
    let (outer, _) = registry.push_list_of(index, list.split_once('@').unwrap().1, size, "shop/multi").await;
    for list in [list, outer] {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = fetch(&list, &access(&registry, None), dir.path()).await.unwrap();
        assert!(name.ends_with(&unpacked.manifest_digest) && !list.ends_with(&unpacked.manifest_digest));
    }
}

#[tokio::test]
async fn an_image_whose_layers_alone_are_too_large_is_refused_before_they_are_fetched() {
    let registry = Registry::open().await;
    let name = registry.push(&Image::sample(), "shop/large");
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { unpacked_bytes: 10, ..Limits::default() };
    let failure = pull(&Reference::parse(&name).unwrap(), &access(&registry, None), limits, dir.path(), |_| {}).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::TooLarge);
    assert!(failure.message.contains("smartstate.storage_limit"), "{}", failure.message);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_registry_with_passwords_wants_the_right_one() {
    let registry = Registry::with_password("puller", "right").await;
    let name = registry.push(&Image::sample(), "secret/web");
    let none = refused(&name, &access(&registry, None)).await;
    assert_eq!(none.code, FailureCode::AccessDenied);
    assert!(none.message.contains("there is none"), "{}", none.message);
    let wrong = refused(&name, &access(&registry, Some(("puller", "wrong")))).await;
    assert_eq!(wrong.code, FailureCode::AccessDenied);
    assert!(wrong.message.contains("refused the image pull secrets"), "{}", wrong.message);
    assert!(!wrong.message.contains("wrong"), "the message shows the password");
    let dir = tempfile::tempdir().unwrap();
    fetch(&name, &access(&registry, Some(("puller", "right"))), dir.path()).await.unwrap();
}

// skopeo blocks a thread while it asks the token server on another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_with_a_token_server_is_asked_for_a_token_that_allows_pulling() {
    let tokens = TokenServer::start("puller", "right").await;
    let registry = Registry::with_tokens(&tokens).await;
    let name = registry.push(&Image::sample(), "secret/web");
    let dir = tempfile::tempdir().unwrap();
    fetch(&name, &access(&registry, Some(("puller", "right"))), dir.path()).await.unwrap();
    assert!(tokens.scopes().contains(&"repository:secret/web:pull".to_owned()), "{:?}", tokens.scopes());
    for login in [None, Some(("puller", "wrong"))] {
        assert_eq!(refused(&name, &access(&registry, login)).await.code, FailureCode::AccessDenied);
    }
}

#[tokio::test]
async fn tls_is_trusted_with_its_ca_alone() {
    let registry = Registry::with_tls().await;
    let name = registry.push(&Image::sample(), "shop/tls");
    let mut access = access(&registry, None);
    access.plain_http.clear();
    let untrusted = refused(&name, &access).await;
    assert_eq!(untrusted.code, FailureCode::RegistryTls, "{}", untrusted.message);
    assert!(untrusted.message.contains("registry_ca_file"), "{}", untrusted.message);
    access.ca_file = Some(registry.dir().join("ca.pem"));
    let dir = tempfile::tempdir().unwrap();
    fetch(&name, &access, dir.path()).await.unwrap();
}

#[tokio::test]
async fn registries_that_speak_no_tls_or_do_not_run_are_told_apart() {
    let mut registry = Registry::open().await;
    let name = registry.push(&Image::sample(), "shop/web");
    let mut strict = access(&registry, None);
    strict.plain_http.clear();
    let plain = refused(&name, &strict).await;
    assert_eq!(plain.code, FailureCode::RegistryTls, "{}", plain.message);
    registry.stop();
    let stopped = refused(&name, &access(&registry, None)).await;
    assert_eq!(stopped.code, FailureCode::RegistryUnreachable, "{}", stopped.message);
    assert!(stopped.message.contains(&registry.host()), "{}", stopped.message);
}
