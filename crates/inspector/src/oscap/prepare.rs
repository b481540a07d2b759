//! What OpenSCAP needs in the root and images do not have, or not in a form that it reads.

use crate::inside;
use crate::packages::dpkg::{self, Installed};
use crate::packages::rpm;
use scap::feed::{SourceEntry, is_source_entry};
use scap::report::PackageDatabase;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Puts what is missing into `root`; what is there stays as it is, but for the package databases, which must say to OpenSCAP what they say to us.
///
/// * `run/.containerenv`: rules for machines (partitions, boot loaders) see that this is a container and do not fail falsely.
/// * `proc/mounts`: without it, walks over "local file systems" find nothing and pass falsely.
/// * `var/lib/dpkg/status`: all that `packages::dpkg` read, in the one form that OpenSCAP takes. It drops held packages, does not read distroless images'
///   `status.d`, and finds nothing in a file whose fields or line ends are not exactly dpkg's own, all without a word.
/// * `rpmdb.sqlite` where the rpm database is: all of its packages, in the one format and with the indexes that OpenSCAP reads. `usr/lib/sysimage/rpm` goes
///   when the rpm database is elsewhere.
///
/// `sources`: packages besides those that are installed, for the status file. They are there until the result is dropped.
///
/// To be done before each evaluation; the second time changes nothing.
pub(super) fn complete(root: &Path, database: &PackageDatabase, sources: &[SourceEntry]) -> io::Result<Option<Sources>> {
    add(root, "run", ".containerenv", b"")?;
    add(root, "proc", "mounts", b"/dev/root / ext4 rw,relatime 0 0\n")?;
    // An unreadable database is left as it is: content that looks at packages is not run then.
    let mut shown = None;
    if let Ok(Some((_, installed))) = dpkg::installed(root)
        && !installed.is_empty()
    {
        let plain = status(&installed);
        let all = plain.clone() + &source_stanzas(sources);
        shown = write_status(root, &all)?.filter(|_| !sources.is_empty()).map(|path| Sources { path, plain });
    }
    if let PackageDatabase::Read { paths } = database {
        rpm::show(root, paths)?;
    }
    Ok(shown)
}

/// A status file that tells of sources too; dropped, it tells of what is installed alone, as every other content must find it.
pub(super) struct Sources {
    path: PathBuf,
    plain: String,
}

impl Drop for Sources {
    fn drop(&mut self) {
        if let Err(e) = fs::write(&self.path, &self.plain) {
            tracing::error!("the package database could not be restored: {e}");
        }
    }
}

/// Stanzas by which OpenSCAP finds a source package under its own name and version, although dpkg does not list such.
fn source_stanzas(sources: &[SourceEntry]) -> String {
    let mut text = String::new();
    for SourceEntry { name, version, .. } in sources {
        let _ = writeln!(text, "Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: {version}\n");
    }
    text
}

fn add(root: &Path, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    match in_folder(root, folder, name)? {
        Some(path) if path.symlink_metadata().is_err() => fs::write(path, bytes),
        _ => Ok(()),
    }
}

/// Where `name` is or would be in `folder`, which is made; `None` when something else is in its way.
fn in_folder(root: &Path, folder: &str, name: &str) -> io::Result<Option<PathBuf>> {
    if inside::locate(root, folder)?.is_none() {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(inside::locate(root, folder)?.map(|folder| folder.join(name)))
}

fn write_status(root: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    let Some(path) = in_folder(root, "var/lib/dpkg", "status")? else { return Ok(None) };
    inside::replace(&path, text.as_bytes())?;
    Ok(Some(path))
}

/// A status file as OpenSCAP's reader wants it: the name first, a status that begins with `install`, an architecture, a version, short lines.
///
/// It takes the first package that has a name, so of several versions the lowest comes first. Virtual packages are not known to it. The third word of the
/// status stays: it tells packages that are not installed whole.
///
/// Source: OpenSCAP 1.4.2, `src/OVAL/probes/unix/linux/dpkginfo-helper.c`.
fn status(installed: &[Installed]) -> String {
    let mut text = String::new();
    for Installed { package, state } in installed {
        let mut line = |field: &str, value: &str| {
            let _ = writeln!(text, "{field}: {value}");
        };
        line("Package", &package.name);
        // Without a version there is nothing to compare: OpenSCAP is not to see it, people are. Nor what pretends to be a source package's entry.
        let hidden = package.version.is_empty() || is_source_entry(&package.name);
        line("Status", &format!("{} ok {state}", if hidden { "deinstall" } else { "install" }));
        line("Architecture", dpkg::told_architecture(package));
        if !package.version.is_empty() {
            line("Version", &package.version);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::complete;
    use crate::packages::read;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    fn image(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn completed(root: &Path) -> String {
        let (database, packages) = read(root);
        complete(root, &database, &[]).unwrap();
        let once = fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap();
        complete(root, &database, &[]).unwrap();
        assert_eq!(once, fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap(), "a second time changes nothing");
        let names = |packages: Vec<scap::report::Package>| packages.into_iter().map(|package| (package.name, package.version)).collect::<Vec<_>>();
        assert_eq!(names(packages), names(read(root).1), "nor what is installed");
        once
    }

    #[test]
    fn openscap_is_shown_the_packages_that_we_read_in_one_plain_form() {
        let status = "PACKAGE:  held \r\nStatus: hold ok installed\r\nVersion: 4 \r\nArchitecture: amd64\r\nDescription: x\r\n more\r\n \r\n\
            Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: torn\nStatus: install reinstreq half-installed\n\n\
            Package: twice\nStatus: install ok installed\nVersion: 10\nArchitecture: i386\n\n\
            Package: twice\nStatus: install ok unpacked\nVersion: 9\nArchitecture: amd64\n";
        let image = image(&[("var/lib/dpkg/status", status), ("var/lib/dpkg/status.d/base", "Package: base\nVersion: 1\n")]);
        let inode = fs::metadata(image.path().join("var/lib/dpkg/status")).unwrap().ino();
        assert_eq!(
            completed(image.path()),
            "Package: base\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
             Package: held\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4\n\n\
             Package: torn\nStatus: deinstall ok half-installed\nArchitecture: all\n\n\
             Package: twice\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 9\n\n\
             Package: twice\nStatus: install ok installed\nArchitecture: i386\nVersion: 10\n\n"
        );
        assert_eq!(fs::metadata(image.path().join("var/lib/dpkg/status")).unwrap().ino(), inode, "owner and mode stay");
    }

    #[test]
    fn a_status_file_that_is_also_another_file_is_replaced_and_not_overwritten() {
        let text = "Package: a\nStatus: hold ok installed\nVersion: 1\n";
        let image = image(&[("etc/shadow", text), ("var/lib/dpkg/x", "")]);
        let status = image.path().join("var/lib/dpkg/status");
        fs::hard_link(image.path().join("etc/shadow"), &status).unwrap();
        assert!(completed(image.path()).contains("install ok installed"));
        fs::remove_file(&status).unwrap();
        std::os::unix::fs::symlink("../../../etc/shadow", &status).unwrap();
        assert!(completed(image.path()).contains("install ok installed"));
        assert_eq!(fs::read_to_string(image.path().join("etc/shadow")).unwrap(), text);
    }

    #[test]
    fn a_damaged_status_file_stays_as_it_is() {
        let image = image(&[("var/lib/dpkg/status", "nonsense\n")]);
        complete(image.path(), &read(image.path()).0, &[]).unwrap();
        assert_eq!(fs::read_to_string(image.path().join("var/lib/dpkg/status")).unwrap(), "nonsense\n");
    }
}
