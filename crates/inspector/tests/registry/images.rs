//! Images made on the spot, as OCI layouts.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::path::Path;

pub const OS_RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";

/// An image's blobs.
pub struct Image {
    layers: Vec<Vec<u8>>,
    config: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

impl Image {
    /// Debian in name, without packages; of a gzip and a zstd layer.
    pub fn sample() -> Self {
        Self::of(json!({"os": "linux", "architecture": "amd64"}))
    }

    /// As [`Image::sample`], with this in its configuration.
    pub fn of(platform: serde_json::Value) -> Self {
        let lower = tar(&[("etc/os-release", OS_RELEASE), ("etc/removed", "x"), ("etc/passwd", "root:x:0:0::/root:/bin/sh\n")]);
        let upper = tar(&[("etc/.wh.removed", ""), ("usr/bin/app", "#!/bin/sh\n")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&lower).unwrap();
        let layers = vec![gzip.finish().unwrap(), zstd::encode_all(&upper[..], 1).unwrap()];
        let mut config = json!({
            "created": "2026-01-02T03:04:05Z",
            "config": {"User": "app", "Env": ["PATH=/usr/bin"], "Cmd": ["/usr/bin/app"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(&lower), digest(&upper)]},
        });
        config.as_object_mut().unwrap().extend(platform.as_object().unwrap().clone());
        let config = config.to_string().into_bytes();
        let kinds = ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd"];
        let described: Vec<_> =
            layers.iter().zip(kinds).map(|(layer, kind)| json!({"mediaType": kind, "digest": digest(layer), "size": layer.len()})).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
            "layers": described,
        });
        Self { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    /// The layers, and last the configuration.
    pub fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layers.iter().chain([&self.config])
    }

    pub fn layer_digest(&self, number: usize) -> String {
        digest(&self.layers[number])
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Writes an OCI layout with the image under the name `image`.
    pub fn write(&self, folder: &Path) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for blob in self.layers.iter().chain([&self.config, &self.manifest]) {
            fs::write(blobs.join(&digest(blob)[7..]), blob).unwrap();
        }
        let manifest = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": self.digest(), "size": self.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "image"},
        });
        fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }
}
