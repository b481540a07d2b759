//! What the targets that read package databases share.

use std::path::Path;

/// Reads the packages and the system of an image that has `files` alone.
pub fn read_image(files: &[(&str, &[u8])]) {
    let root = tempfile::tempdir().expect("a folder of our own");
    for (path, bytes) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder of our own");
        std::fs::write(path, bytes).expect("a folder of our own");
    }
    let _ = inspector::packages::read(root.path());
    let _ = inspector::os::read(root.path());
}
