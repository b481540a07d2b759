//! Reading a feed, element by element, into what the index keeps.

mod definition;
mod element;

use super::FeedError;
use super::blocks::Packer;
use super::document::COPIES;
use super::item::{Definition, Item, Node, Section, Slot};
use super::limits::{MAX_DEFINITIONS, MAX_ID_BYTES, MAX_ITEMS};
use super::recorder::{Recorder, Tape};
use super::words::Words;
use crate::xml::{Ns, Token, Xml};
use std::io::BufRead;

/// What surrounds the elements in the feed: it stands around them in every document too, so that all prefixes keep their meaning.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Start tags as they stand in the feed.
    pub(super) root: String,
    pub(super) sections: [String; 5],
    /// The whole element.
    pub(super) generator: String,
}

/// All that was read, with references as ids.
#[derive(Default)]
pub(super) struct Feed {
    pub(super) frame: Frame,
    pub(super) ids: Words,
    /// By id.
    pub(super) slots: Vec<Slot>,
    pub(super) names: Words,
    pub(super) definitions: Vec<Definition>,
    /// Of each definition, in the same order.
    pub(super) hints: Vec<Hints>,
    pub(super) nodes: Vec<Node>,
    /// Of each node the package that its comment names in the form of a feed that names source packages.
    pub(super) forms: Vec<Option<u32>>,
    pub(super) items: Vec<Item>,
    pub(super) references: Vec<u32>,
    pub(super) patterns: Vec<String>,
    pub(super) values: usize,
    pub(super) packer: Packer,
}

/// What a definition's words say about the meaning of its names.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// `glibc` of the title `CVE-2024-2961 glibc`, as Debian writes it.
    pub(super) title: Option<u32>,
    /// `<product>`, if there is just one.
    pub(super) product: Option<u32>,
}

/// The document being read, and its text since the last element.
struct Input<R: BufRead> {
    xml: Xml<Recorder<R>>,
    tape: Tape,
}

pub(super) fn read(input: impl BufRead) -> Result<Feed, FeedError> {
    let (recorder, tape) = Recorder::new(input);
    let mut input = Input { xml: Xml::new(recorder), tape };
    let mut feed = Feed::default();
    feed.read_root(&mut input)?;
    while let Some(local) = next_child(&mut input, 1)? {
        if local == "generator" {
            input.xml.skip()?;
            feed.frame.generator = input.tape.take(text);
        } else if let Some(section) = Section::parse(&local) {
            feed.read_section(section, &mut input)?;
        } else {
            // Signatures are of the whole file and say nothing about a part.
            input.xml.skip()?;
        }
    }
    Ok(feed)
}

/// Goes on to the start of the next child of the element that is open at `depth`, and gives its local name; `None` at that element's end.
///
/// The tape then holds the child's start tag alone.
fn next_child<R: BufRead>(input: &mut Input<R>, depth: usize) -> Result<Option<String>, FeedError> {
    loop {
        input.tape.clear();
        match input.xml.next()? {
            Token::Start(start) => return Ok(Some(start.local().to_owned())),
            Token::End => {
                if input.xml.depth() < depth {
                    return Ok(None);
                }
            }
            Token::Text(_) => {}
            Token::Eof => return Ok(None),
        }
    }
}

impl Feed {
    fn read_root<R: BufRead>(&mut self, input: &mut Input<R>) -> Result<(), FeedError> {
        loop {
            input.tape.clear();
            match input.xml.next()? {
                Token::Start(start) if start.ns == Ns::OvalDefinitions && start.local() == "oval_definitions" => break,
                Token::Start(start) => return Err(FeedError::malformed(format!("the document is <{}> and not <oval_definitions>", start.local()))),
                Token::Eof => return Err(FeedError::malformed("there are none in it")),
                _ => {}
            }
        }
        self.frame.root = input.tape.take(start_tag);
        Ok(())
    }

    fn read_section<R: BufRead>(&mut self, section: Section, input: &mut Input<R>) -> Result<(), FeedError> {
        let tag = input.tape.take(start_tag);
        let known = &mut self.frame.sections[section as usize];
        if !known.is_empty() {
            return Err(FeedError::malformed("a section occurs twice"));
        }
        *known = tag;
        let depth = input.xml.depth();
        loop {
            input.tape.clear();
            match input.xml.next()? {
                Token::Start(start) if section == Section::Definitions => {
                    let (id, class) = (start.attr("id")?, start.attr("class")?);
                    self.read_definition(&id, &class, input)?;
                }
                Token::Start(start) => {
                    let head = element::Head::of(section, &start)?;
                    self.read_item(head, input)?;
                }
                Token::End | Token::Eof => {
                    if input.xml.depth() < depth {
                        return Ok(());
                    }
                }
                Token::Text(_) => {}
            }
        }
    }

    /// The number of an id that is referred to.
    fn refer(&mut self, id: &str) -> Result<u32, FeedError> {
        if id.len() > MAX_ID_BYTES {
            return Err(FeedError::too_large("an id of more than 512 bytes"));
        }
        let number = self.ids.number(id)?;
        if self.ids.len() > self.slots.len() {
            self.slots.push(Slot::Missing);
        }
        Ok(number)
    }

    /// The number of the id of an element that is being read.
    fn announce(&mut self, id: &str) -> Result<u32, FeedError> {
        if id.is_empty() {
            return Err(FeedError::malformed("an element has no id"));
        }
        if id.starts_with(COPIES) {
            return Err(FeedError::malformed(format!("the id {id} is kept for this product")));
        }
        let number = self.refer(id)?;
        if self.slots[number as usize] != Slot::Missing {
            return Err(FeedError::malformed(format!("the id {id} occurs twice")));
        }
        if self.definitions.len() >= MAX_DEFINITIONS {
            return Err(FeedError::too_large("more than 200,000 definitions"));
        }
        if self.items.len() >= MAX_ITEMS {
            return Err(FeedError::too_large("more than 2,000,000 tests, objects, states and variables"));
        }
        Ok(number)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A start tag, also of an element that was written as an empty one.
fn start_tag(bytes: &[u8]) -> String {
    let text = text(bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.strip_suffix("/>") {
        Some(open) => format!("{open}>"),
        None => text.to_owned(),
    }
}
