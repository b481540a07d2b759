//! Platforms of images: their names, and which ones stand in for another.
//!
//! Source: containerd/platforms, `database.go` (`normalizeOS`, `normalizeArch`) and `compare.go` (`platformVector`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A platform in Go's words, e.g. `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    /// Empty for the common one of an architecture.
    pub variant: String,
}

/// As manifests write it; a version of the system and features do not matter on Linux.
#[derive(Deserialize)]
struct Written {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
}

impl From<Written> for Platform {
    fn from(written: Written) -> Self {
        Self::new(written.os.as_deref(), written.architecture.as_deref(), written.variant.as_deref())
    }
}

impl Platform {
    /// From names as different tools write them.
    pub fn new(os: Option<&str>, architecture: Option<&str>, variant: Option<&str>) -> Self {
        let word = |text: Option<&str>| text.unwrap_or_default().trim().to_ascii_lowercase();
        let os = match word(os).as_str() {
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) = normalized(&word(architecture), &word(variant));
        Self { os, architecture, variant }
    }

    /// From `os/architecture[/variant]`, or an architecture alone.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        match parts[..] {
            [""] => None,
            [architecture] => Some(Self::new(None, Some(architecture), None)),
            [os, architecture] => Some(Self::new(Some(os), Some(architecture), None)),
            [os, architecture, variant] => Some(Self::new(Some(os), Some(architecture), Some(variant))),
            _ => None,
        }
    }

    /// This machine's.
    pub fn node() -> Self {
        Self::new(Some("linux"), Some(std::env::consts::ARCH), None)
    }

    pub(crate) fn is_linux(&self) -> bool {
        self.os == "linux"
    }

    /// As attestations have it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }

    /// Whether it says what it is at all.
    pub(crate) fn is_told(&self) -> bool {
        !self.architecture.is_empty()
    }

    /// How well this stands in for `wanted`: 0 is the very one, greater is worse; `None`: it does not run there.
    pub(crate) fn rank_for(&self, wanted: &Self) -> Option<usize> {
        if self.os != wanted.os {
            return None;
        }
        stand_ins(&wanted.architecture, &wanted.variant)
            .iter()
            .position(|(architecture, variant)| (*architecture, variant) == (self.architecture.as_str(), &self.variant))
    }

    /// This architecture in the words of Debian's packages.
    pub(crate) fn debian_architecture(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("386", _) => "i386",
            ("arm", "v5" | "v6") => "armel",
            ("arm", _) => "armhf",
            ("ppc64le", _) => "ppc64el",
            ("mips64le", _) => "mips64el",
            ("mipsle", _) => "mipsel",
            ("loong64", _) => "loong64",
            (other, _) => other,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// Go's name of an architecture and its variant; with the names of Debian, of the kernel and of image tags.
fn normalized(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match architecture {
        "386" | "i386" | "i486" | "i586" | "i686" | "x86" => ("386", ""),
        "amd64" | "x86_64" | "x86-64" | "x64" => ("amd64", if variant == "v1" || variant == "1" { "" } else { variant }),
        "arm64" | "aarch64" | "arm64v8" => ("arm64", if matches!(variant, "8" | "v8" | "v8.0") { "" } else { variant }),
        "armhf" | "armv7l" | "arm32v7" => ("arm", "v7"),
        "armel" | "armv6l" | "arm32v6" => ("arm", "v6"),
        "arm32v5" => ("arm", "v5"),
        "arm" if variant.is_empty() => ("arm", "v7"),
        "ppc64le" | "ppc64el" | "powerpc64le" => ("ppc64le", variant),
        "powerpc64" => (if cfg!(target_endian = "little") { "ppc64le" } else { "ppc64" }, variant),
        "loong64" | "loongarch64" => ("loong64", variant),
        "mips64le" | "mips64el" => ("mips64le", variant),
        other => (other, variant),
    };
    let variant = if variant.starts_with(|c: char| c.is_ascii_digit()) { format!("v{variant}") } else { variant.to_owned() };
    (architecture.to_owned(), variant)
}

/// What runs on an architecture, the best first.
fn stand_ins<'a>(architecture: &'a str, variant: &str) -> Vec<(&'a str, String)> {
    let number = |variant: &str| variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok());
    let down = |from: u32, to: u32| (to..=from).rev().map(|number| format!("v{number}"));
    let mut all = vec![(architecture, variant.to_owned())];
    match architecture {
        "amd64" => {
            let lower = number(variant).unwrap_or(1).min(9);
            all.extend(down(lower.saturating_sub(1), 2).map(|variant| (architecture, variant)));
            if lower > 1 {
                all.push((architecture, String::new()));
            }
            all.push(("386", String::new()));
        }
        "arm" => all.extend(down(number(variant).unwrap_or(7).min(9).saturating_sub(1), 5).map(|variant| (architecture, variant))),
        "arm64" => {
            if !variant.is_empty() {
                all.push((architecture, String::new()));
            }
            all.extend(down(8, 5).map(|variant| ("arm", variant)));
        }
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn platforms_are_known_by_all_of_their_names() {
        for (written, known) in [
            ("Linux/x86_64", "linux/amd64"),
            ("linux/x86-64/v1", "linux/amd64"),
            ("LINUX/AMD64/V2", "linux/amd64/v2"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/i386", "linux/386"),
            ("linux/i686", "linux/386"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/ppc64el", "linux/ppc64le"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(platform(written).to_string(), known);
        }
        assert_eq!((Platform::parse(""), Platform::parse("a/b/c/d")), (None, None));
        assert!(Platform::node().is_linux() && Platform::node().is_told());
    }

    #[test]
    fn what_stands_in_for_a_platform_is_what_runs_there() {
        let best = |wanted: &str, there: &[&str]| {
            let ranked = there.iter().filter_map(|text| Some((platform(text).rank_for(&platform(wanted))?, *text)));
            ranked.min().map(|(_, text)| text.to_owned())
        };
        let best = |wanted, there: &[&str]| best(wanted, there).unwrap_or_default();
        assert_eq!(best("linux/amd64", &["linux/arm64", "linux/386", "linux/amd64"]), "linux/amd64");
        assert_eq!(best("linux/amd64", &["linux/arm64", "linux/386"]), "linux/386");
        assert_eq!(best("linux/amd64", &["linux/amd64/v3", "linux/arm64", "windows/amd64"]), "");
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"]), "linux/amd64/v2");
        assert_eq!(best("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"]), "linux/arm/v6");
        assert_eq!(best("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"]), "linux/arm/v5");
        assert_eq!(best("linux/arm64", &["linux/arm/v6", "linux/arm", "linux/amd64"]), "linux/arm");
        assert_eq!(best("linux/386", &["linux/amd64"]), "");
        assert_eq!(best("linux/s390x", &["linux/amd64", "linux/s390x"]), "linux/s390x");
    }

    #[test]
    fn packages_of_debian_have_the_architecture_of_the_image() {
        let debian = |text: &str| platform(text).debian_architecture().to_owned();
        let names = ["linux/amd64", "linux/arm64", "linux/386", "linux/arm/v7", "linux/arm/v6", "linux/ppc64le", "linux/s390x"].map(debian);
        assert_eq!(names, ["amd64", "arm64", "i386", "armhf", "armel", "ppc64el", "s390x"]);
    }
}
