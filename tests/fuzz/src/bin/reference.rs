//! Names of images, as pods and people write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = inspector::reference::Reference::parse(text);
    let _ = inventory::reference::Reference::parse(text);
});
