//! Reading XML as a stream of tokens, with limits: the reader never holds more than one token.

use crate::evaluation::ArfError;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use std::borrow::Cow;
use std::io::{self, BufRead, Read};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Largest single tag or text.
const MAX_TOKEN_BYTES: u64 = 16 << 20;
/// Deepest nesting; real files reach 15.
const MAX_DEPTH: usize = 64;

/// The namespaces that matter here. Prefixes differ between writers, so only the address counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ns {
    Xccdf,
    Xhtml,
    OvalDefinitions,
    OvalResults,
    Other,
}

impl Ns {
    fn of(resolved: &ResolveResult<'_>) -> Self {
        match resolved {
            ResolveResult::Bound(Namespace("http://checklists.nist.gov/xccdf/1.2")) => Self::Xccdf,
            ResolveResult::Bound(Namespace("http://www.w3.org/1999/xhtml")) => Self::Xhtml,
            ResolveResult::Bound(Namespace("http://oval.mitre.org/XMLSchema/oval-definitions-5")) => Self::OvalDefinitions,
            ResolveResult::Bound(Namespace("http://oval.mitre.org/XMLSchema/oval-results-5")) => Self::OvalResults,
            _ => Self::Other,
        }
    }
}

/// One piece of a document. An empty element is a `Start` and an `End`.
pub(crate) enum Token<'a> {
    Start(Start<'a>),
    End,
    Text(Cow<'a, str>),
    Eof,
}

/// The start of an element.
pub(crate) struct Start<'a> {
    pub(crate) ns: Ns,
    tag: BytesStart<'a>,
}

impl Start<'_> {
    pub(crate) fn local(&self) -> &str {
        self.tag.local_name().into_inner()
    }

    /// The attribute's value without control characters; empty when it is not there.
    pub(crate) fn attr(&self, name: &str) -> Result<String, ArfError> {
        let found = self.tag.try_get_attribute(name).map_err(malformed)?;
        let Some(attribute) = found else { return Ok(String::new()) };
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(malformed)?;
        if value.len() > crate::text::MAX_FIELD_BYTES {
            return Err(ArfError::TooLarge("an attribute longer than 64 KiB"));
        }
        Ok(value.chars().filter(|c| !c.is_control()).collect())
    }
}

/// A document being read.
pub(crate) struct Xml<R: BufRead> {
    reader: NsReader<Capped<R>>,
    buffer: Vec<u8>,
    depth: usize,
    /// An `Eof` before the root element closed means a cut file.
    seen_root: bool,
}

impl<R: BufRead> Xml<R> {
    pub(crate) fn new(input: R) -> Self {
        let mut reader = NsReader::from_reader(Capped { inner: input, total: 0, token: 0 });
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = true;
        Self { reader, buffer: Vec::new(), depth: 0, seen_root: false }
    }

    /// How many elements are open.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The next token; comments and processing instructions are passed over.
    ///
    /// # Errors
    /// `Malformed`, also for a DOCTYPE and for entities other than XML's own five; `TooLarge`.
    pub(crate) fn next(&mut self) -> Result<Token<'_>, ArfError> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().token = 0;
            // The event is looked at twice, since a loop may not return what it borrowed (the borrow checker sees the next turn).
            let kind = match self.reader.read_resolved_event_into(&mut self.buffer).map_err(malformed)? {
                (_, Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => continue,
                (ns, event) => (Ns::of(&ns), event.into_owned()),
            };
            return self.token(kind.0, kind.1);
        }
    }

    fn token(&mut self, ns: Ns, event: Event<'static>) -> Result<Token<'static>, ArfError> {
        match event {
            Event::Start(tag) => {
                self.depth += 1;
                self.seen_root = true;
                if self.depth > MAX_DEPTH {
                    return Err(ArfError::Malformed(format!("elements nest deeper than {MAX_DEPTH}")));
                }
                Ok(Token::Start(Start { ns, tag }))
            }
            Event::End(_) => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| ArfError::Malformed("an end tag too many".into()))?;
                Ok(Token::End)
            }
            Event::Text(text) => Ok(Token::Text(text.xml10_content().into_owned().into())),
            Event::CData(text) => Ok(Token::Text(text.xml10_content().into_owned().into())),
            Event::GeneralRef(reference) => Ok(Token::Text(resolve(&reference)?.into())),
            Event::Eof if self.depth > 0 => Err(ArfError::Malformed("the file ends too early".into())),
            Event::Eof if !self.seen_root => Err(ArfError::Malformed("no element at all".into())),
            Event::Eof => Ok(Token::Eof),
            _ => Err(ArfError::Malformed("a DOCTYPE or other markup that no scanner writes".into())),
        }
    }
}
