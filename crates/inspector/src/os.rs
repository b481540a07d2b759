//! The operating system inside an unpacked image.

mod release;

use crate::inside;
use scap::report::OperatingSystem;
use std::collections::HashMap;
use std::path::Path;

const MAX_FILE_BYTES: u64 = 64 << 10;
const MAX_VALUE_CHARS: usize = 256;
/// What os-release(5) calls a system that does not say its name.
const UNNAMED: &str = "linux";

/// Reads os-release, or else the distribution's older version files; `None` when the image holds no operating system.
///
/// Nothing outside `root` is read, whatever the image's links say. Blocking.
///
/// Source: os-release(5).
pub fn read(root: &Path) -> Option<OperatingSystem> {
    let told: Vec<OperatingSystem> = ["etc/os-release", "usr/lib/os-release"].into_iter().filter_map(|path| from_os_release(&text(root, path)?)).collect();
    // One that names no system is a last resort.
    let says_nothing = |os: &OperatingSystem| os.id == UNNAMED || os.id == "unknown";
    let unnamed = told.iter().position(says_nothing);
    let mut named = told.iter().filter(|os| !says_nothing(os));
    named.next().cloned().or_else(|| release::read(root)).or_else(|| unnamed.map(|at| told[at].clone()))
}

fn text(root: &Path, path: &str) -> Option<String> {
    let bytes = inside::read(root, path, MAX_FILE_BYTES).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Assignments as a shell would read them: of a name that occurs twice the last one counts.
fn fields(text: &str) -> HashMap<&str, String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), unquote(value.trim())))
        .collect()
}

/// `None` when the text names no system at all.
fn from_os_release(text: &str) -> Option<OperatingSystem> {
    let fields = fields(text);
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if !["ID", "NAME", "PRETTY_NAME"].iter().any(|name| fields.contains_key(name)) {
        return None;
    }
    let id = if field("ID").is_empty() { UNNAMED.to_owned() } else { field("ID").to_ascii_lowercase() };
    let name = if field("NAME").is_empty() { id.clone() } else { field("NAME") };
    let pretty_name = if field("PRETTY_NAME").is_empty() { format!("{name} {}", field("VERSION_ID")).trim().to_owned() } else { field("PRETTY_NAME") };
    let id_like = field("ID_LIKE").split_whitespace().map(str::to_owned).collect();
    Some(OperatingSystem { id, version_id: field("VERSION_ID"), pretty_name, id_like })
}

/// A value as a shell would read it: quotes removed, backslashes resolved, nothing expanded.
fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None) => out.extend(chars.next()),
            ('\\', Some('"')) => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => out.push(escaped),
                // Others keep the backslash.
                other => out.extend(['\\'].into_iter().chain(other)),
            },
            (c, None) if c.is_whitespace() => break,
            (c, _) => out.push(c),
        }
    }
    out.chars().filter(|c| !c.is_control()).take(MAX_VALUE_CHARS).collect()
}

fn first_line(text: &str) -> Option<String> {
    let line: String = text.lines().next()?.trim().chars().filter(|c| !c.is_control()).take(MAX_VALUE_CHARS).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("root").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn os_release_is_read_with_the_quoting_of_a_shell() {
        let dir = image(&[(
            "usr/lib/os-release",
            "# a comment\nNAME='Some \"Linux\"'\nID=Rocky\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.3\"\nPRETTY_NAME=\"A \\\"quoted\\\" \\$name\" trailing\n",
        )]);
        let os = read(&dir.path().join("root")).unwrap();
        assert_eq!(os.id, "rocky");
        assert_eq!(os.version_id, "9.3");
        assert_eq!(os.pretty_name, "A \"quoted\" $name");
        assert_eq!(os.id_like, ["rhel", "centos", "fedora"]);
    }

    #[test]
    fn older_version_files_name_the_system_when_os_release_does_not() {
        let debian = image(&[("etc/os-release", "garbage\n"), ("etc/debian_version", "12.5\n")]);
        assert_eq!(read(&debian.path().join("root")).unwrap().version_id, "12");
        let centos = image(&[("etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)\n")]);
        let os = read(&centos.path().join("root")).unwrap();
        assert_eq!((os.id.as_str(), os.version_id.as_str()), ("centos", "7.9.2009"));
    }

    fn told(files: &[(&str, &str)]) -> (String, String) {
        let os = read(&image(files).path().join("root")).unwrap();
        (os.id, os.version_id)
    }

    fn pair(id: &str, version: &str) -> (String, String) {
        (id.to_owned(), version.to_owned())
    }

    #[test]
    fn os_release_is_read_however_it_was_written() {
        for text in [
            "\u{feff}ID=debian\r\nVERSION_ID=\"12\"\r\n",
            "ID=ubuntu\nID='debian'\nVERSION_ID=11\nVERSION_ID=12",
            "#ID=x\n  ID=\"Debian\"  \nVERSION_ID=12 # the twelfth\n\n=\nno assignment\n",
        ] {
            assert_eq!(told(&[("etc/os-release", text)]), pair("debian", "12"), "{text}");
        }
        let os = read(&image(&[("etc/os-release", "ID=x\nPRETTY_NAME=\"a\\nb \\\"c\\\" \\`d\"\n")]).path().join("root")).unwrap();
        assert_eq!(os.pretty_name, "a\\nb \"c\" `d");
    }

    #[test]
    fn the_second_os_release_counts_when_the_first_says_nothing() {
        let vendor = ("usr/lib/os-release", "ID=fedora\nVERSION_ID=40\n");
        assert_eq!(told(&[vendor]), pair("fedora", "40"));
        for first in ["", "\n\n", "garbage", "NAME=Unknown\n"] {
            assert_eq!(told(&[("etc/os-release", first), vendor]), pair("fedora", "40"), "{first}");
        }
        assert_eq!(told(&[("etc/os-release", "ID=debian\n"), vendor]), pair("debian", ""));
        let dangling = image(&[vendor, ("etc/x", "")]);
        std::os::unix::fs::symlink("../nowhere", dangling.path().join("root/etc/os-release")).unwrap();
        assert_eq!(read(&dangling.path().join("root")).unwrap().id, "fedora");
        let looped = image(&[vendor, ("etc/x", "")]);
        std::os::unix::fs::symlink("os-release", looped.path().join("root/etc/os-release")).unwrap();
        assert_eq!(read(&looped.path().join("root")).unwrap().id, "fedora");
        assert_eq!(told(&[("etc/os-release", "NAME=Thing\n"), ("etc/redhat-release", "CentOS release 6.10 (Final)\n")]), pair("centos", "6.10"));
        assert_eq!(told(&[("etc/os-release", "ID=unknown\nVERSION_ID=unknown\n"), ("etc/alpine-release", "3.19.1\n")]), pair("alpine", "3.19.1"));
        assert_eq!(told(&[("etc/os-release", "NAME=Thing\nVERSION_ID=3\n")]), pair("linux", "3"), "a nameless one is better than none");
    }

    #[test]
    fn release_files_are_read_in_the_order_that_tells_rebuilds_from_what_they_rebuild() {
        let rhel = ("etc/redhat-release", "Red Hat Enterprise Linux Server release 5.11 (Tikanga)\n");
        assert_eq!(told(&[("etc/oracle-release", "Oracle Linux Server release 5.11\n"), rhel]), pair("ol", "5.11"));
        assert_eq!(told(&[("etc/enterprise-release", "Enterprise Linux Enterprise Linux Server release 5 (Carthage)\n"), rhel]), pair("ol", "5"));
        assert_eq!(told(&[rhel]), pair("rhel", "5.11"));
        assert_eq!(told(&[("etc/system-release", rhel.1)]), pair("rhel", "5.11"));
        for (file, text, id, version) in [
            ("redhat-release", "CentOS Linux release 7.9.2009 (Core)", "centos", "7.9.2009"),
            ("centos-release", "CentOS Stream release 8", "centos", "8"),
            ("redhat-release", "Rocky Linux release 8.9 (Green Obsidian)", "rocky", "8.9"),
            ("redhat-release", "AlmaLinux release 9.3 (Shamrock Pampas Cat)", "almalinux", "9.3"),
            ("fedora-release", "Fedora release 20 (Heisenbug)", "fedora", "20"),
            ("redhat-release", "Scientific Linux release 6.10 (Carbon)", "scientific", "6.10"),
            ("redhat-release", "Oracle Linux Server release 6.10", "ol", "6.10"),
            ("system-release", "Amazon Linux AMI release 2018.03", "amzn", "2018.03"),
            ("system-release", "Amazon Linux release 2 (Karoo)", "amzn", "2"),
            ("redhat-release", "CloudLinux Server release 6.10 (Final)", "cloudlinux", "6.10"),
            ("openEuler-release", "openEuler release 22.03 (LTS-SP1)", "openeuler", "22.03"),
            ("redhat-release", "Somebody's Linux release 3", "linux", "3"),
            ("SuSE-release", "SUSE Linux Enterprise Server 11 (x86_64)\nVERSION = 11\nPATCHLEVEL = 4", "sles", "11.4"),
            ("SuSE-release", "openSUSE 13.1 (x86_64)\nVERSION = 13.1\nCODENAME = Bottle", "opensuse", "13.1"),
            ("photon-release", "VMware Photon Linux 1.0\nPHOTON_BUILD_NUMBER=62c543d", "photon", "1.0"),
            ("mariner-release", "CBL-Mariner 2.0.20230721\nMARINER_BUILD_NUMBER=x", "mariner", "2.0.20230721"),
            ("lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=14.04\nDISTRIB_DESCRIPTION=\"Ubuntu 14.04.6 LTS\"", "ubuntu", "14.04"),
            ("alpine-release", "3.18.4", "alpine", "3.18.4"),
            ("debian_version", "12.5", "debian", "12"),
            ("debian_version", "trixie/sid", "debian", ""),
            ("arch-release", "", "arch", ""),
            ("gentoo-release", "Gentoo Base System release 2.14", "gentoo", "2.14"),
            ("slackware-version", "Slackware 15.0", "slackware", "15.0"),
        ] {
            assert_eq!(told(&[(&format!("etc/{file}"), text)]), pair(id, version), "{file}: {text}");
        }
        let ubuntu = ("etc/lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=12.04\n");
        assert_eq!(told(&[ubuntu, ("etc/debian_version", "wheezy/sid\n")]), pair("ubuntu", "12.04"));
        let os = read(&image(&[("etc/oracle-release", "Oracle Linux Server release 5.11\n")]).path().join("root")).unwrap();
        assert_eq!((os.pretty_name.as_str(), os.id_like), ("Oracle Linux Server release 5.11", vec!["rhel".to_owned(), "fedora".to_owned()]));
    }

    #[test]
    fn an_image_without_any_of_the_files_has_no_operating_system() {
        assert_eq!(read(&image(&[("root", "")]).path().join("root")), None);
    }

    #[test]
    fn a_link_out_of_the_image_is_not_followed() {
        let dir = image(&[("etc/hosts", "")]);
        std::fs::write(dir.path().join("outside"), "ID=host\n").unwrap();
        std::os::unix::fs::symlink("../../outside", dir.path().join("root/etc/os-release")).unwrap();
        assert_eq!(read(&dir.path().join("root")), None);
    }
}
