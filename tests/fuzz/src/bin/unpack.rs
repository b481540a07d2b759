//! Layers of an image, one over the other: nothing outside of the image's root may change.
#![no_main]

/// Between two layers.
const BORDER: &[u8] = b"\xff\xfeLAYER\xfe\xff";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder of our own");
    let inside = folder.path().join("image");
    std::fs::create_dir(&inside).expect("a folder of our own");
    std::fs::write(folder.path().join("witness"), "untouched").expect("a folder of our own");
    inspector::fuzzing::unpack(split(bytes).into_iter(), &inside);
    assert_eq!(std::fs::read(folder.path().join("witness")).expect("the witness is there"), b"untouched");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder is there").count(), 2);
});

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut layers = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BORDER.len()).position(|window| window == BORDER).filter(|_| layers.len() < 4) {
        layers.push(&rest[..at]);
        rest = &rest[at + BORDER.len()..];
    }
    layers.push(rest);
    layers
}
