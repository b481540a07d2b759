//! rpm's three database formats; the first byte chooses one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let name = ["rpmdb.sqlite", "Packages.db", "Packages"][usize::from(*first) % 3];
    fuzz::read_image(&[(&format!("var/lib/rpm/{name}"), rest)]);
});
