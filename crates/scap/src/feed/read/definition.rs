//! Reading a definition: its class, its criteria, and what its words say about the meaning of its names.

use super::{Feed, Hints, Input};
use crate::feed::FeedError;
use crate::feed::item::{Definition, Node, NodeKind, Role, Slot};
use crate::feed::limits::{MAX_NAME_BYTES, MAX_NODES};
use crate::xml::{Ns, Start, Token};
use std::io::BufRead;

/// A definition that is being read.
struct Open {
    hints: Hints,
    products: usize,
    /// Criteria that are open: their places among the nodes, and their depths.
    criteria: Vec<(usize, usize)>,
    words: Option<Words>,
    text: String,
}

/// An element whose text is wanted.
#[derive(Clone, Copy)]
enum Words {
    Title,
    Product,
}

impl Feed {
    pub(super) fn read_definition<R: BufRead>(&mut self, id: &str, class: &str, input: &mut Input<R>) -> Result<(), FeedError> {
        let id = self.announce(id)?;
        let first = self.nodes.len();
        let hints = self.read_inside(input)?;
        let fragment = input.tape.take(|text| self.packer.add(text))?;
        let number = |n: usize| u32::try_from(n).expect("MAX_NODES is below 2^32");
        self.slots[id as usize] = Slot::Definition(number(self.definitions.len()));
        self.definitions.push(Definition {
            id,
            role: Role::parse(class),
            fragment,
            nodes: number(first)..number(self.nodes.len()),
            means_sources: false,
            means_binaries: false,
            broken: false,
        });
        self.hints.push(hints);
        Ok(())
    }

    fn read_inside<R: BufRead>(&mut self, input: &mut Input<R>) -> Result<Hints, FeedError> {
        let (top, first) = (input.xml.depth(), self.nodes.len());
        let mut open = Open { hints: Hints::default(), products: 0, criteria: Vec::new(), words: None, text: String::new() };
        loop {
            let mut node = None;
            match input.xml.next()? {
                Token::Start(start) => {
                    open.words = words(&start);
                    open.text.clear();
                    if start.ns == Ns::OvalDefinitions {
                        node = self.node(&start)?;
                    }
                }
                Token::Text(text) if open.words.is_some() && open.text.len() < MAX_NAME_BYTES => open.text.push_str(&text),
                Token::Text(_) => {}
                Token::End => {
                    self.end(&mut open, input.xml.depth())?;
                    if input.xml.depth() < top {
                        return Ok(open.hints);
                    }
                }
                Token::Eof => return Err(FeedError::malformed("the file ends too early")),
            }
            if let Some((node, form)) = node {
                self.place(node, form, (top, first), input.xml.depth(), &mut open)?;
            }
        }
    }

    /// The node that an element stands for, with the package that its comment names.
    fn node(&mut self, start: &Start<'_>) -> Result<Option<(Node, Option<u32>)>, FeedError> {
        let kind = match start.local() {
            "criteria" => match start.attr("operator")?.as_str() {
                "" | "AND" => NodeKind::And,
                "OR" => NodeKind::Or,
                "ONE" => NodeKind::One,
                "XOR" => NodeKind::Xor,
                other => return Err(FeedError::malformed(format!("criteria with the operator {other:?}"))),
            },
            "criterion" => NodeKind::Test(self.refer(&start.attr("test_ref")?)?),
            "extend_definition" => NodeKind::Extend(self.refer(&start.attr("definition_ref")?)?),
            _ => return Ok(None),
        };
        let form = match kind {
            NodeKind::Test(_) => source_form(&start.attr("comment")?).map(|name| self.names.number(name)).transpose()?,
            _ => None,
        };
        let negate = matches!(start.attr("negate")?.trim(), "true" | "1");
        Ok(Some((Node { kind, negate, end: 0 }, form)))
    }

    /// Puts a node in its place: the first directly in the definition, all others in criteria. Elsewhere (in metadata) the element is none.
    fn place(&mut self, node: Node, form: Option<u32>, (top, first): (usize, usize), depth: usize, open: &mut Open) -> Result<(), FeedError> {
        let is_root = depth == top + 1;
        if is_root && (self.nodes.len() > first || matches!(node.kind, NodeKind::Test(_) | NodeKind::Extend(_))) {
            return Err(FeedError::malformed("a definition with more than one criteria"));
        }
        if !is_root && open.criteria.last().is_none_or(|(_, parent)| depth != parent + 1) {
            return Ok(());
        }
        let place = self.nodes.len();
        if place >= MAX_NODES {
            return Err(FeedError::too_large("more than 4,000,000 criteria"));
        }
        let end = u32::try_from(place + 1).expect("MAX_NODES is below 2^32");
        self.nodes.push(Node { end, ..node });
        self.forms.push(form);
        if !matches!(node.kind, NodeKind::Test(_) | NodeKind::Extend(_)) {
            open.criteria.push((place, depth));
        }
        Ok(())
    }

    fn end(&mut self, open: &mut Open, depth: usize) -> Result<(), FeedError> {
        if let Some((place, _)) = open.criteria.pop_if(|(_, opened)| depth < *opened) {
            self.nodes[place].end = u32::try_from(self.nodes.len()).expect("MAX_NODES is below 2^32");
        }
        match open.words.take() {
            Some(Words::Title) => {
                let name = title_name(&open.text).map(|name| self.names.number(name)).transpose()?;
                open.hints.title = open.hints.title.or(name);
            }
            Some(Words::Product) => {
                open.products += 1;
                let name = open.text.trim();
                open.hints.product = if open.products == 1 && !name.is_empty() { Some(self.names.number(name)?) } else { None };
            }
            None => {}
        }
        Ok(())
    }
}

fn words(start: &Start<'_>) -> Option<Words> {
    match start.local() {
        "title" => Some(Words::Title),
        "product" => Some(Words::Product),
        _ => None,
    }
}

/// The source package that a criterion's comment names: `glibc DPKG is earlier than 2.36-9` as Debian writes it, `glibc package in jammy was vulnerable but has
/// been fixed` as Ubuntu does. Both name sources throughout.
fn source_form(comment: &str) -> Option<&str> {
    let before = comment.split_once(" DPKG is earlier than ").or_else(|| comment.split_once(" package in "))?.0;
    before.split_whitespace().next_back().map(|name| name.trim_matches('\'')).filter(|name| !name.is_empty())
}

/// `glibc` of `CVE-2024-2961 glibc`.
fn title_name(title: &str) -> Option<&str> {
    let mut words = title.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(cve), Some(name), None) if cve.starts_with("CVE-") && cve.ends_with(|c: char| c.is_ascii_digit()) => Some(name),
        _ => None,
    }
}
