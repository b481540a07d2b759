//! Secrets among the words of a command.

mod programs;

pub(super) use programs::sql as in_sql;

use super::placeholder::is_placeholder;
use super::{Kind, Secret, in_text, is_secret_value, name, pair, sorted};
use std::ops::Range;

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
    for (at, word) in words.iter().enumerate() {
        let Some(value) = words.get(at + 1) else { continue };
        found.extend(option(line, word, value));
    }
    found.extend(words.iter().enumerate().filter_map(|(at, word)| attached(line, &words[..at], word)));
    found.extend(by_program(line, &words));
    found.extend(programs::find(line, &words));
    // A shell's own line in quotes.
    for word in words.iter().filter(|word| depth > 0 && line[(*word).clone()].contains(' ') && word.len() < line.len()) {
        let inner = nested(&line[word.clone()], depth - 1);
        found.extend(inner.into_iter().map(|secret| Secret { range: secret.range.start + word.start..secret.range.end + word.start, ..secret }));
    }
    sorted(found)
}

/// The words of a shell's line, without their quotes.
fn split(line: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let (mut begin, mut quote) = (None::<usize>, None);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                begin.get_or_insert(at);
            }
            (None, c) if c.is_whitespace() || ";|&()".contains(c) => words.extend(begin.take().map(|begin| begin..at)),
            _ => _ = begin.get_or_insert(at),
        }
    }
    words.extend(begin.map(|begin| begin..line.len()));
    words.into_iter().map(|word| bare(line, word)).collect()
}

fn bare(line: &str, word: Range<usize>) -> Range<usize> {
    let text = &line[word.clone()];
    let quote = |c: char| c == '"' || c == '\'';
    let begin = word.start + (text.len() - text.trim_start_matches(quote).len());
    begin..begin.max(word.start + text.trim_end_matches(quote).len())
}

fn named(name: &str, range: Range<usize>) -> Secret {
    Secret { kind: Kind::Named, what: name::what(name), range }
}

/// `--password value`, `--requirepass value`.
fn option(line: &str, word: &Range<usize>, value: &Range<usize>) -> Option<Secret> {
    let (option, value_text) = (&line[word.clone()], &line[value.clone()]);
    let name = option.strip_prefix("--").or_else(|| option.strip_prefix('-').filter(|name| name.len() > 2))?;
    let valued = !value_text.starts_with('-') && !name.contains('=') && is_secret_value(name, value_text);
    valued.then(|| named(name, value.clone()))
}

/// The program that `words` end in the arguments of.
fn runs(line: &str, words: &[Range<usize>], programs: &[&str]) -> bool {
    words.iter().rev().take(64).any(|word| programs.contains(&line[word.clone()].rsplit('/').next().unwrap_or_default()))
}

/// `mysql -psecret`, `7z -psecret`.
fn attached(line: &str, before: &[Range<usize>], word: &Range<usize>) -> Option<Secret> {
    const PROGRAMS: [&str; 12] =
        ["mysql", "mysqladmin", "mysqldump", "mysqlimport", "mysqlcheck", "mariadb", "mariadb-admin", "mariadb-dump", "mysqlsh", "sshpass", "7z", "7za"];
    if let Some(login) = line[word.clone()].strip_prefix("-u").filter(|_| runs(line, before, &["curl"])) {
        let password = login.split_once(':').map(|(_, password)| password).filter(|password| password.len() >= 3 && !is_placeholder(password))?;
        return Some(named("password", word.end - password.len()..word.end));
    }
    let value = line[word.clone()].strip_prefix("-p")?;
    let real = value.len() >= 3 && !is_placeholder(value) && !value.starts_with("ort") && runs(line, before, &PROGRAMS);
    real.then(|| named("password", word.start + 2..word.end))
}

/// Short options that only their program makes a password: `curl -u user:password`, `redis-cli -a password`, `docker login -p password`.
fn by_program(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    const OPTIONS: [(&[&str], &[&str]); 7] = [
        (&["redis-cli"], &["-a", "--pass"]),
        (
            &["sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "docker", "podman", "buildah", "skopeo", "cqlsh", "influx", "sqlcmd", "bcp"],
            &["-p", "-P"],
        ),
        (&["ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"], &["-w"]),
        (&["curl", "http", "https", "wget", "etcdctl"], &["-u", "--user", "-a", "--auth", "--proxy-user", "-U"]),
        (&["openssl", "gpg", "keytool"], &["-storepass", "-keypass", "-passin", "-passout", "--passphrase"]),
        (&["zip", "unzip"], &["-P"]),
        (&["useradd", "usermod"], &["-p"]),
    ];
    let mut found = Vec::new();
    for (at, pair) in words.windows(2).enumerate() {
        let (option, value) = (&line[pair[0].clone()], &line[pair[1].clone()]);
        // `curl -fsu user:password`
        let curls = option.strip_prefix('-').is_some_and(|flags| flags.ends_with('u') && flags.bytes().all(|c| c.is_ascii_alphabetic()));
        let option = if curls && runs(line, &words[..at], &["curl"]) { "-u" } else { option };
        let Some((programs, _)) = OPTIONS.iter().find(|(programs, options)| options.contains(&option) && runs(line, &words[..at], programs)) else { continue };
        let login = programs.contains(&"curl");
        let begin = if login { value.find(':').map(|colon| colon + 1) } else { Some(value.strip_prefix("pass:").map_or(0, |_| 5)) };
        let Some(begin) = begin else { continue };
        let secret = &value[begin..];
        let numeric = secret.chars().all(|c| c.is_ascii_digit() || ".:".contains(c)) && !login;
        if secret.len() >= 3
            && !numeric
            && !secret.starts_with(['/', '-'])
            && !secret.starts_with("file:")
            && !secret.starts_with("env:")
            && !is_placeholder(secret)
        {
            found.push(named("password", pair[1].start + begin..pair[1].end));
        }
    }
    found
}
