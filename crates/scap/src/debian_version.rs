//! The order of Debian's versions.
//!
//! Source: deb-version(7); dpkg's `lib/dpkg/version.c`.

use std::cmp::Ordering;

/// As `dpkg --compare-versions` has it.
pub fn compare(a: &str, b: &str) -> Ordering {
    let ((a_epoch, a), (b_epoch, b)) = (epoch(a), epoch(b));
    let ((a, a_revision), (b, b_revision)) = (revision(a), revision(b));
    a_epoch.cmp(&b_epoch).then_with(|| part(a, b)).then_with(|| part(a_revision, b_revision))
}

fn epoch(version: &str) -> (u64, &str) {
    version.split_once(':').and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest))).unwrap_or((0, version))
}

fn revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// Compares by turns what is no digit, sign by sign, and numbers.
fn part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let words = take(&mut a, |byte| !byte.is_ascii_digit()).iter().map(weight);
        let others = take(&mut b, |byte| !byte.is_ascii_digit()).iter().map(weight);
        // The end weighs more than a tilde and less than everything else.
        let end = std::iter::once(0);
        let (numbers, other_numbers) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
        let (number, other) = (significant(numbers), significant(other_numbers));
        let order = words.chain(end.clone()).cmp(others.chain(end)).then(number.len().cmp(&other.len())).then_with(|| number.cmp(other));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(bytes: &mut &'a [u8], of: impl Fn(&u8) -> bool) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(bytes.iter().position(|byte| !of(byte)).unwrap_or(bytes.len()));
    *bytes = rest;
    taken
}

fn significant(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len())..]
}

/// Tilde before the end, letters before other signs.
fn weight(byte: &u8) -> i32 {
    match byte {
        b'~' => -1,
        byte if byte.is_ascii_alphabetic() => i32::from(*byte),
        byte => i32::from(*byte) + 256,
    }
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn versions_are_in_the_order_of_dpkg() {
        let sorted = ["1.0~~", "1.0~beta1", "1.0", "1.0-1~bpo1", "1.0-1", "1.0-1+b1", "1.0-10", "1.0a", "1.0+dfsg", "1.9", "1.010", "2.0-1-1", "1:0.1"];
        for (number, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), number.cmp(&other), "{a} and {b}");
            }
        }
    }
}
