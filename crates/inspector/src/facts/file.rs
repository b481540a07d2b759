//! What is looked for in files whose form is known: the lines that hold a secret, counted from 1.

use scap::secrets::{Kind, Secret, Style, in_line, in_sql, in_text, is_placeholder, pairs, starts_private_key};

/// A line with a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// The lines that `look` finds something in.
fn lines(text: &str, look: impl Fn(&str) -> Option<&'static str>) -> Vec<Found> {
    text.lines().enumerate().filter_map(|(at, line)| look(line).map(|what| Found { line: at + 1, what })).collect()
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['#', ';']) || line.starts_with("//") && !line.contains(":_") || line.starts_with("--")
}

/// The lines with a value under one of `names`, other than a placeholder.
fn valued(text: &str, names: &[&str], what: &'static str) -> Vec<Found> {
    lines(text, |line| {
        let named = |name: &str| names.iter().any(|end| name.eq_ignore_ascii_case(end));
        let real = !is_comment(line) && pairs(line, Style::Line).iter().any(|pair| named(pair.name) && !is_placeholder(pair.value) && pair.value != "null");
        real.then_some(what)
    })
}

/// By text: what shows itself, also in comments.
pub(super) fn shown(text: &str) -> Vec<Found> {
    lines(text, |line| in_text(line).first().map(|secret| secret.what))
}

/// What shows itself, and what the names of fields say.
pub(super) fn named(text: &str) -> Vec<Found> {
    let mut found = lines(text, |line| if is_comment(line) { in_text(line) } else { in_line(line, Style::Line) }.first().map(|secret| secret.what));
    found.extend(in_text(text).into_iter().filter(|secret| secret.kind == Kind::PrivateKey).map(|secret| at(text, &secret)));
    found.sort_by_key(|found| found.line);
    found.dedup_by_key(|found| found.line);
    found
}

fn at(text: &str, secret: &Secret) -> Found {
    Found { line: 1 + text[..secret.range.start].matches('\n').count(), what: secret.what }
}

/// Tokens, keys and logins in any text. Logins as in a documentation do not count.
pub(super) fn tokens(text: &str, path: &str) -> Vec<Found> {
    let prose = [".md", ".rst", ".txt", ".html", ".htm", ".adoc"].iter().any(|end| path.ends_with(end));
    let secrets = in_text(text).into_iter().filter(|secret| match secret.kind {
        Kind::Url => !prose && !is_documented(text, secret),
        _ => true,
    });
    let mut found: Vec<Found> = secrets.map(|secret| at(text, &secret)).collect();
    found.dedup_by_key(|found| found.line);
    found
}

/// `user:password@localhost`.
fn is_documented(text: &str, secret: &Secret) -> bool {
    const WORDS: [&str; 16] =
        ["pass", "password", "passwd", "pwd", "pw", "secret", "user", "token", "test", "postgres", "root", "guest", "admin", "foo", "bar", "baz"];
    let host = text[secret.range.end..].trim_start_matches('@');
    let local = ["localhost", "127.0.0.1", "host", "hostname", "server", "[::1]"]
        .iter()
        .any(|name| host.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '.')));
    WORDS.contains(&text[secret.range.clone()].to_ascii_lowercase().as_str()) || local
}

pub(super) fn private_key(text: &str) -> Vec<Found> {
    lines(text, |line| starts_private_key(line).then_some("private key"))
}

pub(super) fn pgp_key(text: &str) -> Vec<Found> {
    lines(text, |line| line.starts_with("-----BEGIN PGP PRIVATE KEY BLOCK-----").then_some("PGP private key"))
}

pub(super) fn authorized_key(text: &str) -> Vec<Found> {
    let is_kind = |word: &str| word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-nistp") || word.starts_with("sk-");
    lines(text, |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let key = words.windows(2).any(|pair| {
            is_kind(pair[0].rsplit(',').next().unwrap_or_default()) && pair[1].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/')
        });
        (!is_comment(line) && key).then_some("authorized key")
    })
}

pub(super) fn aws(text: &str) -> Vec<Found> {
    let mut found = valued(
        text,
        &["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "secret_key", "gs_secret_access_key", "gs_oauth2_refresh_token"],
        "AWS access key",
    );
    found.extend(shown(text));
    found
}

pub(super) fn service_account(text: &str) -> Vec<Found> {
    lines(text, |line| {
        pairs(line, Style::Inline).iter().any(|pair| pair.name == "type" && pair.value == "service_account").then_some("key of a service account")
    })
}

pub(super) fn registry(text: &str) -> Vec<Found> {
    valued(text, &["auth", "identitytoken", "registrytoken", "password"], "login")
}

pub(super) fn npm(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let secret = |name: &str| ["_authToken", "_auth", "_password", "npmAuthToken", "npmAuthIdent"].iter().any(|end| name.ends_with(end));
        // `//registry/:_authToken=…`, also as Yarn writes it: in quotes, with white space.
        let yarn = line.split_once(":_authToken\"").is_some_and(|(_, value)| !is_placeholder(value));
        let bun = pairs(line, Style::Line).iter().any(|pair| matches!(pair.name, "token" | "password") && !is_placeholder(pair.value));
        let real = pairs(line, Style::Line).iter().any(|pair| secret(pair.name) && !is_placeholder(pair.value)) || yarn || bun;
        let comment = line.trim_start().starts_with(['#', ';']);
        if !comment && real { Some("token") } else { in_text(line).first().map(|secret| secret.what) }
    })
}

/// Maven's settings without their comments, which are full of examples.
pub(super) fn maven(text: &str) -> Vec<Found> {
    let plain = without_xml_comments(text);
    lines(&plain, |line| {
        let named = |name: &str| matches!(name, "password" | "passphrase" | "master");
        let documented = |value: &str| matches!(value.trim(), "proxypass" | "my_password" | "secret");
        let real = pairs(line, Style::Inline).iter().any(|pair| named(pair.name) && !is_placeholder(pair.value) && !documented(pair.value));
        if real { Some("password") } else { in_text(line).first().map(|secret| secret.what) }
    })
}

/// `text` with blanks for its comments, so that lines keep their numbers.
pub(super) fn without_xml_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        out.push_str(before);
        let (comment, after) = comment.split_once("-->").unwrap_or((comment, ""));
        out.extend(comment.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    out + rest
}

pub(super) fn package_key(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let key = |name: &str| name.ends_with("_api_key") || matches!(name, "token" | "github");
        let real =
            !is_comment(line) && pairs(line.trim_start_matches([' ', ':']), Style::Line).iter().any(|pair| key(pair.name) && !is_placeholder(pair.value));
        if real { Some("API key") } else { in_text(line).first().map(|secret| secret.what) }
    })
}

/// `BUNDLE_GEMS__HOST__COM: "user:password"`.
pub(super) fn bundler(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let login = line.trim_start().strip_prefix("BUNDLE_").and_then(|line| line.split_once(": ")).is_some_and(|(name, value)| {
            let value = value.trim().trim_matches(['"', '\'']);
            name.contains("__")
                && !value.contains("://")
                && !value.starts_with('/')
                && value.split_once(':').is_some_and(|(_, password)| password.len() > 2 && !is_placeholder(password))
        });
        if login { Some("login of a gem server") } else { in_line(line, Style::Line).first().map(|secret| secret.what) }
    })
}

pub(super) fn nuget(text: &str) -> Vec<Found> {
    let plain = without_xml_comments(text);
    lines(&plain, |line| {
        let secret = pairs(line, Style::Inline)
            .iter()
            .any(|pair| pair.name.to_ascii_lowercase().ends_with("password") && !is_placeholder(pair.value) && !pair.value.starts_with('%'));
        secret.then_some("password")
    })
}

/// Composer's logins by host: `"github-oauth": {"github.com": "…"}`.
pub(super) fn composer(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let secret = |name: &str| matches!(name, "password" | "token" | "bearer" | "consumer-secret") || name.contains('.');
        pairs(line, Style::Inline).iter().any(|pair| secret(pair.name) && !pair.value.starts_with('{') && !is_placeholder(pair.value)).then_some("token")
    })
}

/// `password` and a word, on one line or two.
pub(super) fn netrc(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut asked = false;
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
        for word in line.split_whitespace() {
            if asked && !is_placeholder(word) {
                found.push(Found { line: at + 1, what: "password" });
            }
            asked = word == "password" || word == "passwd";
        }
    }
    found
}

pub(super) fn git_credentials(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let login = line
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('@'))
            .is_some_and(|(login, _)| !is_placeholder(login.split_once(':').map_or(login, |(_, password)| password)));
        login.then_some("login")
    })
}

pub(super) fn token(text: &str) -> Vec<Found> {
    let mut found = valued(text, &["oauth_token", "token", "oauthToken", "private_token"], "token");
    found.extend(shown(text));
    found.sort_by_key(|found| found.line);
    found.dedup_by_key(|found| found.line);
    found
}

/// `host:port:database:user:password`.
pub(super) fn pgpass(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let password = line.replace("\\:", "\\").splitn(5, ':').nth(4).map(str::to_owned);
        (!line.starts_with('#') && password.is_some_and(|password| !is_placeholder(&password))).then_some("password")
    })
}

/// Statements may go over several lines.
pub(super) fn sql(text: &str) -> Vec<Found> {
    let mut found: Vec<Found> = in_sql(text).into_iter().chain(in_text(text)).map(|secret| at(text, &secret)).collect();
    found.sort_by_key(|found| found.line);
    found.dedup_by_key(|found| found.line);
    found
}

pub(super) fn redis(text: &str) -> Vec<Found> {
    lines(text, |line| {
        let mut words = line.split_whitespace();
        let named = words.next().is_some_and(|word| matches!(word, "requirepass" | "masterauth" | "sentinel"));
        let value = words.last();
        let of_sentinel = !line.starts_with("sentinel") || line.contains("auth-pass");
        (named && of_sentinel && value.is_some_and(|value| !is_placeholder(value))).then_some("password")
    })
}

pub(super) fn kubeconfig(text: &str) -> Vec<Found> {
    valued(text, &["token", "password", "client-key-data", "id-token", "refresh-token", "access-token", "client-secret"], "credentials")
}

/// `user:hash`.
pub(super) fn web_password(text: &str) -> Vec<Found> {
    lines(text, |line| {
        line.split_once(':')
            .is_some_and(|(user, hash)| !user.is_empty() && !line.starts_with('#') && hash.starts_with(|c: char| !c.is_whitespace()))
            .then_some("password hash")
    })
}

pub(super) fn any_line(text: &str) -> Vec<Found> {
    lines(text, |line| (!line.is_empty()).then_some("a line")).into_iter().take(1).collect()
}
