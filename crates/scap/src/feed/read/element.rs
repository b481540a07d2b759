//! Reading tests, objects, states and variables: what they refer to, and which names they look for.

use super::{Feed, Input};
use crate::feed::FeedError;
use crate::feed::item::{About, Item, Names, Section, Slot};
use crate::feed::limits::{MAX_NAME_BYTES, MAX_REFERENCES, MAX_VALUES};
use crate::xml::{Ns, Start, Token};
use std::io::BufRead;

/// What an item's start tag says.
pub(super) struct Head {
    section: Section,
    local: String,
    id: String,
    check_existence: String,
}

impl Head {
    pub(super) fn of(section: Section, start: &Start<'_>) -> Result<Self, FeedError> {
        Ok(Self { section, local: start.local().to_owned(), id: start.attr("id")?, check_existence: start.attr("check_existence")? })
    }
}

/// The `name` of an object, as it is written.
#[derive(Default)]
struct NameEntity {
    operation: String,
    var_ref: String,
    var_check: String,
    is_nil: bool,
    text: String,
}

/// An element whose text is wanted.
enum Wanted {
    /// An id of something.
    Reference,
    Name,
    Value,
}

/// What was seen inside an item.
#[derive(Default)]
struct Inside {
    references: Vec<u32>,
    object: Option<u32>,
    names: Vec<NameEntity>,
    /// Objects that a `set` joins.
    joined: Vec<u32>,
    values: Vec<u32>,
    has_odd_values: bool,
}

impl Feed {
    pub(super) fn read_item<R: BufRead>(&mut self, head: Head, input: &mut Input<R>) -> Result<(), FeedError> {
        let id = self.announce(&head.id)?;
        let mut inside = self.read_references(&head, input)?;
        let fragment = input.tape.take(|text| self.packer.add(text))?;
        inside.references.sort_unstable();
        inside.references.dedup();
        let about = self.about(&head, &mut inside)?;
        let number = |n: usize| u32::try_from(n).expect("limits are below 2^32");
        let first = number(self.references.len());
        self.references.append(&mut inside.references);
        if self.references.len() > MAX_REFERENCES {
            return Err(FeedError::too_large("more than 6,000,000 references"));
        }
        let references = first..number(self.references.len());
        self.slots[id as usize] = Slot::Item(number(self.items.len()));
        self.items.push(Item { id, section: head.section, fragment, references, about, broken: false });
        Ok(())
    }

    fn read_references<R: BufRead>(&mut self, head: &Head, input: &mut Input<R>) -> Result<Inside, FeedError> {
        let top = input.xml.depth();
        let mut inside = Inside::default();
        let (mut wanted, mut text) = (None, String::new());
        while input.xml.depth() >= top {
            let mut name = None;
            match input.xml.next()? {
                Token::Start(start) => {
                    text.clear();
                    wanted = self.attributes(head, &start, &mut inside)?;
                    if matches!(wanted, Some(Wanted::Name)) {
                        name = Some(entity(&start)?);
                    }
                }
                Token::Text(piece) if wanted.is_some() => {
                    text.push_str(&piece);
                    if text.len() > MAX_NAME_BYTES {
                        return Err(FeedError::too_large("a name of more than 4 KiB"));
                    }
                }
                Token::Text(_) => {}
                Token::End => self.wanted(wanted.take(), &text, &mut inside)?,
                Token::Eof => return Err(FeedError::malformed("the file ends too early")),
            }
            match name {
                Some(name) if input.xml.depth() == top + 1 => inside.names.push(name),
                Some(_) => wanted = None,
                None => {}
            }
        }
        Ok(inside)
    }

    /// Takes the references in an element's attributes; tells what its text is good for.
    fn attributes(&mut self, head: &Head, start: &Start<'_>, inside: &mut Inside) -> Result<Option<Wanted>, FeedError> {
        for attribute in ["object_ref", "state_ref", "var_ref"] {
            let id = start.attr(attribute)?;
            if !id.is_empty() {
                let number = self.refer(&id)?;
                inside.references.push(number);
                if attribute == "object_ref" && inside.object.is_none() {
                    inside.object = Some(number);
                }
            }
        }
        Ok(match (head.section, start.local()) {
            (_, "filter" | "object_reference" | "var_ref") => Some(Wanted::Reference),
            (Section::Objects, "name") if start.ns != Ns::OvalDefinitions => Some(Wanted::Name),
            (Section::Variables, "value") if head.local == "constant_variable" => Some(Wanted::Value),
            _ => None,
        })
    }

    fn wanted(&mut self, wanted: Option<Wanted>, text: &str, inside: &mut Inside) -> Result<(), FeedError> {
        match wanted {
            Some(Wanted::Reference) if !text.trim().is_empty() => {
                let number = self.refer(text.trim())?;
                inside.references.push(number);
                inside.joined.push(number);
            }
            Some(Wanted::Name) => {
                if let Some(name) = inside.names.last_mut() {
                    text.clone_into(&mut name.text);
                }
            }
            Some(Wanted::Value) => {
                self.values += 1;
                if self.values > MAX_VALUES {
                    return Err(FeedError::too_large("more than 6,000,000 values of variables"));
                }
                let text = text.trim();
                // As in `object_names`: what stands here finds other names than its own, if it is a name.
                inside.has_odd_values |= text.contains(':') || text == "gpg-pubkey";
                inside.values.push(self.names.number(text)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn about(&mut self, head: &Head, inside: &mut Inside) -> Result<About, FeedError> {
        Ok(match (head.section, head.local.as_str(), inside.object) {
            (Section::Tests, "dpkginfo_test" | "rpminfo_test", Some(object)) => {
                let if_none = matches!(head.check_existence.as_str(), "none_exist" | "any_exist");
                About::PackageTest { object, if_none }
            }
            (Section::Tests, ..) => About::OtherTest,
            (Section::Objects, "dpkginfo_object" | "rpminfo_object", _) => {
                let dpkg = head.local == "dpkginfo_object";
                About::PackageObject { dpkg, names: self.object_names(dpkg, inside)? }
            }
            (Section::Variables, "constant_variable", _) if !inside.has_odd_values => {
                inside.values.sort_unstable();
                inside.values.dedup();
                About::Constant(std::mem::take(&mut inside.values).into_boxed_slice())
            }
            _ => About::Other,
        })
    }

    fn object_names(&mut self, dpkg: bool, inside: &Inside) -> Result<Names, FeedError> {
        let name = match &inside.names[..] {
            [] if !inside.joined.is_empty() => return Ok(Names::Objects(inside.joined.clone().into_boxed_slice())),
            [name] => name,
            _ => return Ok(Names::Any),
        };
        let text = name.text.trim();
        let is_equal = matches!(name.operation.as_str(), "" | "equals");
        if name.is_nil {
            return Ok(Names::Any);
        }
        if !name.var_ref.is_empty() {
            let any_of = matches!(name.var_check.as_str(), "" | "all" | "at least one" | "only one");
            return Ok(if is_equal && any_of { Names::Variable(self.refer(&name.var_ref)?) } else { Names::Any });
        }
        Ok(match name.operation.as_str() {
            _ if text.is_empty() => Names::Any,
            // Public keys are packages to rpm, and not in our lists.
            _ if is_equal && !dpkg && text == "gpg-pubkey" => Names::Any,
            // libapt takes an architecture behind the name.
            _ if is_equal && dpkg && text.contains(':') => Names::Matchers([self.names.number(text.split(':').next().unwrap_or_default())?].into()),
            _ if is_equal => Names::One(self.names.number(text)?),
            "pattern match" => {
                self.patterns.push(text.to_owned());
                Names::Pattern(u32::try_from(self.patterns.len() - 1).expect("MAX_ITEMS is below 2^32"))
            }
            _ => Names::Any,
        })
    }
}

fn entity(start: &Start<'_>) -> Result<NameEntity, FeedError> {
    Ok(NameEntity {
        operation: start.attr("operation")?,
        var_ref: start.attr("var_ref")?,
        var_check: start.attr("var_check")?,
        is_nil: matches!(start.attr("xsi:nil")?.as_str(), "true" | "1"),
        text: String::new(),
    })
}
