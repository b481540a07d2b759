//! Which places a login's key names.

/// How exactly a key names an image's place; the greater the more exactly.
///
/// As for kubelet it is the key's text: a longer path comes after a shorter one, and a letter after `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(String);

/// Whether `key` is for the image `repository` (e.g. `library/debian`) of `registry` (`host[:port]`, `docker.io` for Docker Hub), and how exactly.
///
/// The key's path is a prefix, letter by letter, as it is for kubelet: `quay.io/sho` is for `quay.io/shop` too.
pub fn rank(key: &str, registry: &str, repository: &str) -> Option<Rank> {
    let key = key.trim();
    let (scheme, rest) = key.split_once("://").unwrap_or(("https", key));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let path = match path {
        "v1" | "v2" => "",
        path => path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path),
    };
    let default_port = if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" };
    let fits = host_fits(&host, &registry.to_ascii_lowercase(), default_port) && repository.starts_with(path);
    fits.then(|| Rank(format!("{host}/{path}")))
}

fn host_fits(pattern: &str, host: &str, default_port: &str) -> bool {
    let ((pattern, pattern_port), (host, port)) = (with_port(pattern), with_port(host));
    let same_port = pattern_port.unwrap_or(default_port) == port.unwrap_or(default_port) || (pattern_port.is_none() && port == Some("443"));
    if !same_port {
        return false;
    }
    let pattern = if matches!(pattern, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { pattern };
    let (patterns, labels): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    !pattern.is_empty() && patterns.len() == labels.len() && patterns.iter().zip(&labels).all(|(pattern, label)| label_fits(pattern, label))
}

fn with_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// `*` stands for any part of one label, as in `*.example.com` and `a*b.example.com`.
fn label_fits(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = label.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
