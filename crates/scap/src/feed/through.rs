//! Through which binary packages a definition about source packages concerns an image.

use super::source::{Source, sources};
use super::source_entry;
use crate::evaluation::ArfError;
use crate::report::Package;
use crate::text::{self, Form};
use crate::xml::{Ns, Token, Xml};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufRead;

/// Most binary packages of a source that are named.
const MAX_NAMED: usize = 8;

/// For each definition of `document` (OVAL, as [`super::Selection::document`]) that looks for installed source packages: a sentence with them and their
/// binary packages. Definitions about binary packages are not in it.
///
/// # Errors
/// The document is not well-formed.
pub fn through(document: impl BufRead, packages: &[Package]) -> Result<BTreeMap<String, String>, ArfError> {
    let entries: HashMap<String, String> = sources(packages).iter().map(|(name, source)| (source_entry(name), name_packages(name, source))).collect();
    let document = Document::read(document)?;
    let sentences = document.definitions.iter().filter_map(|(id, tests)| {
        let objects = tests.iter().filter_map(|test| document.tests.get(test)).flatten();
        let found: BTreeSet<&str> = objects.filter_map(|object| document.objects.get(object)).map(String::as_str).collect();
        let words: Vec<&str> = found.iter().filter_map(|name| entries.get(*name)).map(String::as_str).collect();
        (!words.is_empty()).then(|| (id.clone(), format!("Through {}.", words.join("; "))))
    });
    Ok(sentences.collect())
}

/// `libc-bin, libc6 (of the source package glibc 2.36-9+deb12u10)`.
fn name_packages(name: &str, source: &Source<'_>) -> String {
    let names: BTreeSet<&str> = source.packages.iter().map(|package| package.name.as_str()).collect();
    let mut named = names.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMED {
        named += &format!(" and {} more", names.len() - MAX_NAMED);
    }
    format!("{named} (of the source package {name} {})", source.version)
}

/// What refers to what in an OVAL document, by id.
#[derive(Default)]
struct Document {
    /// Definition → its tests.
    definitions: HashMap<String, Vec<String>>,
    /// Test → its objects.
    tests: HashMap<String, Vec<String>>,
    /// Object → the name that it looks for.
    objects: HashMap<String, String>,
}

impl Document {
    fn read(input: impl BufRead) -> Result<Self, ArfError> {
        let (mut xml, mut document) = (Xml::new(input), Self::default());
        let (mut definition, mut test, mut object) = (String::new(), String::new(), String::new());
        loop {
            let start = match xml.next()? {
                Token::Start(start) => start,
                Token::Eof => return Ok(document),
                _ => continue,
            };
            match start.local() {
                "definition" if start.ns == Ns::OvalDefinitions => definition = start.attr("id")?,
                "criterion" => document.definitions.entry(definition.clone()).or_default().push(start.attr("test_ref")?),
                "object" => document.tests.entry(test.clone()).or_default().push(start.attr("object_ref")?),
                name if name.ends_with("_test") => test = start.attr("id")?,
                name if name.ends_with("_object") => object = start.attr("id")?,
                "name" if !object.is_empty() => {
                    let name = text::read(&mut xml, Form::Prose)?;
                    document.objects.entry(std::mem::take(&mut object)).or_insert(name);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::PackageKind;

    fn package(name: &str, source: &str) -> Package {
        Package {
            kind: PackageKind::Deb,
            name: name.into(),
            version: "2".into(),
            architecture: "amd64".into(),
            source: source.into(),
            source_version: if source.is_empty() { String::new() } else { "1".into() },
            vendor: String::new(),
            summary: String::new(),
        }
    }

    #[test]
    fn a_definition_about_a_source_names_the_binary_packages_that_are_installed() {
        let document = r##"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:l="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux">
            <definitions>
            <definition id="d:1"><metadata><title>x</title></metadata><criteria><criterion test_ref="t:1"/><criterion test_ref="t:2"/></criteria></definition>
            <definition id="d:2"><criteria><criterion test_ref="t:3"/></criteria></definition></definitions>
            <tests><l:dpkginfo_test id="t:1"><l:object object_ref="o:1"/></l:dpkginfo_test><l:dpkginfo_test id="t:2"><l:object object_ref="o:2"/></l:dpkginfo_test>
            <l:dpkginfo_test id="t:3"><l:object object_ref="o:3"/></l:dpkginfo_test></tests>
            <objects><l:dpkginfo_object id="o:1"><l:name>source_glibc</l:name></l:dpkginfo_object><l:dpkginfo_object id="o:2"><l:name>source_absent</l:name></l:dpkginfo_object>
            <l:dpkginfo_object id="o:3"><l:name>bash</l:name></l:dpkginfo_object></objects></oval_definitions>"##;
        let packages = [package("libc6", "glibc"), package("libc-bin", "glibc"), package("bash", "")];
        let found = through(document.as_bytes(), &packages).unwrap();
        assert_eq!(found, BTreeMap::from([("d:1".to_owned(), "Through libc-bin, libc6 (of the source package glibc 1).".to_owned())]));
    }
}
