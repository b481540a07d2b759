//! A distribution's OVAL feed, indexed once, of which each image gets the definitions that can concern it.
//!
//! OpenSCAP needs more memory for a whole feed than a pod has. [`Index::build`] reads a feed as a stream; [`Index::select`] writes the small document that
//! OpenSCAP then judges. What is left out is false whatever OpenSCAP would look at: none of the packages is installed that it would have to find.
//!
//! The walk of one image:
//! 1. [`Index::questions`] gives a document of a few definitions that OpenSCAP answers first (`oscap oval eval --results`), or nothing to ask;
//!    [`Answers::read`] reads the results.
//! 2. [`Index::select`] takes the packages and the answers and gives the document to evaluate, and the counts of what is not in it.
//! 3. Before OpenSCAP runs, the image's `var/lib/dpkg/status` gets one more stanza for each of [`source_entries`]: definitions that mean a source package
//!    look for the entry. Packages of the image whose names are [`is_source_entry`] are not shown.
//! 4. [`crate::oval::parse_found`] reads the results.

mod blocks;
mod build;
mod choose;
mod document;
mod error;
mod item;
mod limits;
mod names;
mod necessary;
mod question;
mod read;
mod recorder;
mod rewrite;
mod selection;
mod source;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

pub use error::FeedError;
pub use question::{Answer, Answers, Questions};
pub(crate) use rewrite::NAMESPACE;
pub use selection::Selection;
pub use source::{SourceEntry, is_source_entry, source_entries, source_entry};

use crate::report::Package;
use item::{About, Definition, Item, Names, Node, Slot};
use std::io::BufRead;

/// A feed, ready to be asked. `Send + Sync`; to be shared in an `Arc`.
#[derive(Debug)]
pub struct Index {
    frame: read::Frame,
    ids: words::Words,
    /// By id.
    slots: Vec<Slot>,
    names: words::Words,
    definitions: Vec<Definition>,
    nodes: Vec<Node>,
    items: Vec<Item>,
    references: Vec<u32>,
    matchers: names::Matchers,
    blocks: blocks::Blocks,
    hanging: build::Hanging,
    /// Tests to ask for, by their ids.
    questions: Vec<u32>,
    /// Definitions that judge something.
    judging: usize,
    /// At packages of rpm, of dpkg.
    looks_at: [bool; 2],
}

impl Index {
    /// Reads `input`, the XML of a feed (not compressed). Takes seconds for a large one: not for async threads.
    ///
    /// # Errors
    /// The feed is not OVAL, past a limit, or contradicts itself; see [`FeedError`].
    pub fn build(input: impl BufRead) -> Result<Self, FeedError> {
        Self::of(read::read(input)?)
    }

    /// How many definitions judge something: those of the classes vulnerability, patch and compliance.
    pub fn definitions(&self) -> usize {
        self.judging
    }

    /// The package names that the feed looks for, each once, in no order; patterns are not among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.matchers.sought().map(|name| self.names.word(name))
    }

    /// What OpenSCAP must answer before [`Index::select`]: tests that are not about packages and on which very many definitions hang, e.g. whether
    /// `/etc/redhat-release` is a Red Hat package's. `None`: there is nothing to ask.
    pub fn questions(&self, packages: &[Package]) -> Option<Questions> {
        if self.questions.is_empty() {
            return None;
        }
        self.ask(&choose::Image::new(self, packages, &Answers::default())).ok()
    }

    /// The definitions that can concern an image with these packages. Takes milliseconds to a few hundred of them.
    ///
    /// # Errors
    /// The feed cannot judge the image at all: it is made for another system or looks at packages of another kind. The message is for people.
    pub fn select(&self, packages: &[Package], answers: &Answers) -> Result<Selection, FeedError> {
        self.choose(packages, answers)
    }

    fn nodes_of(&self, definition: &Definition) -> &[Node] {
        &self.nodes[definition.nodes.start as usize..definition.nodes.end as usize]
    }

    /// The object that a package test looks at.
    fn object_of(&self, test: u32) -> Option<u32> {
        let Slot::Item(item) = self.slots[test as usize] else { return None };
        match self.items[item as usize].about {
            About::PackageTest { object, .. } => Some(object),
            _ => None,
        }
    }

    /// Which names an object looks for, and whether at dpkg's.
    fn names_of(&self, object: u32) -> Option<(bool, &Names)> {
        let Slot::Item(item) = self.slots[object as usize] else { return None };
        match &self.items[item as usize].about {
            About::PackageObject { dpkg, names } => Some((*dpkg, names)),
            _ => None,
        }
    }

    /// The name of the one package that a test looks for.
    fn single_name(&self, test: u32) -> Option<u32> {
        match self.names_of(self.object_of(test)?) {
            Some((true, Names::One(name))) => Some(*name),
            _ => None,
        }
    }
}
