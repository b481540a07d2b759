//! Texts in which secrets are not readable any more.

use super::{Secret, command, in_text, in_variable};

/// What stands in a secret's place.
pub const MASK: &str = "••••••";

/// `text` without its secrets.
pub fn mask_text(text: &str) -> String {
    masked(text, &in_text(text))
}

/// The value of a variable or label without its secrets.
pub fn mask_variable(name: &str, value: &str) -> String {
    masked(value, &in_variable(name, value))
}

/// Lines `NAME=value` without the values' secrets.
pub fn mask_variables(lines: &[String]) -> Vec<String> {
    let mask = |line: &String| match line.split_once('=') {
        Some((name, value)) => format!("{name}={}", mask_variable(name, value)),
        None => mask_text(line),
    };
    lines.iter().map(mask).collect()
}

/// The words of a command without its secrets: they may stand in several words, or in one for the shell.
pub fn mask_command(words: &[String]) -> Vec<String> {
    let line = words.join(" ");
    let secrets = command::in_command_line(&line);
    let mut begin = 0;
    let mut masked_words = Vec::with_capacity(words.len());
    for word in words {
        let end = begin + word.len();
        let of_word = secrets
            .iter()
            .filter(|secret| secret.range.start < end && secret.range.end > begin)
            .map(|secret| Secret { range: secret.range.start.max(begin) - begin..secret.range.end.min(end) - begin, ..secret.clone() });
        masked_words.push(masked(word, &of_word.collect::<Vec<_>>()));
        begin = end + 1;
    }
    masked_words
}

fn masked(text: &str, secrets: &[Secret]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for secret in secrets {
        out.push_str(&text[at..secret.range.start]);
        out.push_str(MASK);
        at = secret.range.end;
    }
    out.push_str(&text[at..]);
    out
}
