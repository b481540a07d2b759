//! Logins of image pull secrets: how they are written, and which of them are for an image. As kubelet has it, and more forgiving where that harms nobody.
//!
//! Source: Kubernetes, `pkg/credentialprovider/{config,keyring}.go`; containerd, `pkg/cri/server/image_pull.go` (`ParseAuth`).

mod key;
#[cfg(test)]
mod tests;

pub use key::{Rank, rank};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use std::fmt;

/// One way to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user's name and, in bytes of any encoding, `user:password`.
    Password { user: String, pair: Vec<u8> },
    /// An OAuth 2 refresh token.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

// Logs must never show a secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "password of {user}"),
            Self::IdentityToken(_) => f.write_str("identity token"),
            Self::RegistryToken(_) => f.write_str("registry token"),
        }
    }
}

/// The entries of a Docker configuration file by the place that they are for: those below `auths`, or of the older form that has nothing else.
///
/// `null` counts as nothing, names of fields are taken in any case, and other settings (`credHelpers`, `HttpHeaders`) are passed over, as everywhere in Go.
///
/// # Errors
/// Words for people that cite nothing of the text: it is no JSON, or not of this form.
pub fn entries(text: &[u8]) -> Result<Map<String, Value>, String> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{feff}').trim_end_matches('\0');
    let config: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON (line {}, column {})", e.line(), e.column()))?;
    let Value::Object(config) = config else { return Err("it is no JSON object".into()) };
    let has_auths = config.keys().any(|name| name.eq_ignore_ascii_case("auths"));
    match field(&config, "auths") {
        Some(Value::Object(auths)) => Ok(auths.clone()),
        Some(_) => Err("its “auths” is no object".into()),
        None if has_auths => Ok(Map::new()),
        // Of the older form are only entries, of a newer file without logins only other settings.
        None => Ok(config.into_iter().filter(|(key, value)| value.is_object() && is_place(key)).collect()),
    }
}

/// The logins of an entry, the one that kubelet takes first: `auth` wins over user name and password. Empty when it names none.
///
/// # Errors
/// Words for people when it names one that cannot be read, and no other.
pub fn logins(entry: &Value) -> Result<Vec<Login>, String> {
    let entry = match entry {
        Value::Object(entry) => entry,
        Value::Null => return Ok(Vec::new()),
        _ => return Err("it is no JSON object".into()),
    };
    let mut problem = None;
    let mut text = |name: &str| match field(entry, name) {
        Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        None => None,
        Some(_) => {
            problem = Some(format!("its “{name}” is no text"));
            None
        }
    };
    let (auth, user, password) = (text("auth"), text("username"), text("password"));
    let (identity, registry) = (text("identitytoken"), text("registrytoken"));
    let mut logins = Vec::new();
    match auth.filter(|auth| !auth.trim().is_empty()).map(|auth| decode(&auth)) {
        Some(Some((user, pair))) => logins.push(Login::Password { user, pair }),
        Some(None) => problem = Some("its “auth” is not the base64 of USER:PASSWORD".to_owned()),
        None => {}
    }
    if let (true, Some(user)) = (logins.is_empty(), user) {
        let pair = format!("{user}:{}", password.unwrap_or_default()).into_bytes();
        logins.push(Login::Password { user, pair });
    }
    let tokens = identity.map(Login::IdentityToken).into_iter().chain(registry.map(Login::RegistryToken));
    logins.extend(tokens);
    // Docker writes a user without a password beside a token, which alone counts then.
    if logins.len() > 1 && matches!(&logins[0], Login::Password { pair, .. } if pair.ends_with(b":")) {
        logins.remove(0);
    }
    match problem {
        Some(problem) if logins.is_empty() => Err(problem),
        _ => Ok(logins),
    }
}

/// A field by its name in any case, the exact one first; `None` for `null`.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case = || object.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null()).map(|(_, value)| value);
    object.get(name).filter(|value| !value.is_null()).or_else(any_case)
}

/// User and `user:password` of base64 with or without padding, white space, and the letters of URLs.
fn decode(auth: &str) -> Option<(String, Vec<u8>)> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
    );
    let letter = |c: char| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    };
    let plain: String = auth.chars().filter(|c| !c.is_whitespace()).map(letter).collect();
    let mut pair = LENIENT.decode(plain.trim_end_matches('=')).ok()?;
    pair.truncate(pair.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8_lossy(&pair[..colon]).into_owned(), pair))
}

/// Whether a field of the older form can be a registry's name.
fn is_place(key: &str) -> bool {
    key.contains(['.', ':', '/']) || key == "localhost"
}
