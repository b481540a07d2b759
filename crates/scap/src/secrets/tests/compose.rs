//! Made-up values for the corpora, so that nothing in the tree looks like a real secret.

/// `template` with what its braces ask for: made of a number sequence, the same in every run.
pub(super) fn compose(template: &str) -> String {
    use base64::Engine as _;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let made = rest.find('}').and_then(|close| {
            let inner = &rest[1..close];
            let made = match inner.strip_prefix("64:") {
                Some(text) => Some(base64::engine::general_purpose::STANDARD.encode(text)),
                None if inner == "n" => Some("\n".to_owned()),
                None => made_up(inner, &mut seed),
            };
            made.map(|made| (made, close))
        });
        match made {
            Some((made, close)) => {
                out.push_str(&made);
                rest = &rest[close + 1..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn made_up(wanted: &str, seed: &mut u64) -> Option<String> {
    let length: usize = wanted.get(1..)?.parse().ok()?;
    let alphabet: &[u8] = match wanted.as_bytes()[0] {
        b'A' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        b'X' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        b'l' => b"abcdefghijklmnopqrstuvwxyz0123456789",
        b'H' => b"0123456789ABCDEF",
        b'h' => b"0123456789abcdef",
        b'b' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b'u' => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
        b'd' => b"0123456789",
        _ => return None,
    };
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        usize::try_from(*seed >> 33).unwrap()
    };
    // The last one is a letter or digit, as in what is not cut from a longer text.
    Some((0..length).map(|at| char::from(alphabet[next() % if at + 1 == length { alphabet.len().min(62) } else { alphabet.len() }])).collect())
}
