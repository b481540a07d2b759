//! Version files from before os-release(5), each distribution's own.
//!
//! A rebuild of Red Hat Enterprise Linux has Red Hat's file too, so the file that only the rebuild has comes first.

use super::{fields, first_line, text};
use scap::report::OperatingSystem;
use std::path::Path;

/// Files whose first line is a sentence like `CentOS Linux release 7.9.2009 (Core)`, with whose they are when the sentence does not tell.
const SENTENCES: [(&str, &str); 19] = [
    ("oracle-release", "ol"),
    ("enterprise-release", "ol"),
    ("centos-release", "centos"),
    ("rocky-release", "rocky"),
    ("almalinux-release", "almalinux"),
    ("cloudlinux-release", "cloudlinux"),
    ("sl-release", "scientific"),
    ("fedora-release", "fedora"),
    ("anolis-release", "anolis"),
    ("openEuler-release", "openeuler"),
    ("euleros-release", "euleros"),
    ("kylin-release", "kylin"),
    ("photon-release", "photon"),
    ("azurelinux-release", "azurelinux"),
    ("mariner-release", "mariner"),
    ("SuSE-release", "suse"),
    ("system-release", "linux"),
    ("redhat-release", "linux"),
    ("gentoo-release", "gentoo"),
];

/// How the sentences begin.
const NAMES: [(&str, &str); 22] = [
    ("CentOS", "centos"),
    ("Red Hat Enterprise Linux", "rhel"),
    ("Red Hat Linux", "redhat"),
    ("Rocky", "rocky"),
    ("AlmaLinux", "almalinux"),
    ("Fedora", "fedora"),
    ("Oracle", "ol"),
    ("Enterprise Linux Enterprise Linux", "ol"),
    ("Scientific Linux", "scientific"),
    ("CloudLinux", "cloudlinux"),
    ("Amazon Linux", "amzn"),
    ("openEuler", "openeuler"),
    ("EulerOS", "euleros"),
    ("Anolis", "anolis"),
    ("Kylin", "kylin"),
    ("VMware Photon", "photon"),
    ("CBL-Mariner", "mariner"),
    ("Azure Linux", "azurelinux"),
    ("SUSE Linux Enterprise Server", "sles"),
    ("SUSE Linux Enterprise Desktop", "sled"),
    ("openSUSE", "opensuse"),
    ("Red Hat", "rhel"),
];

/// Reads the version files; `None` when there is none.
pub(super) fn read(root: &Path) -> Option<OperatingSystem> {
    let etc = |file: &str| text(root, &format!("etc/{file}"));
    SENTENCES
        .iter()
        .find_map(|(file, owner)| from_sentence(&etc(file)?, owner))
        .or_else(|| from_lsb_release(&etc("lsb-release")?))
        .or_else(|| from_alpine_release(&etc("alpine-release")?))
        .or_else(|| from_debian_version(&etc("debian_version")?))
        .or_else(|| from_sentence(&etc("slackware-version")?, "slackware"))
        // Arch has no versions, and often nothing in its file.
        .or_else(|| etc("arch-release").map(|_| system("arch", "", "Arch Linux".into())))
}

fn from_sentence(text: &str, owner: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    let id = NAMES.iter().find(|(start, _)| line.starts_with(start)).map_or(owner, |(_, id)| id);
    let after_release = line.split_once(" release ").and_then(|(_, rest)| rest.split_whitespace().next());
    let number = || line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = suse_version(text).or_else(|| after_release.or_else(number).map(str::to_owned)).unwrap_or_default();
    Some(system(id, &version, line))
}

/// SUSE's file goes on with `VERSION = 11` and `PATCHLEVEL = 4`.
fn suse_version(text: &str) -> Option<String> {
    let fields = fields(text);
    let version = fields.get("VERSION").filter(|version| !version.is_empty())?;
    Some(match fields.get("PATCHLEVEL").filter(|level| !matches!(level.as_str(), "" | "0")) {
        Some(level) => format!("{version}.{level}"),
        None => version.clone(),
    })
}

/// Ubuntu's, and that of systems made from it.
fn from_lsb_release(text: &str) -> Option<OperatingSystem> {
    let fields = fields(text);
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let (name, version) = (field("DISTRIB_ID"), field("DISTRIB_RELEASE"));
    if name.is_empty() {
        return None;
    }
    let pretty = if field("DISTRIB_DESCRIPTION").is_empty() { format!("{name} {version}").trim().to_owned() } else { field("DISTRIB_DESCRIPTION") };
    Some(system(&name.to_ascii_lowercase(), &version, pretty))
}

/// `12.5`, or `trixie/sid`, which tells no version.
fn from_debian_version(text: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    let major = line.split('.').next().filter(|major| major.parse::<u32>().is_ok()).unwrap_or_default();
    Some(system("debian", major, format!("Debian GNU/Linux {line}")))
}

/// `3.18.4`.
fn from_alpine_release(text: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    Some(system("alpine", &line, format!("Alpine Linux v{line}")))
}

fn system(id: &str, version: &str, pretty_name: String) -> OperatingSystem {
    let like: &[&str] = match id {
        "rhel" => &["fedora"],
        "sles" | "sled" | "opensuse" => &["suse"],
        "ubuntu" => &["debian"],
        "linuxmint" => &["ubuntu", "debian"],
        "debian" | "alpine" | "arch" | "gentoo" | "slackware" | "fedora" | "photon" | "mariner" | "azurelinux" | "suse" | "redhat" => &[],
        // All others are made from Red Hat's, or look like it.
        _ => &["rhel", "fedora"],
    };
    OperatingSystem { id: id.into(), version_id: version.into(), pretty_name, id_like: like.iter().map(|id| (*id).to_owned()).collect() }
}
