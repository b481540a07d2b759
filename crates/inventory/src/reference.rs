//! Image references as people write them in pods.
//!
//! Source: <https://github.com/distribution/reference> (grammar; Docker's defaults for what is left out).

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const NAME_CHARS_MAX: usize = 255;
const TAG_CHARS_MAX: usize = 128;

/// `registry/name[:tag][@digest]` with what was left out filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, with `:port` when one is given; `docker.io` when none is.
    pub registry: String,
    /// The repository, e.g. `library/nginx`.
    pub name: String,
    /// Empty when none is given: `latest` is filled in only when there is no digest either.
    pub tag: String,
    /// `sha256:…` when the reference is pinned.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference; `None` for what no runtime would accept, a bare image id (`sha256:…`, 64 hex digits) among it.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) || is_hex64(rest) {
            return None;
        }
        // A colon after the last slash starts the tag; one before it, a port.
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (&rest[..after_slash + colon], Some(&rest[after_slash + colon + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) || (path == "sha256" && digest.is_none() && tag.is_some_and(is_hex64)) {
            return None;
        }
        let (registry, name) = split_registry(path);
        if !is_host(registry) || !is_name(name) {
            return None;
        }
        let registry = if matches!(registry, "index.docker.io" | "registry-1.docker.io") { DEFAULT_REGISTRY } else { registry };
        let name = if registry == DEFAULT_REGISTRY && !name.contains('/') { format!("{DEFAULT_NAMESPACE}/{name}") } else { name.to_owned() };
        let tag = tag.unwrap_or(if digest.is_some() { "" } else { "latest" }).to_owned();
        Some(Self { registry: registry.to_ascii_lowercase(), name, tag, digest: digest.map(str::to_owned) })
    }
}

/// Whether `text` is `sha256:` and 64 hexadecimal digits in lower case, the one form of digest that Tidewaiter stores.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_hex64)
}

/// Host (without brackets around an IPv6 address) and port of a registry.
pub(crate) fn host_and_port(registry: &str) -> (&str, Option<u16>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host.trim_matches(['[', ']']), port.parse().ok()),
        _ => (registry.trim_matches(['[', ']']), None),
    }
}

/// Whether the reference says which registry it means, rather than to leave that to the node.
pub(crate) fn names_registry(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| is_registry(first))
}

fn split_registry(path: &str) -> (&str, &str) {
    match path.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, path),
    }
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_CHARS_MAX).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .split('.')
            .all(|part| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')),
    };
    good_port && good_host
}

fn is_name(name: &str) -> bool {
    let separators = ['.', '_', '-'];
    name.len() <= NAME_CHARS_MAX
        && name.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with(separators)
                && !part.ends_with(separators)
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn parts(text: &str) -> Option<(String, String, String, bool)> {
        Reference::parse(text).map(|r| (r.registry, r.name, r.tag, r.digest.is_some()))
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, registry, name, tag, pinned) in [
            ("nginx", "docker.io", "library/nginx", "latest", false),
            ("nginx:1.27", "docker.io", "library/nginx", "1.27", false),
            ("bitnami/redis", "docker.io", "bitnami/redis", "latest", false),
            ("docker.io/nginx", "docker.io", "library/nginx", "latest", false),
            ("index.docker.io/library/nginx:1", "docker.io", "library/nginx", "1", false),
            ("localhost/app", "localhost", "app", "latest", false),
            ("localhost:5000/app:v1", "localhost:5000", "app", "v1", false),
            ("10.99.1.1:5000/a/b/c", "10.99.1.1:5000", "a/b/c", "latest", false),
            ("[fd00::1]:5000/app:1", "[fd00::1]:5000", "app", "1", false),
            ("Quay.io/org/app", "quay.io", "org/app", "latest", false),
        ] {
            assert_eq!(parts(text), Some((registry.into(), name.into(), tag.into(), pinned)), "{text}");
        }
        assert_eq!(parts(&format!("quay.io/org/app@{D}")), Some(("quay.io".into(), "org/app".into(), String::new(), true)));
        assert_eq!(parts(&format!("quay.io:443/org/app:v2@{D}")), Some(("quay.io:443".into(), "org/app".into(), "v2".into(), true)));
    }

    #[test]
    fn what_no_runtime_accepts_is_refused_without_a_panic() {
        let long = "a".repeat(300);
        for bad in [
            "",
            "/",
            ":",
            "@",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:b:c",
            "A",
            "a@",
            "a@sha256:12",
            "a:-x",
            "http://x/y",
            "host:99999/a",
            "host:/a",
            "a b",
            "é",
            "a/é:1",
            "-a.b/c",
            "[::1/a",
            "a:é",
            "..",
            "a/../b",
            D,
            &D[7..],
            &long,
        ] {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn host_and_port_of_a_registry() {
        assert_eq!(host_and_port("quay.io"), ("quay.io", None));
        assert_eq!(host_and_port("10.0.0.1:5000"), ("10.0.0.1", Some(5000)));
        assert_eq!(host_and_port("[fd00::1]:5000"), ("fd00::1", Some(5000)));
        assert_eq!(host_and_port("[fd00::1]"), ("fd00::1", None));
    }
}
