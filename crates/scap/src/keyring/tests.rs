use super::{Login, entries, logins, rank};
use serde_json::json;

/// `user:password` of the first login.
fn pair(entry: serde_json::Value) -> String {
    match logins(&entry).unwrap().into_iter().next() {
        Some(Login::Password { pair, .. }) => String::from_utf8_lossy(&pair).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn auth_is_read_however_base64_was_written() {
    for auth in
        ["cHVsbGVyOnRpZGV3YWl0ZXI=", "cHVsbGVyOnRpZGV3YWl0ZXI", "cHVsbGVyOnRp\nZGV3YWl0ZXI=\n", "  cHVsbGVyOnRpZGV3YWl0ZXI= ", "cHVsbGVyOnRpZGV3YWl0ZXI\r\n"]
    {
        assert_eq!(pair(json!({ "auth": auth })), "puller:tidewaiter", "{auth:?}");
    }
    // The letters of URLs, non-zero bits after the end, zeros behind the password.
    assert_eq!(pair(json!({"auth": "dTo-Pz8_"})), pair(json!({"auth": "dTo+Pz8/"})));
    assert_eq!(pair(json!({"auth": "dTpwYXNz"})), "u:pass");
    assert_eq!(pair(json!({"auth": "dTpwcf=="})), "u:pq");
    assert_eq!(pair(json!({"auth": "dTpwAAA="})), "u:p");
    // Only the first colon divides.
    assert_eq!(pair(json!({"auth": "aHViOmE6Yg=="})), "hub:a:b");
}

#[test]
fn a_password_may_be_of_any_encoding() {
    let Some(Login::Password { user, pair }) = logins(&json!({"auth": "dTrk"})).unwrap().pop() else { panic!("no password") };
    assert_eq!((user.as_str(), &pair[..]), ("u", &b"u:\xe4"[..]));
}

#[test]
fn auth_wins_over_a_user_name_and_a_password_beside_it() {
    assert_eq!(pair(json!({"username": "puller", "password": "outdated", "auth": "cHVsbGVyOnJpZ2h0"})), "puller:right");
    assert_eq!(pair(json!({"username": "puller", "password": "right"})), "puller:right");
    assert_eq!(pair(json!({"username": "puller", "password": "right", "auth": ""})), "puller:right");
    assert_eq!(pair(json!({"username": "puller", "password": "right", "auth": null, "email": 7})), "puller:right");
    assert_eq!(pair(json!({"Username": "puller", "PASSWORD": "right"})), "puller:right");
    // What kubelet would give up for still has a login.
    assert_eq!(pair(json!({"username": "puller", "password": "right", "auth": "broken!"})), "puller:right");
}

#[test]
fn tokens_are_logins_too_and_a_user_without_password_beside_them_is_none() {
    assert_eq!(logins(&json!({"auth": "aWQ6", "identitytoken": "refresh"})).unwrap(), [Login::IdentityToken("refresh".into())]);
    assert_eq!(logins(&json!({"registrytoken": "t"})).unwrap(), [Login::RegistryToken("t".into())]);
    let both = logins(&json!({"auth": "dTpw", "identitytoken": "refresh"})).unwrap();
    assert!(matches!(&both[..], [Login::Password { .. }, Login::IdentityToken(_)]));
}

#[test]
fn entries_without_a_login_are_none_and_unreadable_ones_are_said() {
    for empty in [json!({}), json!(null), json!({"auth": ""}), json!({"auth": " \n"}), json!({"email": "a@example.org"}), json!({"password": "alone"})] {
        assert_eq!(logins(&empty).unwrap(), [], "{empty}");
    }
    for (broken, word) in [
        (json!({"auth": "!!!"}), "base64"),
        (json!({"auth": "bm8gY29sb24="}), "USER:PASSWORD"),
        (json!({"auth": 7}), "no text"),
        (json!("text"), "no JSON object"),
    ] {
        let problem = logins(&broken).unwrap_err();
        assert!(problem.contains(word), "{problem}");
    }
}

#[test]
fn both_forms_of_the_file_are_read_and_other_settings_passed_over() {
    let keys = |text: &str| entries(text.as_bytes()).map(|entries| entries.keys().cloned().collect::<Vec<_>>());
    let one = Ok(vec!["quay.io".to_owned()]);
    assert_eq!(keys(r#"{"auths":{"quay.io":{}},"credsStore":"x","credHelpers":{"a.b":"ecr"},"HttpHeaders":{"User-Agent":"x"}}"#), one);
    assert_eq!(keys("\u{feff}{\"Auths\":{\"quay.io\":{}}}\n"), one);
    assert_eq!(keys(r#"{"auths":{"quay.io":{"auth":"a"},"quay.io":{"auth":"b"}}}"#), one);
    assert_eq!(keys(r#"{"quay.io":{"auth":"x","email":"y"}}"#), one);
    assert_eq!(keys(r#"{"auths":null}"#), Ok(vec![]));
    assert_eq!(keys(r#"{"credHelpers":{"a.b":"ecr"},"HttpHeaders":{"A":"b"}}"#), Ok(vec![]));
    for broken in ["", "{", "[]", "7", r#"{"auths":[]}"#, r#"{"auths":{}} more"#] {
        assert!(keys(broken).is_err(), "{broken}");
    }
    let cited = keys(r#"{"auths":{"quay.io":{"auth":"c2VjcmV0"}"#).unwrap_err();
    assert!(!cited.contains("c2V"), "{cited}");
}

#[test]
fn keys_name_places_as_kubelet_reads_them() {
    let fits = |key: &str, registry: &str, repository: &str| rank(key, registry, repository).is_some();
    for key in [
        "quay.io",
        "https://quay.io",
        "http://quay.io",
        "https://quay.io/v1/",
        "quay.io/v2/",
        "https://quay.io/v2",
        "Quay.IO",
        " quay.io\n",
        "quay.io:443",
        "quay.io/",
    ] {
        assert!(fits(key, "quay.io", "shop/web"), "{key}");
    }
    for key in ["quay.io/shop", "quay.io/shop/", "quay.io/shop/web", "https://quay.io/v2/shop", "quay.io/sho", "*.io", "q*y.io", "q*a*.*", "quay.io/shop/w"] {
        assert!(fits(key, "quay.io", "shop/web"), "{key}");
    }
    for key in ["", "*", "evil-quay.io", "quay.io.evil.example", "quay.io:8443", "quay.io/shop/web/more", "quay.io/web", "*.quay.io", "quay", "*.*.io", "/"] {
        assert!(!fits(key, "quay.io", "shop/web"), "{key}");
    }
    assert!(fits("*.example.com:5000", "a.example.com:5000", "x") && !fits("*.example.com:5000", "a.example.com", "x"));
    assert!(fits("10.99.0.*:5001", "10.99.0.1:5001", "x") && !fits("*.example.com", "a.b.example.com", "x"));
    assert!(fits("myhost", "myhost:443", "team/app") && fits("myhost/team", "myhost:443", "team/app"));
    assert!(fits("http://myhost:80", "myhost", "x") && !fits("myhost:80", "myhost", "x"));
    assert!(fits("[fd00::1]:5000", "[fd00::1]:5000", "x") && fits("[fd00::1]", "[fd00::1]", "x") && !fits("[fd00::1]", "[fd00::1]:5000", "x"));
    for hub in [
        "https://index.docker.io/v1/",
        "index.docker.io",
        "docker.io",
        "https://docker.io/v2/",
        "registry-1.docker.io",
        "docker.io/library",
        "docker.io/library/debian",
    ] {
        assert!(fits(hub, "docker.io", "library/debian"), "{hub}");
    }
    assert!(!fits("hub.docker.com", "docker.io", "library/debian"));
}

#[test]
fn the_more_exactly_a_key_names_the_place_the_greater_its_rank() {
    let mut keys = vec!["*.example.com", "a.example.com", "a.example.com/shop", "https://a.example.com/v2/shop/web", "*.example.com/shop"];
    keys.sort_by_key(|key| std::cmp::Reverse(rank(key, "a.example.com", "shop/web")));
    assert_eq!(keys, ["https://a.example.com/v2/shop/web", "a.example.com/shop", "a.example.com", "*.example.com/shop", "*.example.com"]);
}
