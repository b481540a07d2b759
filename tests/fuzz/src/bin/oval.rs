//! OpenSCAP's OVAL results.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = scap::oval::parse(bytes);
});
