//! Where the image's own rpm says that its database is.
//!
//! Source: rpm, `macros.in` (`_dbpath`), `rpmrc.c` (order of macro files).

use crate::inside;
use std::path::Path;

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 200;
/// In the order in which rpm reads them; of `*` all files that begin so.
const FILES: [&str; 6] =
    ["usr/lib/rpm/macros", "usr/lib/rpm/macros.d/macros.*", "usr/lib/rpm/redhat/macros", "usr/lib/rpm/suse/macros", "etc/rpm/macros.*", "etc/rpm/macros"];
/// Macros that occur in it, with what they are everywhere.
const KNOWN: [(&str, &str); 8] = [
    ("_var", "/var"),
    ("_localstatedir", "/var"),
    ("_sharedstatedir", "/var/lib"),
    ("_usr", "/usr"),
    ("_prefix", "/usr"),
    ("_exec_prefix", "/usr"),
    ("_datadir", "/usr/share"),
    ("_sysconfdir", "/etc"),
];

/// The folder, from the root on without a slash; `None` when nothing names one that can be understood.
pub(super) fn database_folder(root: &Path) -> Option<String> {
    let named = |file: String| {
        let text = inside::read(root, &file, MAX_FILE_BYTES).ok()??;
        String::from_utf8_lossy(&text).lines().filter_map(value).next_back().map(str::to_owned)
    };
    let last = FILES.iter().flat_map(|file| files(root, file)).take(MAX_FILES).filter_map(named).last()?;
    let path = expand(&last)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (path.starts_with('/') && !parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn files(root: &Path, file: &str) -> Vec<String> {
    let Some(start) = file.strip_suffix('*') else { return vec![file.to_owned()] };
    let Some((folder, start)) = start.rsplit_once('/') else { return Vec::new() };
    let Some(entries) = inside::locate(root, folder).ok().flatten().and_then(|folder| folder.read_dir().ok()) else { return Vec::new() };
    let names = entries.flatten().take(MAX_FILES).filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(start));
    let mut files: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    files.sort();
    files
}

/// What a line gives `_dbpath`.
fn value(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("%_dbpath")?;
    rest.starts_with([' ', '\t']).then(|| rest.trim()).filter(|value| !value.is_empty())
}

fn expand(value: &str) -> Option<String> {
    let mut path = value.to_owned();
    for (name, meaning) in KNOWN {
        path = path.replace(&format!("%{{{name}}}"), meaning).replace(&format!("%{{?{name}}}"), meaning);
    }
    (!path.contains('%')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::database_folder;
    use std::fs;

    fn told(files: &[(&str, &str)]) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        database_folder(dir.path())
    }

    #[test]
    fn the_last_setting_that_rpm_reads_counts() {
        let folder = |text: &str| Some(text.to_owned());
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("usr/lib/rpm/macros", "%_dbpath\t\t%{_var}/lib/rpm\n%_dbpath_rebuild %{_dbpath}\n")]), folder("var/lib/rpm"));
        assert_eq!(
            told(&[("usr/lib/rpm/macros", "%_dbpath %{_usr}/lib/sysimage/rpm\n"), ("usr/lib/rpm/macros.d/macros.rpm-ostree", "%_dbpath /usr/share/rpm\n")]),
            folder("usr/share/rpm")
        );
        assert_eq!(told(&[("usr/lib/rpm/macros", "%_dbpath /a\n"), ("etc/rpm/macros", " %_dbpath  //b/./c/ \n")]), folder("b/c"));
        for odd in ["%_dbpath %(echo /x)\n", "%_dbpath relative\n", "%_dbpath /../x\n", "%_dbpath\n", "%_dbpath /\n", "# %_dbpath /x\n"] {
            assert_eq!(told(&[("usr/lib/rpm/macros", odd)]), None, "{odd}");
        }
    }
}
