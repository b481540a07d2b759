//! Programs that take a password in a way of their own.

use super::named;
use super::words::{arguments, program, runs};
use crate::secrets::placeholder::is_placeholder;
use crate::secrets::value::looks_random;
use crate::secrets::{Secret, is_secret_value, window};
use std::ops::Range;

pub(super) fn find(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let mut found = gossip_key(line, words);
    for way in [new_passwords, web_password, broker_user, settings, netrc, samba] {
        found.extend(way(line, words));
    }
    found.extend(sql(line));
    found
}

fn is_password(text: &str) -> bool {
    text.len() >= 3 && !text.starts_with(['$', '-']) && !is_placeholder(text)
}

fn password(line: &str, range: Range<usize>) -> Option<Secret> {
    is_password(&line[range.clone()]).then(|| named("password", range))
}

/// `consul agent -encrypt=KEY`: 16, 24 or 32 bytes as base64.
fn gossip_key(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let is_key =
        |text: &str| matches!(text.len(), 24 | 32 | 44) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+/=".contains(&c)) && looks_random(text);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(rest) = line[word.clone()].trim_start_matches('-').strip_prefix("encrypt") else { continue };
        let value = match rest.strip_prefix('=') {
            Some(value) => Some(word.end - value.len()..word.end),
            None if rest.is_empty() => words.get(at + 1).cloned(),
            None => None,
        };
        let programs = ["consul", "nomad", "serf"];
        found.extend(value.filter(|value| is_key(&line[value.clone()]) && runs(line, &words[..=at], &programs)).map(|value| named("key", value)));
    }
    found
}

/// `echo 'root:password' | chpasswd`, `echo password | passwd --stdin root`.
fn new_passwords(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| matches!(program(line, word), "chpasswd" | "passwd")) {
        let Some(echo) = words[..at].iter().rev().take(8).position(|word| matches!(program(line, word), "echo" | "printf")).map(|back| at - 1 - back) else {
            continue;
        };
        let piped = line[words[echo].end..words[at].start].contains('|');
        let Some(said) = words[echo + 1..at].iter().find(|word| !line[(*word).clone()].starts_with('-')).filter(|_| piped) else { continue };
        let text = &line[said.clone()];
        let begin = match (program(line, &words[at]), text.find(':')) {
            ("chpasswd", Some(colon)) => colon + 1,
            ("passwd", _) if arguments(line, &words[at..]).any(|word| line[word.clone()] == *"--stdin") => 0,
            _ => continue,
        };
        // `\n` of printf is no part of it.
        let end = text.trim_end_matches("\\n").len();
        found.extend(password(line, said.start + begin..said.start + end.max(begin)));
    }
    found
}

/// `htpasswd -bc FILE USER PASSWORD`, `htpasswd -nb USER PASSWORD`.
fn web_password(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| program(line, word) == "htpasswd") {
        let of_program: Vec<_> = arguments(line, &words[at..]).take(8).collect();
        let flags: String = of_program.iter().map(|word| &line[(*word).clone()]).filter(|word| word.starts_with('-')).collect();
        let given: Vec<_> = of_program.into_iter().filter(|word| !line[(*word).clone()].starts_with('-')).collect();
        let place = if flags.contains('n') { 1 } else { 2 };
        let word = given.get(place).filter(|_| flags.contains('b'));
        found.extend(word.and_then(|word| password(line, (*word).clone())));
    }
    found
}

/// `rabbitmqctl add_user USER PASSWORD`.
fn broker_user(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let is_verb = |at: usize| matches!(&line[words[at].clone()], "add_user" | "change_password") && runs(line, &words[..=at], &["rabbitmqctl"]);
    let given = (0..words.len().saturating_sub(2)).filter(|at| is_verb(*at)).map(|at| words[at + 2].clone());
    given.filter_map(|word| password(line, word)).collect()
}

/// `aws configure set NAME VALUE`, `npm config set //host/:_authToken VALUE`.
fn settings(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let mut found = Vec::new();
    for three in words.windows(3).filter(|three| matches!(&line[three[0].clone()], "set" | "config" | "--global")) {
        let name = line[three[1].clone()].rsplit([':', '/']).next().unwrap_or_default();
        if !name.contains('=') && is_secret_value(name, &line[three[2].clone()]) {
            found.push(named(name, three[2].clone()));
        }
    }
    found
}

/// `machine HOST login USER password PASSWORD`.
fn netrc(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let says = |at: usize, what: &str| line[words[at].clone()] == *what;
    let places = (4..words.len().saturating_sub(1)).filter(|at| says(*at, "password") && says(at - 2, "login") && says(at - 4, "machine"));
    places.filter_map(|at| password(line, words[at + 1].clone())).collect()
}

/// `smbclient -U USER%PASSWORD`.
fn samba(line: &str, words: &[Range<usize>]) -> Vec<Secret> {
    let mut found = Vec::new();
    for (at, pair) in words.windows(2).enumerate().filter(|(_, pair)| matches!(&line[pair[0].clone()], "-U" | "--user")) {
        let percent = line[pair[1].clone()].find('%').map(|percent| pair[1].start + percent + 1);
        let begin = percent.filter(|_| runs(line, &words[..=at], &["smbclient", "rpcclient", "net", "smbget"]));
        found.extend(begin.and_then(|begin| password(line, begin..pair[1].end)));
    }
    found
}

/// `ALTER USER a PASSWORD 'x'`, `CREATE USER a IDENTIFIED BY 'x'`.
pub(in crate::secrets) fn sql(text: &str) -> Vec<Secret> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for sign in ["password '", "identified by '", "_password by '"] {
        for (at, _) in lower.match_indices(sign) {
            let begin = at + sign.len();
            let statement =
                ["user ", "role ", "login ", "grant "].iter().any(|word| lower[lower.floor_char_boundary(at.saturating_sub(200))..at].contains(word));
            let end = begin + window(text, begin, 256).find('\'').unwrap_or(0);
            found.extend(password(text, begin..end).filter(|_| statement));
        }
    }
    found
}
