//! Kubeconfigs.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = inventory::Connection::from_kubeconfig(text, None);
});
