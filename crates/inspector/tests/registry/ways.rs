//! Logging in, redirects, broken transfers: what container runtimes take, and what nobody should.

use crate::images::Image;
use crate::odd::{LOGIN, Odd, Tokens, Way};
use crate::{fetch, refused};
use scap::protocol::FailureCode;

const GOOD: Tokens = Tokens::Json(r#"{"token":"good"}"#);

fn bearer(rest: &str) -> Way {
    Way::Challenge(vec![format!("Bearer realm=\"REALM\"{rest}")])
}

async fn pulls(odd: &Odd, secrets: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let pulled = fetch(&odd.image, &odd.access(secrets), dir.path()).await;
    assert!(pulled.is_ok(), "{pulled:?}: {:#?}", odd.seen());
}

#[tokio::test]
async fn registries_are_logged_in_to_in_all_of_their_ways() {
    let challenge = |text: &str| Way::Challenge(vec![text.to_owned()]);
    for (way, tokens) in [
        (bearer(",service=\"s\",scope=\"repository:a/app:pull\""), Tokens::Json(r#"{"token":"","access_token":"good"}"#)),
        (bearer(",service=\"s\""), Tokens::Json(r#"{"access_token":"good"}"#)),
        (bearer(",service=\"s\""), Tokens::Json(r#"{"token":"good","access_token":"good","expires_in":300,"issued_at":null}"#)),
        (bearer(",service=\"s\""), Tokens::Json(r#"{"token":null,"access_token":"good"}"#)),
        (challenge("Basic realm=\"x\", Bearer realm=\"REALM\",service=\"s\""), GOOD),
        (Way::Challenge(vec!["Negotiate".into(), "Basic realm=\"x\"".into()]), GOOD),
        (bearer(""), GOOD),
        (bearer(",service=\"s\",scope=\"repository:a/app:pull repository:a/base:pull\""), GOOD),
        (challenge("Bearer realm=\"REALM\",service=\"a \\\"quoted\\\" service\",error=\"insufficient_scope\""), GOOD),
        (challenge("Basic realm=\"x\""), GOOD),
        (bearer(",service=\"s\""), Tokens::Posts),
        (Way::Hides, GOOD),
        (Way::Forbids, GOOD),
        (Way::Open, GOOD),
    ] {
        let odd = Odd::start(way, tokens).await;
        pulls(&odd, &[odd.secret(LOGIN)]).await;
    }
}

#[tokio::test]
async fn pull_secrets_are_tried_one_after_the_other_whatever_is_wrong_with_the_first() {
    for way in [Way::Challenge(vec!["Basic realm=\"x\"".into()]), bearer(",service=\"s\""), Way::Hides, Way::Forbids] {
        let odd = Odd::start(way, GOOD).await;
        let port = odd.host.rsplit(':').next().unwrap();
        let glob = format!("127.0.0.*:{port}");
        let plain = |key: &str, entry: serde_json::Value| serde_json::json!({"auths": {key: entry}}).to_string();
        pulls(&odd, &[odd.secret("nobody:wrong"), "{broken".into(), odd.secret(LOGIN)]).await;
        pulls(&odd, &[plain(&glob, serde_json::json!({"auth": "dTpw"}))]).await;
        pulls(
            &odd,
            &[plain(&format!("https://{}/v1/", odd.host), serde_json::json!({"username": "u", "password": "outdated", "auth": "dTpw\n"})), "{}".into()],
        )
        .await;
        pulls(&odd, &["{}".into(), "[]".into(), plain(&odd.host, serde_json::json!({"username": "u", "password": "p"})), "null".into()]).await;
        let none = refused(&odd.image, &odd.access(&[])).await;
        assert!(none.message.contains("there is none") || none.code == FailureCode::ImageNotFound, "{}", none.message);
    }
}

#[tokio::test]
async fn what_a_refused_login_met_is_said() {
    let odd = Odd::start(bearer(",service=\"s\""), GOOD).await;
    let wrong = refused(&odd.image, &odd.access(&[odd.secret("u:wrong")])).await;
    assert_eq!(wrong.code, FailureCode::AccessDenied);
    assert!(
        wrong.message.contains("refused the image pull secrets") && wrong.message.contains("token server 127.0.0.1 answered with 401"),
        "{}",
        wrong.message
    );
    let odd = Odd::start(bearer(",service=\"s\""), Tokens::Json("<html>")).await;
    let none = refused(&odd.image, &odd.access(&[odd.secret(LOGIN)])).await;
    assert!(none.message.contains("gave no token"), "{}", none.message);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_pull_is_renewed() {
    let odd = Odd::start(bearer(",service=\"s\""), Tokens::Uses(1)).await;
    pulls(&odd, &[odd.secret(LOGIN)]).await;
    assert!(odd.seen().iter().filter(|line| line.contains("/token")).count() >= 3, "{:#?}", odd.seen());
}

#[tokio::test]
async fn storage_behind_a_registry_gets_neither_login_nor_referer() {
    let storage = Odd::start(Way::Open, GOOD).await;
    let to = format!("http://{}/storage/", storage.host);
    let odd = Odd::start(Way::Redirects(to), GOOD).await;
    pulls(&odd, &[odd.secret(LOGIN)]).await;
    let asked: Vec<String> = storage.seen();
    assert!(asked.len() >= 3 && asked.iter().all(|line| line.starts_with("GET /storage/sha256:") && line.ends_with("? - -")), "{asked:#?}");
}

#[tokio::test]
async fn a_registry_that_is_only_a_name_for_another_one_is_followed_without_its_login() {
    for way in [bearer(",service=\"s\",scope=\"repository:other/app:pull\""), Way::Open] {
        let other = Odd::start(way, Tokens::Anybody).await;
        let odd = Odd::start(Way::IsAName(other.host.clone()), GOOD).await;
        for secrets in [vec![], vec![odd.secret(LOGIN)]] {
            pulls(&odd, &secrets).await;
        }
        assert!(other.seen().iter().all(|line| !line.contains("Basic")), "{:#?}", other.seen());
    }
    let anonymous = Odd::start(bearer(",service=\"s\""), Tokens::Anybody).await;
    for secrets in [vec![], vec![anonymous.secret("nobody:wrong")]] {
        pulls(&anonymous, &secrets).await;
    }
}

#[tokio::test]
async fn a_registry_does_not_send_us_to_metadata_or_to_neighbours() {
    for to in ["http://169.254.169.254/latest/", "http://[fe80::1]/", "http://0.0.0.0/"] {
        let odd = Odd::start(Way::Redirects(to.into()), GOOD).await;
        let refused = refused(&odd.image, &odd.access(&[])).await;
        assert_eq!(refused.code, FailureCode::AccessDenied, "{to}: {}", refused.message);
        assert!(refused.message.contains("private network or on this machine"), "{}", refused.message);
    }
    for realm in [
        "http://169.254.169.254/token",
        "http://[::ffff:a9fe:a9fe]/token",
        "http://metadata.localhost.invalid/token",
        "ftp://127.0.0.1/token",
        "https:///token",
        "file:///etc/passwd",
    ] {
        let odd = Odd::start(Way::Challenge(vec![format!("Bearer realm=\"{realm}\",service=\"s\"")]), GOOD).await;
        let refused = refused(&odd.image, &odd.access(&[odd.secret(LOGIN)])).await;
        assert!(matches!(refused.code, FailureCode::AccessDenied | FailureCode::RegistryUnreachable), "{realm}: {}", refused.message);
        assert!(!refused.message.contains(LOGIN));
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_is_taken_up_where_it_broke() {
    let odd = Odd::start(Way::Breaks(40, true), GOOD).await;
    pulls(&odd, &[]).await;
    let whole = Odd::start(Way::Breaks(1 << 20, true), GOOD).await;
    pulls(&whole, &[]).await;
}

#[tokio::test]
async fn a_pause_without_end_is_a_registry_that_is_too_busy() {
    for pause in ["18446744073709551615", "99999999999999999999999", "3600", "Sat, 28 Nov 2099 18:00:00 GMT"] {
        let odd = Odd::start(Way::Busy(pause.into()), GOOD).await;
        assert_eq!(refused(&odd.image, &odd.access(&[])).await.code, FailureCode::RateLimited, "{pause}");
    }
    for nonsense in ["-1", "soon", "0"] {
        let odd = Odd::start(Way::Busy(nonsense.into()), GOOD).await;
        assert_eq!(refused(&odd.image, &odd.access(&[])).await.code, FailureCode::RateLimited, "{nonsense}");
        assert!(odd.seen().len() < 10, "it is not asked without a pause");
    }
}

/// A manifest of the sample whose layers are described in another way.
fn described(image: &Image, change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    manifest["layers"].as_array_mut().unwrap().iter_mut().for_each(change);
    manifest.to_string().into_bytes()
}

#[tokio::test]
async fn layers_are_known_by_what_they_are_and_foreign_ones_read_where_they_are_there() {
    let image = Image::sample();
    for kind in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/octet-stream",
        "",
    ] {
        let manifest = described(&image, |layer| layer["mediaType"] = kind.into());
        let odd = Odd::with(Way::Open, GOOD, &image, vec![manifest]).await;
        pulls(&odd, &[]).await;
    }
    let nowhere = format!("sha256:{}", "0".repeat(64));
    for (urls, words) in [
        (serde_json::json!(null), "missing in the registry"),
        (serde_json::json!(["http://127.0.0.1:1/layer"]), "foreign layer"),
        (serde_json::json!(["https://169.254.169.254/layer"]), "private network or on this machine"),
    ] {
        let manifest = described(&image, |layer| {
            layer["digest"] = nowhere.clone().into();
            layer["urls"] = urls.clone();
        });
        let odd = Odd::with(Way::Open, GOOD, &image, vec![manifest]).await;
        let refused = refused(&odd.image, &odd.access(&[])).await;
        assert!(refused.message.contains(words), "{}", refused.message);
    }
}

#[tokio::test]
async fn manifests_of_other_forms_are_said_to_be_that() {
    let image = Image::sample();
    let signed = br#"{"schemaVersion":1,"name":"a/app","fsLayers":[],"history":[],"signatures":[]}"#.to_vec();
    let first = Odd::with(Way::Open, GOOD, &image, vec![signed]).await;
    // As a registry has it: the digest is that of what is signed.
    let name = format!("{}/a/app@{}", first.host, first.image.split_once('@').unwrap().1);
    let refused_first = refused(&name, &first.access(&[])).await;
    assert!(refused_first.message.contains("schema 1"), "{}", refused_first.message);
    let large = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(5 << 20)).into_bytes();
    let large = Odd::with(Way::Open, GOOD, &image, vec![large]).await;
    let too_large = refused(&large.image, &large.access(&[])).await;
    assert_eq!(too_large.code, FailureCode::TooLarge, "{}", too_large.message);
    assert!(too_large.message.contains("manifest is larger than 4 MiB"), "{}", too_large.message);
}
