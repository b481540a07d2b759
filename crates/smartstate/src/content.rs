//! Which content an image is checked with, by its operating system: benchmark, guide, vulnerability definitions.

use crate::feed::covers;
use crate::packed::{Packed, pack};
use anyhow::Context;
use scap::protocol::{Request, Source};
use scap::report::{Layer, OperatingSystem, PackageKind};
use serde::Deserialize;
use std::sync::OnceLock;

/// Our own benchmark, a SCAP data stream.
static BENCHMARK: &[u8] = include_bytes!("../content/benchmark/tidewaiter-image-ds.xml");
static GUIDES: &str = include_str!("../content/guides.toml");
const BENCHMARK_SECS: u64 = 300;
const GUIDE_SECS: u64 = 600;
pub(crate) const VULNERABILITIES_SECS: u64 = 600;
/// An HTML report per layer, after the layer's own time.
const HTML_SECS: u64 = 60;
/// Loading the definitions, choosing from them, and putting all content into the pod.
const CONTENT_SECS: u64 = 240;
/// All of it.
pub(crate) const EVALUATING_SECS: i64 = (BENCHMARK_SECS + GUIDE_SECS + VULNERABILITIES_SECS + 3 * HTML_SECS + CONTENT_SECS) as i64;
/// Why a layer of definitions that should be there is not; the report turns its layer into a failed one.
pub(crate) const NOT_LOADED: &str = "The vulnerability definitions could not be loaded: ";
pub(crate) const NO_SYSTEM: &str = "No operating system was found in the image.";

/// A row of guides.toml: the SCAP Security Guide stream (in the inspector's image) and profile of a distribution's release.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Guide {
    id: String,
    version: String,
    stream: String,
    profile: String,
    #[serde(default)]
    title: String,
}

#[derive(Deserialize)]
struct Guides {
    #[serde(default)]
    guide: Vec<Guide>,
}

/// What to put into the pod, and what to ask of it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub files: Vec<Packed>,
    pub layers: Vec<Request>,
}

/// The three layers for an operating system; always three, those without content with the reason why.
///
/// `vulnerabilities`: the third, as [`crate::choice`] makes it.
///
/// # Errors
/// The built-in content is damaged.
pub(crate) fn plan(os: Option<&OperatingSystem>, vulnerabilities: (Request, Option<Packed>)) -> anyhow::Result<Plan> {
    let benchmark = benchmark()?;
    let (request, file) = vulnerabilities;
    let layers = vec![benchmark_request(&benchmark), guide_request(os)?, request];
    Ok(Plan { layers, files: std::iter::once(benchmark).chain(file).collect() })
}

fn benchmark() -> anyhow::Result<Packed> {
    static PACKED: OnceLock<Packed> = OnceLock::new();
    if let Some(packed) = PACKED.get() {
        return Ok(packed.clone());
    }
    let packed = pack(BENCHMARK).context("packing the benchmark")?;
    Ok(PACKED.get_or_init(|| packed).clone())
}

fn benchmark_request(packed: &Packed) -> Request {
    Request {
        layer: Layer::Benchmark,
        source: Some(Source::DataStream { sha256: packed.sha256.clone() }),
        reason: String::new(),
        profile: String::new(),
        title: "Tidewaiter image benchmark".into(),
        needs_packages: vec![],
        limit_secs: BENCHMARK_SECS,
        chosen: None,
    }
}

fn guide_request(os: Option<&OperatingSystem>) -> anyhow::Result<Request> {
    static GUIDE_TABLE: OnceLock<Vec<Guide>> = OnceLock::new();
    let table = match GUIDE_TABLE.get() {
        Some(table) => table,
        None => {
            let guides: Guides = toml::from_str(GUIDES).context("reading guides.toml")?;
            GUIDE_TABLE.get_or_init(|| guides.guide)
        }
    };
    Ok(match os {
        None => without(Layer::Guide, NO_SYSTEM.into()),
        Some(os) => match find_guide(table, os) {
            None => without(Layer::Guide, format!("The SCAP Security Guide has no content for {}.", name(os))),
            Some(guide) => Request {
                layer: Layer::Guide,
                source: Some(Source::Baked { file: guide.stream.clone() }),
                reason: String::new(),
                profile: guide.profile.clone(),
                title: if guide.title.is_empty() { format!("SCAP Security Guide for {} {}", guide.id, guide.version) } else { guide.title.clone() },
                needs_packages: package_kinds(os),
                limit_secs: GUIDE_SECS,
                chosen: None,
            },
        },
    })
}

/// The distribution's own row, else that of the first it says it is like.
fn find_guide<'a>(table: &'a [Guide], os: &OperatingSystem) -> Option<&'a Guide> {
    names(os).find_map(|id| table.iter().find(|guide| guide.id.eq_ignore_ascii_case(id) && covers(&guide.version, &os.version_id)))
}

/// What the system calls itself, and then what it is like.
fn names(os: &OperatingSystem) -> impl Iterator<Item = &String> {
    std::iter::once(&os.id).chain(&os.id_like)
}

/// The kinds of packages that content for a distribution checks; the two that OpenSCAP can read for one that is not known.
pub(crate) fn package_kinds(os: &OperatingSystem) -> Vec<PackageKind> {
    const DEB: &str = "debian ubuntu";
    const RPM: &str = "rhel centos fedora rocky almalinux ol amzn suse sles opensuse opensuse-leap sl-micro sle-micro alinux anolis openeuler kylin";
    const APK: &str = "alpine wolfi chainguard";
    let table = [(DEB, PackageKind::Deb), (RPM, PackageKind::Rpm), (APK, PackageKind::Apk)];
    let kind = names(os).find_map(|name| table.iter().find(|(ids, _)| ids.split(' ').any(|id| id.eq_ignore_ascii_case(name))));
    kind.map_or_else(|| vec![PackageKind::Deb, PackageKind::Rpm], |(_, kind)| vec![*kind])
}

pub(crate) fn without(layer: Layer, reason: String) -> Request {
    Request { layer, source: None, reason, profile: String::new(), title: String::new(), needs_packages: vec![], limit_secs: 1, chosen: None }
}

pub(crate) fn name(os: &OperatingSystem) -> String {
    if os.pretty_name.is_empty() { format!("{} {}", os.id, os.version_id) } else { os.pretty_name.clone() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(super) fn system(id: &str, version: &str, like: &[&str]) -> OperatingSystem {
        let id_like = like.iter().map(|&word| word.into()).collect();
        OperatingSystem { id: id.into(), version_id: version.into(), pretty_name: String::new(), id_like }
    }

    #[test]
    fn a_rebuild_is_checked_with_the_guide_of_what_it_is_like() {
        let row = |id: &str, version: &str| Guide {
            id: id.into(),
            version: version.into(),
            stream: format!("{id}{version}"),
            profile: String::new(),
            title: String::new(),
        };
        let table = [row("rhel", "9"), row("fedora", "40"), row("debian", "12"), row("openEuler", "22.03")];
        let found = |os: OperatingSystem| find_guide(&table, &os).map(|guide| guide.stream.clone());
        assert_eq!(found(system("rocky", "9.4", &["rhel", "centos", "fedora"])).as_deref(), Some("rhel9"));
        assert_eq!(found(system("debian", "12", &[])).as_deref(), Some("debian12"));
        assert_eq!(found(system("openeuler", "22.03", &[])).as_deref(), Some("openEuler22.03"), "capitals do not matter");
        assert_eq!(found(system("debian", "11", &[])), None);
        assert_eq!(found(system("arch", "", &[])), None);
    }

    #[test]
    fn content_needs_the_package_database_of_its_distribution() {
        let needed = |id: &str, like: &[&str]| package_kinds(&system(id, "1", like));
        assert_eq!(needed("debian", &[]), [PackageKind::Deb]);
        assert_eq!(needed("mint", &["ubuntu", "debian"]), [PackageKind::Deb]);
        assert_eq!(needed("Rocky", &["rhel"]), [PackageKind::Rpm]);
        assert_eq!(needed("alpine", &[]), [PackageKind::Apk]);
        assert_eq!(needed("plan9", &[]), [PackageKind::Deb, PackageKind::Rpm]);
        let guides: Guides = toml::from_str(GUIDES).unwrap();
        for Guide { id, .. } in guides.guide {
            assert_eq!(needed(&id, &[]).len(), 1, "{id}");
        }
    }
}
