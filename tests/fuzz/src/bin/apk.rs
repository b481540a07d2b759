//! Alpine's list of installed packages.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::read_image(&[("lib/apk/db/installed", bytes)]));
