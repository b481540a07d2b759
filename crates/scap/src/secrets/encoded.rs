//! Files that a variable holds as base64: keys, service accounts, kubeconfigs.

use super::{Secret, Style, in_line, in_text};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
/// Shorter than any file with a secret.
const MIN_BYTES: usize = 40;
const MAX_BYTES: usize = 256 << 10;

/// The first secret in the text that `value` is the base64 of; its range is not one of `value`.
pub(super) fn first(value: &str) -> Option<Secret> {
    if !(MIN_BYTES..=MAX_BYTES).contains(&value.len()) || value.contains(['{', ':', '$']) {
        return None;
    }
    let plain: String = value.split_whitespace().collect();
    let alphabet = if plain.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let text = String::from_utf8(GeneralPurpose::new(&alphabet, FORGIVING).decode(plain.trim_matches(['"', '\''])).ok()?).ok()?;
    let control = text.chars().any(|c| c.is_control() && !c.is_whitespace());
    let by_line = || text.lines().take(2000).find_map(|line| in_line(line, Style::Line).into_iter().next());
    (!control).then(|| in_text(&text).into_iter().next().or_else(by_line)).flatten()
}
