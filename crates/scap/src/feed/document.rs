//! Writing OVAL documents from parts of the feed.

use super::choose::Image;
use super::item::{About, NodeKind, Section, Slot};
use super::limits::MAX_DOCUMENT_BYTES;
use super::question::{self, Questions};
use super::source::source_entry;
use super::{FeedError, Index, rewrite};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A document and what is in it.
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    /// Definitions of the feed that are in it.
    pub(super) definitions: BTreeSet<u32>,
    pub(super) source_definitions: usize,
}

/// What a document holds.
#[derive(Default)]
struct Content<'a> {
    definitions: BTreeSet<u32>,
    items: BTreeSet<u32>,
    /// Tests and objects that are written once more, for source packages.
    copies: BTreeMap<u32, &'a str>,
    /// By definition: its tests that mean sources, with their names.
    sources: BTreeMap<u32, BTreeMap<u32, &'a str>>,
}

impl Index {
    /// The document with the definitions `kept` and all that they refer to.
    pub(super) fn document(&self, image: &Image<'_>, kept: &BTreeSet<u32>) -> Result<Document, FeedError> {
        let mut content = Content::default();
        let mut open: Vec<u32> = kept.iter().copied().collect();
        while let Some(number) = open.pop() {
            if !content.definitions.insert(number) {
                continue;
            }
            let definition = &self.definitions[number as usize];
            for node in self.nodes_of(definition) {
                match node.kind {
                    NodeKind::Test(test) => match image.source_of(definition, test) {
                        Some(name) => self.add_source(number, test, name, &mut content),
                        None => self.add(test, &mut content.items),
                    },
                    NodeKind::Extend(id) => open.extend(if let Slot::Definition(other) = self.slots[id as usize] { Some(other) } else { None }),
                    _ => {}
                }
            }
        }
        let bytes = self.write(&content, image, &[])?;
        Ok(Document { bytes, source_definitions: content.sources.len(), definitions: content.definitions })
    }

    /// The document that asks for the tests `questions`.
    pub(super) fn ask(&self, image: &Image<'_>) -> Result<Questions, FeedError> {
        let mut content = Content::default();
        for test in &self.questions {
            self.add(*test, &mut content.items);
        }
        let definitions: Vec<String> =
            self.questions.iter().enumerate().map(|(place, test)| question::definition(place, &escaped(self.ids.word(*test)))).collect();
        let document = self.write(&content, image, &definitions)?;
        Ok(Questions { document, ids: (0..self.questions.len()).map(question::id).collect() })
    }

    /// Adds an item and all that it refers to.
    fn add(&self, id: u32, items: &mut BTreeSet<u32>) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Slot::Item(item) = self.slots[id as usize] else { continue };
            if items.insert(item) {
                open.extend(self.references_of(Slot::Item(item)));
            }
        }
    }

    /// Adds a test once more, with an object of its own that looks for a source package.
    fn add_source<'a>(&self, definition: u32, test: u32, name: &'a str, content: &mut Content<'a>) {
        let Slot::Item(item) = self.slots[test as usize] else { return };
        content.sources.entry(definition).or_default().insert(test, name);
        let object = self.object_of(test);
        for id in self.references_of(Slot::Item(item)) {
            match (object == Some(id), self.slots[id as usize]) {
                (true, Slot::Item(object)) => {
                    content.copies.insert(object, name);
                    // What else the object refers to; of its name's variable nothing is left.
                    self.references_of(Slot::Item(object)).into_iter().filter(|id| !self.is_variable(*id)).for_each(|id| self.add(id, &mut content.items));
                }
                _ => self.add(id, &mut content.items),
            }
        }
        content.copies.insert(item, name);
    }

    fn is_variable(&self, id: u32) -> bool {
        matches!(self.slots[id as usize], Slot::Item(item) if self.items[item as usize].section == Section::Variables)
    }

    fn write(&self, content: &Content<'_>, image: &Image<'_>, asked: &[String]) -> Result<Vec<u8>, FeedError> {
        let mut out = Vec::with_capacity(1 << 16);
        let mut texts = self.blocks.reader();
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        out.extend_from_slice(self.frame.root.as_bytes());
        out.extend_from_slice(format!("\n{}\n", self.frame.generator).as_bytes());
        let head = out.len();
        let written: BTreeSet<u32> = content.items.iter().chain(content.copies.keys()).copied().collect();
        for section in Section::ALL {
            let before = out.len();
            let tag = &self.frame.sections[section as usize];
            out.extend_from_slice(format!("{tag}\n").as_bytes());
            let empty = out.len();
            if section == Section::Definitions {
                asked.iter().for_each(|definition| out.extend_from_slice(format!("{definition}\n").as_bytes()));
                for number in &content.definitions {
                    let element = texts.get(self.definitions[*number as usize].fragment)?;
                    match content.sources.get(number) {
                        Some(tests) => out.extend(self.definition_of_sources(element, tests, image)?),
                        None => out.extend_from_slice(element.as_bytes()),
                    }
                    out.push(b'\n');
                    check_size(&out)?;
                }
            }
            for number in written.iter().filter(|number| self.items[**number as usize].section == section) {
                let element = texts.get(self.items[*number as usize].fragment)?;
                if content.items.contains(number) {
                    out.extend_from_slice(element.as_bytes());
                    out.push(b'\n');
                }
                if let Some(name) = content.copies.get(number) {
                    out.extend(self.copy(*number, element, name)?);
                    out.push(b'\n');
                }
                check_size(&out)?;
            }
            if out.len() == empty {
                // OVAL has no empty sections.
                out.truncate(before);
            } else {
                out.extend_from_slice(format!("</{}>\n", tag_name(tag)).as_bytes());
            }
        }
        if out.len() == head {
            out.extend_from_slice(NOTHING.as_bytes());
        }
        out.extend_from_slice(format!("</{}>\n", tag_name(&self.frame.root)).as_bytes());
        Ok(out)
    }

    fn definition_of_sources(&self, element: &str, tests: &BTreeMap<u32, &str>, image: &Image<'_>) -> Result<Vec<u8>, FeedError> {
        let ids: HashMap<&str, String> = tests.keys().filter_map(|test| Some((self.ids.word(*test), self.copy_id(*test)?))).collect();
        let names: BTreeSet<&str> = tests.values().copied().collect();
        let through: Vec<String> = names.into_iter().filter_map(|name| Some(name_packages(name, image.sources.get(name)?))).collect();
        rewrite::definition(element, &ids, &if through.is_empty() { String::new() } else { format!("Through {}.", through.join("; ")) })
    }

    fn copy(&self, number: u32, element: &str, name: &str) -> Result<Vec<u8>, FeedError> {
        let item = &self.items[number as usize];
        let id = self.copy_id(item.id).unwrap_or_default();
        match item.about {
            About::PackageTest { object, .. } => rewrite::test(element, &id, &self.copy_id(object).unwrap_or_default()),
            _ => rewrite::object(element, &id, &source_entry(name)),
        }
    }

    /// The id of an item's copy.
    fn copy_id(&self, id: u32) -> Option<String> {
        let Slot::Item(number) = self.slots[id as usize] else { return None };
        let kind = if self.items[number as usize].section == Section::Tests { "tst" } else { "obj" };
        Some(format!("{COPIES}{kind}:{}", number + 1))
    }

    /// What a test's comment says; for messages.
    pub(super) fn comment(&self, test: u32) -> String {
        let Slot::Item(item) = self.slots[test as usize] else { return String::new() };
        let comment = self.blocks.reader().get(self.items[item as usize].fragment).map(|element| rewrite::attribute(element, "comment")).unwrap_or_default();
        let words = if comment.is_empty() { self.ids.word(test).to_owned() } else { comment };
        words.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// Stands in a document without definitions, which would not be valid without anything.
const NOTHING: &str = "<variables xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\"><constant_variable id=\"oval:io.tidewaiter.nothing:var:1\" version=\"1\" \
    datatype=\"string\" comment=\"No definition concerns this image.\"><value>none</value></constant_variable></variables>\n";

/// How the ids of copies begin; no feed may have such ids.
pub(super) const COPIES: &str = "oval:io.tidewaiter.source:";

/// Most binary packages of a source that are named.
const MAX_NAMED: usize = 8;

/// `libc-bin, libc6 (of the source package glibc 2.36-9+deb12u10)`.
fn name_packages(name: &str, source: &super::source::Source<'_>) -> String {
    let names: BTreeSet<&str> = source.packages.iter().map(|package| package.name.as_str()).collect();
    let mut named = names.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMED {
        named += &format!(" and {} more", names.len() - MAX_NAMED);
    }
    format!("{named} (of the source package {name} {})", source.version)
}

/// The element's name, prefix and all, from its start tag.
fn tag_name(tag: &str) -> &str {
    let name = tag.trim_start_matches('<');
    &name[..name.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(name.len())]
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn check_size(document: &[u8]) -> Result<(), FeedError> {
    if document.len() > MAX_DOCUMENT_BYTES { Err(FeedError::too_large("what concerns this image is more than 24 MiB")) } else { Ok(()) }
}
