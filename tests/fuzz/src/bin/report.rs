//! The report of a scan pod.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| smartstate::fuzzing::report(bytes));
