//! Whether what is set under a name can be a secret.

use super::name::{Meaning, is_key, is_phrase, is_plural, is_repeated, meaning};
use super::placeholder::{is_placeholder, unquoted};

/// Words that say that, or how, and not what.
const SETTINGS: [&str; 47] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "none",
    "null",
    "nil",
    "undefined",
    "unset",
    "empty",
    "blank",
    "disabled",
    "enabled",
    "disable",
    "enable",
    "required",
    "optional",
    "prompt",
    "ask",
    "auto",
    "random",
    "generate",
    "generated",
    "default",
    "basic",
    "bearer",
    "jwt",
    "oauth",
    "oauth2",
    "ldap",
    "md5",
    "sha256",
    "sha512",
    "bcrypt",
    "argon2",
    "argon2id",
    "scrypt",
    "pbkdf2",
    "scram-sha-256",
    "trust",
    "strict",
    "nopasswd",
    "n/a",
];

/// Whether `value` under `name` is a secret: the name says so, and the value is neither a placeholder nor a setting, a path, a URL or a measure.
pub fn is_secret_value(name: &str, value: &str) -> bool {
    let meaning = meaning(name);
    let raw = value;
    let value = unquoted(raw);
    let phrase = value.split(' ').count() >= 12 && value.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
    if phrase && is_phrase(name) {
        return true;
    }
    // Bundler's logins: the name is the host.
    if name.starts_with("BUNDLE_") && name.contains("__") && is_login(value) && !value.contains('/') {
        return true;
    }
    if meaning == Meaning::Nothing || value.len() < 3 || is_placeholder(raw) || is_setting(value) || is_path(value) || value.contains("://") {
        return false;
    }
    // What has a content was found as a private key.
    let hollow = value.starts_with("-----BEGIN ") && value.contains("-----END");
    // Mapbox's tokens for browsers.
    let public = value.starts_with("pk.eyJ");
    if hollow || public || is_repeated(name, value) || meaning != Meaning::Password && is_file_name(value) {
        return false;
    }
    if meaning != Meaning::Password && is_key(name) && is_fingerprint(value) {
        return false;
    }
    match meaning {
        // The password of Java's own store of public certificates.
        Meaning::Password => !(value == "changeit" && name.to_ascii_lowercase().contains("trust")),
        Meaning::Secret => is_opaque(name, value) && !is_entry(value) && !is_one_sign(value),
        Meaning::Perhaps if value.split_once(": ").is_some_and(|(id, key)| !id.contains(' ') && looks_random(key)) => true,
        Meaning::Perhaps => looks_random(value) || is_login(value) || value.split_whitespace().count() >= 12,
        Meaning::Nothing => false,
    }
}

fn is_setting(value: &str) -> bool {
    SETTINGS.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// `/run/secrets/db`, `./key.pem`, `~/x`, `C:\key`: but not forty characters of base64 that begin with a slash.
fn is_path(value: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._-@ ~".contains(c);
    let windows = value.as_bytes().get(1) == Some(&b':') && value.contains('\\');
    let from = ["/", "./", "../", "~/"].iter().any(|start| value.starts_with(start));
    let by_chance = value.len() >= 24
        && value.matches('/').count() < 4
        && kinds(value) >= 3
        && !value.contains('.')
        && value.split('/').any(|part| part.len() >= 16 && kinds(part) >= 3);
    windows || from && value.chars().all(plain) && !by_chance
}

/// `prod/db/password`: where a store keeps it.
fn is_entry(value: &str) -> bool {
    let plain = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase()) && part.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c));
    value.contains('/') && value.split('/').all(plain)
}

/// `certs/es01.key`, `login.json`.
fn is_file_name(value: &str) -> bool {
    const ENDS: [&str; 15] = [".key", ".pem", ".crt", ".cer", ".p12", ".pfx", ".jks", ".txt", ".json", ".yaml", ".yml", ".pub", ".asc", ".gpg", ".keystore"];
    value.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) && ENDS.iter().any(|end| value.ends_with(end))
}

/// Neither a count nor a measure nor a version.
fn is_opaque(name: &str, value: &str) -> bool {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    if digits == value.len() {
        return digits >= 6 && !is_plural(name);
    }
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let measure = unit.len() < value.len()
        && ["s", "m", "h", "d", "ms", "k", "kb", "mb", "gb", "sec", "min", "days", "hours", "minutes", "seconds", "bit", "bits", "bytes"]
            .contains(&unit.to_ascii_lowercase().as_str());
    let version = value.trim_start_matches('v').chars().all(|c| c.is_ascii_digit() || c == '.');
    !measure && !version
}

/// Forty capital hexadecimal digits, or `0x` and an id: what a public key is called by.
fn is_fingerprint(value: &str) -> bool {
    let id = value.strip_prefix("0x").filter(|id| matches!(id.len(), 8 | 16 | 40)).or((value.len() == 40).then_some(value));
    id.is_some_and(|id| id.chars().all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c)))
}

/// `00000000-0000-0000-0000-000000000000`.
fn is_one_sign(value: &str) -> bool {
    let mut signs = value.chars().filter(|c| *c != '-');
    signs.next().is_some_and(|first| signs.all(|c| c == first))
}

/// Whether a value seems made by chance: long, of several kinds of characters, no words, no address.
pub(super) fn looks_random(value: &str) -> bool {
    let distinct = value.chars().collect::<std::collections::HashSet<_>>().len();
    let address = value
        .split([':', '/'])
        .next()
        .is_some_and(|host| host.contains('.') && host.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c)));
    let digits = value.chars().any(|c| c.is_ascii_digit());
    let letters = value.chars().any(|c| c.is_ascii_alphabetic());
    let worded = value
        .split(['-', '_', '.'])
        .all(|word| word.chars().all(|c| c.is_ascii_lowercase()) || word.chars().all(|c| c.is_ascii_uppercase()) || word.chars().all(|c| c.is_ascii_digit()));
    value.len() >= 8
        && value.chars().all(|c| c.is_ascii_graphic())
        && distinct >= 5
        && !address
        && (digits && letters && !worded || kinds(value) >= 3 && value.len() >= 16)
}

/// How many kinds of characters: capitals, small letters, digits, signs.
fn kinds(value: &str) -> usize {
    let kinds: [fn(&char) -> bool; 4] = [char::is_ascii_uppercase, char::is_ascii_lowercase, char::is_ascii_digit, char::is_ascii_punctuation];
    kinds.iter().filter(|kind| value.chars().any(|c| kind(&c))).count()
}

/// `user:password`.
fn is_login(value: &str) -> bool {
    value.split_once(':').is_some_and(|(user, password)| {
        !user.is_empty()
            && password.len() >= 4
            && !password.starts_with([' ', '/'])
            && !is_placeholder(password)
            && !password.chars().all(|c| c.is_ascii_digit())
            && !value.contains(char::is_whitespace)
    })
}
