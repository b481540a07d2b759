//! The words of a shell's line, and which of them belong to one command.

use std::ops::Range;

/// How many words an argument may stand behind its program.
const MAX_ARGUMENTS: usize = 64;

/// The words of `line`, without their quotes.
pub(super) fn split(line: &str) -> Vec<Range<usize>> {
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

/// The name of the program that `word` calls.
pub(super) fn program<'a>(line: &'a str, word: &Range<usize>) -> &'a str {
    line[word.clone()].rsplit('/').next().unwrap_or_default()
}

/// Whether the last of `words` is an argument of one of `programs`: they stand before it in the same command.
pub(super) fn runs(line: &str, words: &[Range<usize>], programs: &[&str]) -> bool {
    // How many `$(…)` the search is in, from the right to the left.
    let mut inner = 0_usize;
    for two in words.windows(2).rev().take(MAX_ARGUMENTS) {
        for separator in separators(line, two).rev() {
            match separator {
                b')' => inner += 1,
                b'(' if inner > 0 => inner -= 1,
                _ if inner == 0 => return false,
                _ => {}
            }
        }
        if inner == 0 && programs.contains(&program(line, &two[0])) {
            return true;
        }
    }
    false
}

/// Whether two neighbouring words belong to different commands.
pub(super) fn are_parted(line: &str, two: &[Range<usize>]) -> bool {
    separators(line, two).next().is_some()
}

/// The arguments of the program that is the first of `words`.
pub(super) fn arguments<'a>(line: &'a str, words: &'a [Range<usize>]) -> impl Iterator<Item = &'a Range<usize>> {
    words.windows(2).take(MAX_ARGUMENTS).take_while(|two| !are_parted(line, two)).map(|two| &two[1])
}

/// What ends a command, or begins or ends one in brackets, between two neighbouring words.
fn separators<'a>(line: &'a str, two: &[Range<usize>]) -> impl DoubleEndedIterator<Item = u8> + use<'a> {
    let bytes = line.as_bytes();
    let gap = two[0].end..two[1].start;
    let is_separator = move |at: usize| match bytes[at] {
        b';' | b'|' | b'(' | b')' => true,
        // `2>&1` and `&>log` are no end.
        b'&' => !(at > 0 && bytes[at - 1] == b'>' || bytes.get(at + 1) == Some(&b'>')),
        b'\n' => at == 0 || bytes[at - 1] != b'\\',
        _ => false,
    };
    gap.filter(move |at| is_separator(*at)).map(move |at| bytes[at])
}
