//! Package managers that are known by name alone: an image of theirs is not one without packages.

use crate::inside;
use std::path::Path;

/// Where each keeps what is installed.
const DATABASES: [(&str, &str); 19] = [
    ("var/lib/pacman/local", "pacman"),
    ("usr/lib/opkg/status", "opkg"),
    ("var/lib/opkg/status", "opkg"),
    ("opt/lib/opkg/status", "opkg"),
    ("usr/lib/ipkg/status", "ipkg"),
    ("var/db/pkg", "Portage"),
    ("var/db/xbps", "XBPS"),
    ("nix/var/nix/db", "Nix"),
    ("nix/store", "Nix"),
    ("var/guix/db", "Guix"),
    ("gnu/store", "Guix"),
    ("var/lib/pkgtools/packages", "Slackware"),
    ("var/log/packages", "Slackware"),
    ("usr/share/clear/bundles", "swupd"),
    ("var/lib/eopkg/package", "eopkg"),
    ("var/lib/cards/DB", "cards"),
    ("var/lib/pisi/package", "pisi"),
    ("usr/share/rocks/dpkg.query", "Ubuntu's rocks"),
    ("lib/apk/db/installed.adb", "apk's binary form"),
];

/// The first database that is there and not empty, and whose it is.
pub(super) fn database(root: &Path) -> Option<(&'static str, &'static str)> {
    DATABASES.into_iter().find(|(path, _)| match inside::locate(root, path) {
        Ok(Some(real)) if real.is_dir() => real.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        Ok(Some(real)) => real.metadata().is_ok_and(|file| file.len() > 0),
        Ok(None) | Err(_) => false,
    })
}
