//! The operating system inside an unpacked image.

use crate::inside;
use scap::report::OperatingSystem;
use std::collections::HashMap;
use std::path::Path;

const MAX_FILE_BYTES: u64 = 64 << 10;
const MAX_VALUE_CHARS: usize = 256;

/// Reads os-release, or else the distribution's older version files; `None` when the image holds no operating system.
///
/// Nothing outside `root` is read, whatever the image's links say. Blocking.
///
/// Source: os-release(5).
pub fn read(root: &Path) -> Option<OperatingSystem> {
    ["etc/os-release", "usr/lib/os-release"]
        .into_iter()
        .find_map(|path| text(root, path).and_then(|text| from_os_release(&text)))
        .or_else(|| from_debian_version(&text(root, "etc/debian_version")?))
        .or_else(|| from_alpine_release(&text(root, "etc/alpine-release")?))
        .or_else(|| from_redhat_release(&text(root, "etc/redhat-release")?))
}

fn text(root: &Path, path: &str) -> Option<String> {
    let bytes = inside::read(root, path, MAX_FILE_BYTES).ok()??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `None` when the text names no system at all.
fn from_os_release(text: &str) -> Option<OperatingSystem> {
    let fields: HashMap<&str, String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), unquote(value.trim())))
        .collect();
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if !["ID", "NAME", "PRETTY_NAME"].iter().any(|name| fields.contains_key(name)) {
        return None;
    }
    let id = if field("ID").is_empty() { "linux".to_owned() } else { field("ID").to_ascii_lowercase() };
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
            ('\\', None | Some('"')) => out.extend(chars.next()),
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

/// `12.5`, or `trixie/sid`, which tells no version.
fn from_debian_version(text: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    let major = line.split('.').next().filter(|major| major.parse::<u32>().is_ok()).unwrap_or_default();
    Some(OperatingSystem { id: "debian".into(), version_id: major.into(), pretty_name: format!("Debian GNU/Linux {line}"), id_like: Vec::new() })
}

/// `3.18.4`.
fn from_alpine_release(text: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    Some(OperatingSystem { id: "alpine".into(), pretty_name: format!("Alpine Linux v{line}"), version_id: line, id_like: Vec::new() })
}

/// `CentOS Linux release 7.9.2009 (Core)`.
fn from_redhat_release(text: &str) -> Option<OperatingSystem> {
    let line = first_line(text)?;
    let names = [("CentOS", "centos"), ("Red Hat", "rhel"), ("Rocky", "rocky"), ("AlmaLinux", "almalinux"), ("Fedora", "fedora"), ("Oracle", "ol")];
    let id = names.iter().find(|(prefix, _)| line.starts_with(prefix)).map_or("linux", |(_, id)| id);
    let version = line.split_once(" release ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
    Some(OperatingSystem { id: id.into(), version_id: version.into(), pretty_name: line.clone(), id_like: vec!["rhel".into(), "fedora".into()] })
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
