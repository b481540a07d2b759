//! Reading XML as a stream of tokens, with limits: the reader never holds more than one token.

use crate::evaluation::ArfError;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
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
    /// What we add to definitions.
    Tidewaiter,
    Other,
}

impl Ns {
    fn of(resolved: &ResolveResult<'_>) -> Self {
        match resolved {
            ResolveResult::Bound(Namespace("http://checklists.nist.gov/xccdf/1.2")) => Self::Xccdf,
            ResolveResult::Bound(Namespace("http://www.w3.org/1999/xhtml")) => Self::Xhtml,
            ResolveResult::Bound(Namespace("http://oval.mitre.org/XMLSchema/oval-definitions-5")) => Self::OvalDefinitions,
            ResolveResult::Bound(Namespace("http://oval.mitre.org/XMLSchema/oval-results-5")) => Self::OvalResults,
            ResolveResult::Bound(Namespace(crate::feed::NAMESPACE)) => Self::Tidewaiter,
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

    /// The next token; comments and processing instructions are empty texts.
    ///
    /// # Errors
    /// `Malformed`, also for a DOCTYPE and for entities other than XML's own five; `TooLarge`.
    pub(crate) fn next(&mut self) -> Result<Token<'_>, ArfError> {
        self.buffer.clear();
        self.reader.get_mut().token = 0;
        let (ns, event) = self.reader.read_resolved_event_into(&mut self.buffer).map_err(malformed)?;
        let ns = Ns::of(&ns);
        Ok(match event {
            Event::Start(tag) => {
                self.depth += 1;
                self.seen_root = true;
                if self.depth > MAX_DEPTH {
                    return Err(ArfError::Malformed(format!("elements nest deeper than {MAX_DEPTH}")));
                }
                Token::Start(Start { ns, tag })
            }
            Event::End(_) => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| ArfError::Malformed("an end tag too many".into()))?;
                Token::End
            }
            Event::Text(text) => Token::Text(text.xml10_content()),
            Event::CData(text) => Token::Text(text.xml10_content()),
            Event::GeneralRef(reference) => Token::Text(resolve(&reference)?),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => Token::Text("".into()),
            Event::Eof if self.depth > 0 => return Err(ArfError::Malformed("the file ends too early".into())),
            Event::Eof if !self.seen_root => return Err(ArfError::Malformed("no element at all".into())),
            Event::Eof => Token::Eof,
            _ => return Err(ArfError::Malformed("a DOCTYPE or other markup that no scanner writes".into())),
        })
    }

    /// Passes over the rest of the element whose `Start` was read last.
    pub(crate) fn skip(&mut self) -> Result<(), ArfError> {
        let inside = self.depth;
        while self.depth >= inside {
            if matches!(self.next()?, Token::Eof) {
                break;
            }
        }
        Ok(())
    }
}

/// The character behind `&#x41;` or one of XML's own five names; nothing else is ever expanded.
fn resolve<'a>(reference: &BytesRef<'_>) -> Result<Cow<'a, str>, ArfError> {
    if let Some(c) = reference.resolve_char_ref().map_err(malformed)? {
        return Ok(c.to_string().into());
    }
    Ok(match reference.as_ref() {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => return Err(ArfError::Malformed("an entity that XML itself does not know".into())),
    }
    .into())
}

fn malformed(error: impl Into<quick_xml::Error>) -> ArfError {
    match error.into() {
        quick_xml::Error::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => ArfError::TooLarge("more than 512 MiB, or one text of 16 MiB"),
        other => ArfError::Malformed(other.to_string()),
    }
}

/// Counts what is read, and ends with `FileTooLarge` past the limits.
struct Capped<R> {
    inner: R,
    total: u64,
    token: u64,
}

impl<R: BufRead> Read for Capped<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Capped<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.total > MAX_FILE_BYTES || self.token > MAX_TOKEN_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        // In pieces, so that the limits are looked at also when the whole file lies in memory.
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(1 << 16)])
    }

    fn consume(&mut self, n: usize) {
        self.total += n as u64;
        self.token += n as u64;
        self.inner.consume(n);
    }
}
