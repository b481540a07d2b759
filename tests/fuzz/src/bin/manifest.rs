//! Manifests, lists of them, configurations, and what a registry asks for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    inspector::fuzzing::manifest(bytes);
    inspector::fuzzing::config(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        inspector::fuzzing::challenge(text);
    }
});
