//! Vulnerability feeds: indexed, asked and chosen from for an image.
#![no_main]

use scap::feed::{Answers, Index};
use scap::report::{Package, PackageKind};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::build(bytes) else { return };
    for kind in [PackageKind::Deb, PackageKind::Rpm] {
        let packages = [package(kind, "bash", "bash"), package(kind, "libc6", "glibc")];
        if index.questions(&packages).is_some() {
            let _ = index.select(&packages, &Answers::read(bytes).unwrap_or_default());
        }
        let _ = index.select(&packages, &Answers::default());
    }
});

fn package(kind: PackageKind, name: &str, source: &str) -> Package {
    Package {
        kind,
        name: name.into(),
        version: "2.36-9".into(),
        architecture: "amd64".into(),
        source: source.into(),
        source_version: "2.36-9".into(),
        vendor: String::new(),
        summary: String::new(),
    }
}
