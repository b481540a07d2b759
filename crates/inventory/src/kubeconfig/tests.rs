use super::*;
use base64::prelude::BASE64_STANDARD;
use std::time::{Duration, Instant};

const CA: &[u8] = include_bytes!("../../../tls/testdata/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tls/testdata/version1.pem");
const KEY: &[u8] = include_bytes!("../../../tls/testdata/version1.key");
const SERVER: &str = "server: 'https://10.99.1.1:6443'";

fn base64(text: &[u8]) -> String {
    BASE64_STANDARD.encode(text)
}

/// A kubeconfig in pieces; each has its ordinary text.
struct Pieces {
    before: String,
    current: String,
    cluster: String,
    clusters: String,
    user: String,
    users: String,
    contexts: String,
    after: String,
}

impl Default for Pieces {
    fn default() -> Self {
        let none = String::new;
        let (cluster, user) = (format!("{{{SERVER}, certificate-authority-data: {}}}", base64(CA)), "{token: first}".into());
        Self { before: none(), current: "a".into(), cluster, clusters: none(), user, users: none(), contexts: none(), after: none() }
    }
}

impl Pieces {
    fn text(&self) -> String {
        let Self { before, current, cluster, clusters, user, users, contexts, after } = self;
        format!(
            "{before}apiVersion: v1\nkind: Config\ncurrent-context: {current}\nclusters:\n- name: c\n  cluster: {cluster}\n{clusters}users:\n- name: u\n  user: {user}\n{users}\
             contexts:\n- name: a\n  context: {{cluster: c, user: u}}\n{contexts}{after}"
        )
    }
}

fn pieces(change: impl FnOnce(&mut Pieces)) -> String {
    let mut pieces = Pieces::default();
    change(&mut pieces);
    pieces.text()
}

fn cluster(fields: &str) -> String {
    pieces(|p| p.cluster = format!("{{{SERVER}, {fields}}}"))
}

fn user(fields: &str) -> String {
    pieces(|p| p.user = fields.into())
}

fn token(text: &str) -> String {
    match parse(text, None).unwrap_or_else(|error| panic!("{error}\n{text}")).auth {
        Auth::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

/// Each as kubectl 1.32 takes it.
#[test]
fn entries_that_are_not_used_may_be_anything() {
    for (what, text) in [
        ("as it is", pieces(|_| {})),
        ("a context without cluster", pieces(|p| p.contexts = "- name: s\n  context: {namespace: x}\n".into())),
        ("null contexts", pieces(|p| p.contexts = "- name: s\n  context: null\n- name: t\n".into())),
        ("null users", pieces(|p| p.users = "- name: s\n  user: null\n- name: t\n".into())),
        ("null clusters", pieces(|p| p.clusters = "- name: s\n  cluster: null\n- name: t\n  cluster: {}\n".into())),
        ("an entry without a name", pieces(|p| p.users = "- user: {token: x}\n".into())),
        ("a user that runs a program", pieces(|p| p.users = "- name: s\n  user: {exec: {command: aws, args: null}}\n".into())),
        ("a user with a file", pieces(|p| p.users = "- name: s\n  user: {tokenFile: /var/token, client-certificate: /a.crt}\n".into())),
        ("a cluster behind a proxy", pieces(|p| p.clusters = "- name: s\n  cluster: {proxy-url: 'http://proxy:3128'}\n".into())),
        ("numbers in unused entries", pieces(|p| p.users = "- name: 7\n  user: {token: 12345, password: 1}\n".into())),
    ] {
        assert_eq!(token(&text), "first", "{what}");
    }
}

#[test]
fn null_and_empty_values_are_as_if_they_were_not_there() {
    let ca = base64(CA);
    for (what, text) in [
        ("proxy", cluster("proxy-url: ''")),
        ("null proxy", cluster("proxy-url: null")),
        ("authority", cluster("certificate-authority-data: '', insecure-skip-tls-verify: true")),
        ("authority's path", cluster(&format!("certificate-authority: '', certificate-authority-data: {ca}"))),
        ("TLS name", cluster(&format!("tls-server-name: '', certificate-authority-data: {ca}"))),
        ("program", user("{token: first, exec: null, auth-provider: null}")),
        ("certificate", user("{client-certificate-data: '', client-key-data: null, token: first}")),
        ("somebody else", user("{token: first, as: '', as-groups: [], as-user-extra: {}}")),
        ("lists", "current-context: a\nclusters: [null, {name: c, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {token: first}}]\ncontexts: [{name: a, context: {cluster: c, user: u}}]".into()),
    ] {
        let connection = parse(&text, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((connection.auth, connection.tls_server_name), (Auth::Token("first".into()), None), "{what}");
    }
}

#[test]
fn every_written_form_that_kubectl_takes_is_taken() {
    let json = serde_json::json!({
        "current-context": "a", "contexts": [{ "name": "a", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "https://10.99.1.1:6443" } }], "users": [{ "name": "u", "user": { "token": "first" } }],
    });
    let plain = Pieces::default().text();
    for (what, text) in [
        ("JSON", json.to_string()),
        ("JSON with tabs", serde_json::to_string_pretty(&json).unwrap().replace("  ", "\t")),
        ("JSON with a key twice", json.to_string().replacen('{', r#"{"current-context":"z","#, 1)),
        ("YAML with a key twice", format!("current-context: z\n{plain}")),
        ("anchors", pieces(|p| (p.user, p.users) = ("&u {token: first}".into(), "- name: s\n  user: *u\n".into()))),
        ("a merge", user("{<<: {token: first}}")),
        ("a merge of several", user("{<<: [{username: null}, {token: first}]}")),
        ("a first line", format!("---\n{plain}")),
        ("a comment", format!("# mine\n\n---\n{plain}")),
        ("a second document", format!("{plain}---\nkind: Config\ncurrent-context: z\n")),
        ("a byte order mark", format!("\u{feff}{plain}")),
        ("Windows' line ends", plain.replace('\n', "\r\n")),
        ("a tab before a value", pieces(|p| p.current = "\ta".into())),
        ("unknown fields", format!("{plain}preferences: {{colors: true}}\nextensions:\n- name: x\n  extension: {{a: [1, 2.5, null]}}\n")),
        ("no kind", plain.replace("apiVersion: v1\nkind: Config\n", "")),
        ("a token in a block", user("\n    token: |\n      first\n")),
        ("spaces around the token", user("{token: ' first '}")),
        ("a token beside a program", user("{token: first, exec: {command: aws}}")),
        ("a token beside a file", user("{token: first, tokenFile: /var/token}")),
        ("a key without certificate", user(&format!("{{token: first, client-key-data: {}}}", base64(KEY)))),
    ] {
        assert_eq!(parse(&text, None).map(|connection| connection.auth), Ok(Auth::Token("first".into())), "{what}");
    }
}

#[test]
fn servers_are_those_that_kubectl_asks() {
    for (written, asked) in [
        ("https://10.0.0.1", "https://10.0.0.1"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("api.example.org:6443", "https://api.example.org:6443"),
        ("HTTPS://API.example.org:443/", "https://api.example.org"),
        (" https://rancher.example.org/k8s/clusters/c-m-1/ ", "https://rancher.example.org/k8s/clusters/c-m-1"),
        ("https://[fd00::443]:6443", "https://[fd00::443]:6443"),
        ("http://localhost:8001", "http://localhost:8001"),
    ] {
        let text = pieces(|p| p.cluster = format!("{{server: '{written}'}}"));
        assert_eq!(parse(&text, None).unwrap().server, asked, "{written}");
    }
}

#[test]
fn base64_may_be_broken_into_lines_and_a_pem_may_have_text_around_it() {
    let whole = base64(CA);
    let lines: String = whole.as_bytes().chunks(64).map(|line| format!("      {}\n", String::from_utf8_lossy(line))).collect();
    let block = |style: &str| pieces(|p| p.cluster = format!("\n    {SERVER}\n    certificate-authority-data: {style}\n{lines}"));
    let with_text = [b"# caf\xe9: the authority\n", CA].concat();
    let with_bad = [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", CA].concat();
    for (what, text) in [
        ("literal", block("|")),
        ("folded", block(">")),
        ("plain", block("")),
        ("without padding", cluster(&format!("certificate-authority-data: '{}'", base64(&with_text).trim_end_matches('=')))),
        ("text before", cluster(&format!("certificate-authority-data: {}", base64(&with_text)))),
        ("a bad certificate before", cluster(&format!("certificate-authority-data: {}", base64(&with_bad)))),
        ("Windows' line ends", cluster(&format!("certificate-authority-data: {}", base64(String::from_utf8_lossy(CA).replace('\n', "\r\n").as_bytes())))),
    ] {
        let connection = parse(&text, None).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(tls::certificates(connection.ca_pem.as_bytes()), tls::certificates(CA), "{what}");
    }
}

#[test]
fn logins_are_those_that_kubectl_uses() {
    let both = format!("client-certificate-data: {}, client-key-data: {}", base64(CERTIFICATE), base64(KEY));
    let certificate = |token: Option<&str>| Auth::ClientCertificate {
        certificate_pem: String::from_utf8_lossy(CERTIFICATE).into_owned(),
        key_pem: String::from_utf8_lossy(KEY).into_owned(),
        token: token.map(str::to_owned),
    };
    let basic = |password: &str| Auth::Basic { username: "ann".into(), password: password.into() };
    for (fields, want) in [
        (format!("{{{both}}}"), certificate(None)),
        (format!("{{{both}, token: first}}"), certificate(Some("first"))),
        (format!("{{{both}, client-certificate: /a.crt, client-key: /a.key}}"), certificate(None)),
        ("{username: ann, password: ' b '}".into(), basic(" b ")),
        ("{username: ann}".into(), basic("")),
    ] {
        assert_eq!(parse(&user(&fields), None).unwrap().auth, want, "{fields}");
    }
}

#[test]
fn the_current_context_or_the_named_one_or_the_only_one_is_taken() {
    let two = |current: &str| {
        pieces(|p| {
            current.clone_into(&mut p.current);
            p.users = "- name: other\n  user: {token: second}\n".into();
            p.contexts = "- name: b\n  context: {cluster: c, user: other}\n- name: 1\n  context: {cluster: c, user: other}\n".into();
        })
    };
    assert_eq!(token(&two("a")), "first");
    assert_eq!(parse(&two("a"), Some(" b ")).unwrap().auth, Auth::Token("second".into()));
    assert_eq!(token(&two("1")), "second");
    for empty in ["", "''", "null"] {
        assert_eq!(token(&pieces(|p| p.current = empty.into())), "first", "{empty:?}");
        let refusal = parse(&two(empty), None).unwrap_err();
        assert!(refusal.message.contains("no current context") && refusal.advice.contains("a, b, 1"), "{refusal}");
    }
    assert!(parse(&two("z"), None).unwrap_err().advice.contains("a, b"));
}

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let twice = |list: &str| {
        pieces(|p| match list {
            "users" => p.users = "- name: u\n  user: {token: second}\n".into(),
            "clusters" => p.clusters = "- name: c\n  cluster: {server: 'https://h'}\n".into(),
            "contexts" => p.contexts = "- name: a\n  context: {cluster: c, user: u}\n".into(),
            _ => p.users = "- name: s\n  user: {token: x}\n- name: s\n  user: {token: y}\n".into(),
        })
    };
    let ca = base64(CA);
    for (text, words) in [
        (twice("users"), "two users named \"u\""),
        (twice("clusters"), "two clusters named \"c\""),
        (twice("contexts"), "two contexts named \"a\""),
        (twice("unused"), "two users named \"s\""),
        (cluster("proxy-url: 'http://proxy:3128'"), "proxy"),
        (cluster(&format!("certificate-authority-data: {ca}, insecure-skip-tls-verify: true")), "exclude each other"),
        (cluster("certificate-authority: /ca.crt"), "certificate-authority: /ca.crt"),
        (cluster("certificate-authority-data: aGVsbG8="), "not in PEM form"),
        (cluster("certificate-authority-data: '!'"), "not base64"),
        (cluster(&format!("certificate-authority-data: {:?}", String::from_utf8_lossy(CA))), "holds the PEM text itself"),
        (cluster("insecure-skip-tls-verify: perhaps"), "true or false"),
        (pieces(|p| p.cluster = "{}".into()), "no server"),
        (pieces(|p| p.cluster = "{server: 'http://example.org'}".into()), "http would send the login in clear"),
        (pieces(|p| (p.current, p.contexts) = ("s".into(), "- name: s\n  context: {cluster: c}\n".into())), "no user"),
        (pieces(|p| (p.current, p.contexts) = ("s".into(), "- name: s\n  context: {cluster: c, user: x}\n".into())), "names user \"x\""),
        (pieces(|p| (p.current, p.contexts) = ("s".into(), "- name: s\n  context: {cluster: x, user: u}\n".into())), "names cluster \"x\""),
        (pieces(|p| (p.current, p.contexts) = ("s".into(), "- name: s\n".into())), "names cluster \"\""),
        (user("{tokenFile: /var/token}"), "tokenFile: /var/token"),
        (user("{client-certificate: a.crt, client-key: a.key}"), "client-certificate: a.crt"),
        (user("{exec: {command: aws}}"), "exec"),
        (user("{auth-provider: {name: gcp}}"), "auth-provider"),
        (user("{token: first, as: bob}"), "acts as somebody else (as)"),
        (user("{token: first, as-groups: [admins]}"), "as-groups"),
        (user("{token: first, username: ann, password: b}"), "both a token and a password"),
        (user("{token: 12345}"), "token is a number"),
        (user("{username: ann, password: 12345}"), "password is a number"),
        (user("{token: 'fi rst'}"), "spaces"),
        (user("{token: [a]}"), "should be a text, and is a list"),
        (user(&format!("{{client-certificate-data: {}, token: first}}", base64(CERTIFICATE))), "without its key"),
        (user("{client-certificate-data: '!', client-key-data: '!'}"), "not base64"),
        (user("{}"), "neither a token nor a client certificate"),
        (user("null"), "neither a token nor a client certificate"),
        (user("{Token: first}"), "neither a token nor a client certificate"),
        ("apiVersion: v1\nkind: Config\nclusters: null\nusers: null\ncontexts: null\n".into(), "no context"),
        (Pieces::default().text().replace("kind: Config", "kind: Pod"), "of the kind \"Pod\""),
        (Pieces::default().text().replace("apiVersion: v1", "apiVersion: v2"), "version \"v2\""),
        (Pieces::default().text().replace("  cluster:", "\tcluster:"), "tab character"),
        (String::new(), "It is empty"),
        ("hello".into(), "It is a text"),
        ("[1, 2]".into(), "It is a list"),
        ("a: {b".into(), "This is not a kubeconfig"),
        ("clusters: 7".into(), "clusters should be a list, and is a number"),
    ] {
        let refusal = parse(&text, None).unwrap_err();
        assert_eq!(refusal.reason, crate::Reason::Input);
        assert!(refusal.message.contains(words) && !refusal.advice.is_empty(), "wanted {words:?}: {refusal}");
    }
}

#[test]
fn nothing_repeats_a_secret() {
    let document = document::parse(&user("{token: hunter2, password: [hunter2]}")).unwrap();
    assert!(!format!("{document:?} {:?}", document.get("users")).contains("hunter2"));
    let connection = parse(&user("{token: hunter2}"), None).unwrap();
    assert!(!format!("{connection:?}").contains("hunter2"));
    for text in [user("{token: [hunter2]}"), user("{token: 'hunter2 x'}"), user("{token: hunter2, as: bob}"), "token: hunter2\n\tb".into(), "hunter2: {".into()]
    {
        assert!(!format!("{:?}", parse(&text, None).unwrap_err()).contains("hunter2"), "{text}");
    }
}

/// Each would take minutes, or gigabytes, without limits.
#[test]
fn hostile_texts_are_refused_soon() {
    let half = document::BYTES_MAX / 2 - 10;
    let aliases = format!("a: &a [{}]\nb: &b [{}]\nc: [{}]\n", "x,".repeat(500), "*a,".repeat(500), "*b,".repeat(500));
    for (what, text) in [
        ("too long", "a".repeat(document::BYTES_MAX + 1)),
        ("brackets", "{a: ".repeat(half / 2)),
        ("square brackets", "[".repeat(half)),
        ("JSON brackets", "{\"a\":".repeat(half / 3)),
        ("lists in lists", "- ".repeat(half)),
        ("keys of keys", "? ".repeat(half)),
        ("aliases", aliases),
        ("aliases of a long text", format!("a: &a {}\nb: [{}]\n", "x".repeat(half), "*a,".repeat(half / 4))),
        ("anchors", "&a ".repeat(half / 2)),
        ("tags", "!a ".repeat(half / 2)),
        ("values", format!("[{}]", "1,".repeat(half))),
        ("an open text", format!("a: \"{}", "x".repeat(half))),
        ("indentation", (0..600).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("many keys", (0..half / 8).map(|key| format!("k{key}: \n")).collect::<String>()),
    ] {
        let started = Instant::now();
        let refusal = parse(&text, None).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(10), "{what} took {:?}", started.elapsed());
        assert_eq!(refusal.reason, crate::Reason::Input, "{what}: {refusal}");
        assert!(refusal.to_string().len() < 500, "{what}: {refusal}");
    }
}
