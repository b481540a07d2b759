//! Mixed content of rules (text, XHTML, substitutions) as plain text.

use crate::evaluation::ArfError;
use crate::xml::{Ns, Token, Xml};
use std::collections::HashMap;
use std::io::BufRead;

/// Longest text kept of one element; the rest is cut off with an ellipsis.
pub(crate) const MAX_FIELD_BYTES: usize = 64 << 10;

/// Stands around the id of a value that is not known yet: results, and with them the values, come after the rules.
/// The character itself cannot come from a document, since control characters are dropped.
const SUBSTITUTION: char = '\u{1}';

/// How an element's white space is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines flow; empty lines and XHTML blocks part paragraphs.
    Prose,
    /// As it stands (scripts).
    Verbatim,
}

/// The text of the element whose `Start` was read last, up to and with its end.
pub(crate) fn read<R: BufRead>(xml: &mut Xml<R>, form: Form) -> Result<String, ArfError> {
    let mut text = Text::new(form);
    let mut open = Vec::new();
    loop {
        match xml.next()? {
            Token::Text(piece) => text.push(&piece),
            Token::Start(start) => {
                let element = Element::of(start.ns, start.local());
                if start.ns == Ns::Xccdf && start.local() == "sub" {
                    text.substitution(&start.attr("idref")?);
                }
                text.begin(element);
                open.push(element);
            }
            Token::End => match open.pop() {
                Some(element) => text.end(element),
                None => return Ok(text.finish()),
            },
            Token::Eof => return Ok(text.finish()),
        }
    }
}

/// Puts the values of `values` where the text names them; an unknown id stands in parentheses.
pub(crate) fn substitute(text: &str, values: &HashMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, piece) in text.split(SUBSTITUTION).enumerate() {
        match (at % 2, values.get(piece)) {
            (0, _) => out.push_str(piece),
            (_, Some(value)) => out.push_str(value),
            (_, None) => out.extend(["(", piece, ")"]),
        }
    }
    cut(&mut out);
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Inline,
    Break,
    Block,
    Item,
    Preformatted,
}

impl Element {
    fn of(ns: Ns, local: &str) -> Self {
        match (ns, local) {
            (Ns::Xhtml, "br") => Self::Break,
            (Ns::Xhtml, "p" | "div" | "ul" | "ol" | "dl" | "table" | "blockquote" | "h1" | "h2" | "h3" | "h4") => Self::Block,
            (Ns::Xhtml, "li" | "tr" | "dt" | "dd") => Self::Item,
            (Ns::Xhtml, "pre") => Self::Preformatted,
            _ => Self::Inline,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

struct Text {
    out: String,
    form: Form,
    /// How many `pre` elements are open.
    preformatted: usize,
    gap: Gap,
    /// Line ends in the white space that is being read.
    line_ends: usize,
    full: bool,
}

impl Text {
    fn new(form: Form) -> Self {
        Self { out: String::new(), form, preformatted: 0, gap: Gap::None, line_ends: 0, full: false }
    }

    fn push(&mut self, piece: &str) {
        let verbatim = self.form == Form::Verbatim || self.preformatted > 0;
        for c in piece.chars() {
            if self.full {
                return;
            }
            if c.is_whitespace() && !verbatim {
                self.line_ends += usize::from(c == '\n');
                self.gap = self.gap.max(if self.line_ends > 1 { Gap::Paragraph } else { Gap::Space });
            } else if !c.is_control() || c == '\n' || c == '\t' {
                self.close_gap();
                self.out.push(c);
            }
            self.full = self.out.len() > MAX_FIELD_BYTES;
        }
    }

    fn close_gap(&mut self) {
        if !self.out.is_empty() {
            self.out.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.gap = Gap::None;
        self.line_ends = 0;
    }

    fn substitution(&mut self, id: &str) {
        if !self.full {
            self.close_gap();
            self.out.extend([SUBSTITUTION]);
            self.out.push_str(id);
            self.out.extend([SUBSTITUTION]);
        }
    }

    fn begin(&mut self, element: Element) {
        match element {
            Element::Inline => {}
            Element::Break => self.gap = self.gap.max(Gap::Line),
            Element::Block => self.gap = Gap::Paragraph,
            Element::Item => {
                self.gap = self.gap.max(Gap::Line);
                self.push("- ");
            }
            Element::Preformatted => {
                self.gap = Gap::Paragraph;
                self.preformatted += 1;
            }
        }
    }

    fn end(&mut self, element: Element) {
        match element {
            Element::Inline | Element::Break => {}
            Element::Item => self.gap = self.gap.max(Gap::Line),
            Element::Block => self.gap = Gap::Paragraph,
            Element::Preformatted => {
                self.preformatted -= 1;
                self.out.truncate(self.out.trim_end().len());
                self.gap = Gap::Paragraph;
            }
        }
    }

    fn finish(mut self) -> String {
        self.out.truncate(self.out.trim_end().len());
        cut(&mut self.out);
        let leading = self.out.len() - self.out.trim_start_matches(['\n', ' ']).len();
        self.out.drain(..leading);
        self.out
    }
}

/// Shortens to [`MAX_FIELD_BYTES`], at a character's border.
fn cut(text: &mut String) {
    if text.len() > MAX_FIELD_BYTES {
        let mut end = MAX_FIELD_BYTES - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
