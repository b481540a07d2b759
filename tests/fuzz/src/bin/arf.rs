//! OpenSCAP's ARF results.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = scap::arf::parse(bytes);
});
