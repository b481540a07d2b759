//! Secrets among the words of a command.

mod programs;
mod words;

pub(super) use programs::sql as in_sql;

use super::placeholder::is_placeholder;
use super::{Kind, Secret, in_text, is_secret_value, name, pair, sorted};
use std::ops::Range;
use words::{are_parted, runs, split};

/// The secrets in a command, ENTRYPOINT or CMD; ranges are in the words joined with spaces.
pub fn in_command(words: &[String]) -> Vec<Secret> {
    in_command_line(&words.join(" "))
}

pub(super) fn in_command_line(line: &str) -> Vec<Secret> {
    nested(line, 4)
}

/// `depth`: of lines in quotes in lines.
fn nested(line: &str, depth: u32) -> Vec<Secret> {
    let mut found = in_text(line);
    found.extend(super::in_pairs(line, pair::Style::Inline));
    let words = split(line);
    found.extend(words.windows(2).filter(|two| !are_parted(line, two)).filter_map(|two| option(line, &two[0], &two[1])));
    found.extend((1..=words.len()).filter_map(|end| attached(line, &words[..end])));
    found.extend(by_program(line, &words));
    found.extend(programs::find(line, &words));
    // A shell's own line in quotes.
    for word in words.iter().filter(|word| depth > 0 && line[(*word).clone()].contains(' ') && word.len() < line.len()) {
        let inner = nested(&line[word.clone()], depth - 1);
        found.extend(inner.into_iter().map(|secret| Secret { range: secret.range.start + word.start..secret.range.end + word.start, ..secret }));
    }
    sorted(found)
}

fn named(name: &str, range: Range<usize>) -> Secret {
    Secret { kind: Kind::Named, what: name::what(name), range }
}

/// `--password value`, `--requirepass value`.
fn option(line: &str, word: &Range<usize>, value: &Range<usize>) -> Option<Secret> {
    let (option, value_text) = (&line[word.clone()], &line[value.clone()]);
    let name = option.strip_prefix("--").or_else(|| option.strip_prefix('-').filter(|name| name.len() > 2))?;
    let valued = !value_text.starts_with('-') && !is_expanded(value_text) && !name.contains('=') && is_secret_value(name, value_text);
    valued.then(|| named(name, value.clone()))
}

/// Whether a shell puts something else in its place: `$APP_HOME/logs`, `~/x`; but not the hash of a password, `$6$salt$hash`.
fn is_expanded(value: &str) -> bool {
    const HASHES: [&str; 10] = ["1", "2a", "2b", "2y", "5", "6", "7", "y", "gy", "apr1"];
    let hash = value.strip_prefix('$').and_then(|rest| rest.split_once('$')).is_some_and(|(id, _)| HASHES.contains(&id));
    value.starts_with(['$', '~']) && !hash
}

/// `mysql -psecret`, `7z -psecret`, as the last of `words`.
fn attached(line: &str, words: &[Range<usize>]) -> Option<Secret> {
    const PROGRAMS: [&str; 12] =
        ["mysql", "mysqladmin", "mysqldump", "mysqlimport", "mysqlcheck", "mariadb", "mariadb-admin", "mariadb-dump", "mysqlsh", "sshpass", "7z", "7za"];
    let word = words.last()?;
    let real = |value: &str| value.len() >= 3 && !is_placeholder(value) && !is_expanded(value);
    if let Some(login) = line[word.clone()].strip_prefix("-u").filter(|_| runs(line, words, &["curl"])) {
        let password = login.split_once(':').map(|(_, password)| password).filter(|password| real(password))?;
        return Some(named("password", word.end - password.len()..word.end));
    }
    let value = line[word.clone()].strip_prefix("-p")?;
    (real(value) && !value.starts_with("ort") && runs(line, words, &PROGRAMS)).then(|| named("password", word.start + 2..word.end))
}

/// Short options that only their program makes a password: `curl -u user:password`, `redis-cli -a password`, `docker login -p password`.
fn by_program(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    const OPTIONS: [(&[&str], &[&str]); 8] = [
        (&["redis-cli"], &["-a", "--pass"]),
        (&["sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "cqlsh", "influx", "sqlcmd", "bcp"], &["-p", "-P"]),
        (&["docker", "podman", "buildah", "skopeo"], &["-p"]),
        (&["ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"], &["-w"]),
        (&["curl", "http", "https", "wget", "etcdctl"], &["-u", "--user", "-a", "--auth", "--proxy-user", "-U"]),
        (&["openssl", "gpg", "keytool"], &["-storepass", "-keypass", "-passin", "-passout", "--passphrase"]),
        (&["zip", "unzip"], &["-P"]),
        (&["useradd", "usermod"], &["-p"]),
    ];
    let mut found = Vec::new();
    for (at, pair) in words.windows(2).enumerate().filter(|(_, pair)| !are_parted(line, pair)) {
        let before = &words[..=at];
        let (option, value) = (&line[pair[0].clone()], &line[pair[1].clone()]);
        // `curl -fsu user:password`
        let curls = option.strip_prefix('-').is_some_and(|flags| flags.ends_with('u') && flags.bytes().all(|c| c.is_ascii_alphabetic()));
        let option = if curls && runs(line, before, &["curl"]) { "-u" } else { option };
        let Some((programs, _)) = OPTIONS.iter().find(|(programs, options)| options.contains(&option) && runs(line, before, programs)) else { continue };
        // `docker run -p` is about ports.
        if programs.contains(&"docker") && !runs(line, before, &["login"]) {
            continue;
        }
        if let Some(secret) = given(value, programs.contains(&"curl")) {
            found.push(named("password", pair[1].end - secret.len()..pair[1].end));
        }
    }
    found
}

/// The password in an option's value; in a login it stands behind the user's name.
fn given(value: &str, login: bool) -> Option<&str> {
    let secret = if login { value.split_once(':')?.1 } else { value.strip_prefix("pass:").unwrap_or(value) };
    let numeric = secret.chars().all(|c| c.is_ascii_digit() || ".:".contains(c)) && !login;
    let elsewhere = ["/", "-", "file:", "env:"].iter().any(|start| secret.starts_with(start)) || is_expanded(secret);
    (secret.len() >= 3 && !numeric && !elsewhere && !is_placeholder(secret)).then_some(secret)
}
