//! The list of packages in images of CBL-Mariner and Azure Linux that have no rpm database.
//!
//! Source: microsoft/azurelinux, `toolkit/.../distroless` (`rpm -qa` with a format of tab-separated fields).

use super::super::{MAX_PACKAGES, Unreadable};
use super::{I18N_STRING, INT32, STRING, tag};
use crate::inside;
use std::path::Path;

/// The newer list has all fields; the older one only what rpm prints by itself.
const FILES: [&str; 2] = ["var/lib/rpmmanifest/container-manifest-2", "var/lib/rpmmanifest/container-manifest-1"];
const MAX_BYTES: u64 = 32 << 20;

pub(super) fn is_manifest(path: &str) -> bool {
    FILES.contains(&path)
}

/// The list's path, and for each package a header as rpm would write it.
type Listed = (String, Vec<Vec<u8>>);

/// What the list names; `None` when there is none.
pub(super) fn headers(root: &Path) -> Result<Option<Listed>, Unreadable> {
    for path in FILES {
        let Some(bytes) = inside::read(root, path, MAX_BYTES).map_err(Unreadable::io(path))? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let mut headers = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let entry = if line.contains('\t') { tabbed(line) } else { plain(line) };
            headers.push(header(&entry.ok_or_else(|| Unreadable::new(path, format!("line {} describes no package", number + 1)))?));
            if headers.len() > MAX_PACKAGES {
                return Err(Unreadable::new(path, "it names more than 100,000 packages"));
            }
        }
        return Ok(Some((path.to_owned(), headers)));
    }
    Ok(None)
}

struct Entry<'a> {
    name: &'a str,
    version: &'a str,
    release: &'a str,
    epoch: Option<u32>,
    architecture: &'a str,
    vendor: &'a str,
    source: &'a str,
}

/// `name, version-release, installed, built, vendor, epoch, size, architecture, epoch as a number, source`.
fn tabbed(line: &str) -> Option<Entry<'_>> {
    let field: Vec<&str> = line.split('\t').map(|field| told(field.trim())).collect();
    let at = |number: usize| field.get(number).copied().unwrap_or_default();
    let (version, release) = at(1).rsplit_once('-')?;
    let epoch = at(8).parse().ok().or_else(|| at(5).parse().ok());
    complete(Entry { name: at(0), version, release, epoch, architecture: at(7), vendor: at(4), source: at(9) })
}

/// `name-version-release.architecture`.
fn plain(line: &str) -> Option<Entry<'_>> {
    let (package, architecture) = line.trim().rsplit_once('.')?;
    let mut parts = package.rsplitn(3, '-');
    let (release, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    complete(Entry { name, version, release, epoch: None, architecture, vendor: "", source: "" })
}

fn complete(entry: Entry<'_>) -> Option<Entry<'_>> {
    let whole = ![entry.name, entry.version, entry.release].contains(&"");
    whole.then_some(entry)
}

fn told(field: &str) -> &str {
    if field == "(none)" { "" } else { field }
}

fn header(entry: &Entry<'_>) -> Vec<u8> {
    let (mut index, mut data, mut count) = (Vec::new(), Vec::new(), 0u32);
    let mut add = |tag: u32, kind: u32, value: &[u8]| {
        if kind == INT32 {
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let offset = u32::try_from(data.len()).unwrap_or(u32::MAX);
        index.extend([tag, kind, offset, 1].iter().flat_map(|word| word.to_be_bytes()));
        data.extend_from_slice(value);
        if kind != INT32 {
            data.push(0);
        }
        count += 1;
    };
    add(tag::NAME, STRING, entry.name.as_bytes());
    add(tag::VERSION, STRING, entry.version.as_bytes());
    add(tag::RELEASE, STRING, entry.release.as_bytes());
    if let Some(epoch) = entry.epoch {
        add(tag::EPOCH, INT32, &epoch.to_be_bytes());
    }
    add(tag::SUMMARY, I18N_STRING, b"");
    add(tag::VENDOR, STRING, entry.vendor.as_bytes());
    add(tag::ARCH, STRING, entry.architecture.as_bytes());
    add(tag::SOURCERPM, STRING, entry.source.as_bytes());
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&count.to_be_bytes()[..], &length.to_be_bytes(), &index, &data].concat()
}
