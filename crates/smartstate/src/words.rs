//! Words of strangers, made fit to be shown.

/// `text` on one line, without control characters, cut to `most` characters.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut clean = String::new();
    for (n, word) in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).enumerate() {
        if n > 0 {
            clean.push(' ');
        }
        clean.push_str(word);
        // Enough to know that it has to be cut, whatever is still to come.
        if clean.len() > most * 4 {
            break;
        }
    }
    match clean.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &clean[..at]),
        None => clean,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn lines_and_control_characters_become_spaces_and_long_words_are_cut() {
        assert_eq!(clean("a\0b\n\tc \u{1b}[31md", 80), "a b c [31md");
        assert_eq!(clean("", 80), "");
        assert_eq!(clean("ääää", 3), "äää…");
        assert_eq!(clean(&"x ".repeat(1 << 20), 5), "x x x…");
    }
}
