//! Names of images: `host[:port]/name[:tag]@sha256:…`.

use std::fmt;

/// An image by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host and port as in the name; `docker.io` for all of its aliases.
    pub registry: String,
    /// e.g. `library/debian`.
    pub repository: String,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
}

impl Reference {
    /// Reads a reference. A tag beside the digest is dropped, since the digest alone says what is meant; a name without a registry is Docker Hub's.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// Source: distribution/reference.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = text.split_once('@').ok_or_else(|| format!("“{text}” has no digest: images are inspected by digest only"))?;
        if !is_sha256(digest) {
            return Err(format!("“{digest}” is no SHA-256 digest"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", name),
        };
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        let path = path[last..].find(':').map_or(path, |colon| &path[..last + colon]);
        let docker_hub = matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io");
        let repository = if docker_hub && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        if !is_repository(&repository) || !is_host(registry) {
            return Err(format!("“{name}” is no image name"));
        }
        let registry = if docker_hub { "docker.io" } else { registry };
        Ok(Self { registry: registry.to_owned(), repository, digest: digest.to_owned() })
    }

    /// The host that answers for this registry.
    pub(crate) fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.registry, self.repository, self.digest)
    }
}

/// `sha256:` and 64 lower-case hex digits.
pub(crate) fn is_sha256(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(is_hex_sha256)
}

/// 64 lower-case hex digits.
pub(crate) fn is_hex_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'))
}

fn is_repository(path: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    path.len() <= 255 && path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use super::Reference;

    fn parts(text: &str) -> (String, String) {
        let reference = Reference::parse(&format!("{text}@sha256:{}", "0".repeat(64))).unwrap();
        (reference.registry, reference.repository)
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let pair = |registry: &str, repository: &str| (registry.to_owned(), repository.to_owned());
        assert_eq!(parts("10.99.1.1:5000/shop/web"), pair("10.99.1.1:5000", "shop/web"));
        assert_eq!(parts("localhost/web:1.2"), pair("localhost", "web"));
        assert_eq!(parts("debian:12"), pair("docker.io", "library/debian"));
        assert_eq!(parts("index.docker.io/grafana/grafana"), pair("docker.io", "grafana/grafana"));
        assert_eq!(parts("registry-1.docker.io/nginx"), pair("docker.io", "library/nginx"));
        assert_eq!(parts("[fd00::1]:5000/a"), pair("[fd00::1]:5000", "a"));
    }

    #[test]
    fn names_without_a_good_digest_or_with_odd_paths_are_refused() {
        let zeros = "0".repeat(64);
        for text in [
            "quay.io/a/b:latest".to_owned(),
            "quay.io/a/b@sha256:12".to_owned(),
            format!("quay.io/a@sha512:{zeros}"),
            format!("quay.io/a/../b@sha256:{zeros}"),
            format!("quay.io/@sha256:{zeros}"),
            format!("quay.io/A?x@sha256:{zeros}"),
            format!("us er.io/a@sha256:{zeros}"),
        ] {
            assert!(Reference::parse(&text).is_err(), "{text}");
        }
    }
}
