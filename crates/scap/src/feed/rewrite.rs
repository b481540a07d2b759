//! Changing elements of the feed: other ids, another name, a word more in the metadata. What is not changed stays as it stood.

use super::FeedError;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use quick_xml::reader::Reader;
use quick_xml::writer::Writer;
use std::collections::HashMap;

/// The namespace of what we add to a definition's metadata.
pub(crate) const NAMESPACE: &str = "https://tidewaiter.io/oval";

/// A definition whose criterions look at other tests (`tests`: new ids by old), and whose metadata tells through which packages it concerns the image: for
/// people, as the message of its result (see [`crate::oval`]).
pub(super) fn definition(element: &str, tests: &HashMap<&str, String>, through: &str) -> Result<Vec<u8>, FeedError> {
    let mut depth = 0;
    edit(element, |event, out| {
        match event {
            Event::Start(_) => depth += 1,
            Event::End(end) => {
                if depth == 2 && end.local_name().into_inner() == "metadata" {
                    add_through(through, out)?;
                }
                depth -= 1;
            }
            _ => {}
        }
        Ok(changed(event, |local, key, value| match (local, key) {
            ("criterion", "test_ref") => tests.get(value).cloned(),
            _ => None,
        }))
    })
}

fn add_through(through: &str, out: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
    out.write_event(Event::Start(BytesStart::new("through").with_attributes([("xmlns", NAMESPACE)])))?;
    out.write_event(Event::Text(BytesText::new(through)))?;
    out.write_event(Event::End(BytesEnd::new("through")))
}

/// A test with the id `id` that looks at the object `object`.
pub(super) fn test(element: &str, id: &str, object: &str) -> Result<Vec<u8>, FeedError> {
    let mut is_first = true;
    edit(element, |event, _| {
        let is_head = std::mem::take(&mut is_first);
        Ok(changed(event, |local, key, _| match (local, key) {
            (_, "id") if is_head => Some(id.to_owned()),
            ("object", "object_ref") => Some(object.to_owned()),
            _ => None,
        }))
    })
}

/// An object with the id `id` that looks for the package `name`.
pub(super) fn object(element: &str, id: &str, name: &str) -> Result<Vec<u8>, FeedError> {
    let mut depth = 0;
    let mut inside_name = false;
    edit(element, |event, out| {
        let is_name = |tag: &BytesStart<'_>, depth| depth == 1 && tag.local_name().into_inner() == "name";
        match event {
            Event::Start(tag) | Event::Empty(tag) if is_name(tag, depth) => {
                let tag_name = tag.name().into_inner();
                out.write_event(Event::Start(BytesStart::new(tag_name)))?;
                out.write_event(Event::Text(BytesText::new(name)))?;
                out.write_event(Event::End(BytesEnd::new(tag_name)))?;
                inside_name = matches!(event, Event::Start(_));
                depth += usize::from(inside_name);
                return Ok(Change::Drop);
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        if inside_name {
            inside_name = depth > 1;
            return Ok(Change::Drop);
        }
        let is_head = depth == 1;
        Ok(changed(event, |local, key, _| (is_head && key == "id" && local.ends_with("_object")).then(|| id.to_owned())))
    })
}

/// What becomes of an event.
enum Change<'a> {
    Keep,
    Drop,
    Replace(Event<'a>),
}

/// Writes `element` again, event by event, as `change` says.
fn edit(element: &str, mut change: impl FnMut(&Event<'_>, &mut Writer<Vec<u8>>) -> std::io::Result<Change<'static>>) -> Result<Vec<u8>, FeedError> {
    let mut reader = Reader::from_str(element);
    let mut out = Writer::new(Vec::with_capacity(element.len() + 512));
    let failed = |e: std::io::Error| FeedError::malformed(e.to_string());
    loop {
        let event = reader.read_event().map_err(|e| FeedError::malformed(e.to_string()))?;
        if matches!(event, Event::Eof) {
            return Ok(out.into_inner());
        }
        match change(&event, &mut out).map_err(failed)? {
            Change::Keep => out.write_event(event).map_err(failed)?,
            Change::Drop => {}
            Change::Replace(event) => out.write_event(event).map_err(failed)?,
        }
    }
}

/// An event with other values of attributes; `new` gets the element's local name, an attribute's name and its value.
fn changed(event: &Event<'_>, new: impl Fn(&str, &str, &str) -> Option<String>) -> Change<'static> {
    let (Event::Start(tag) | Event::Empty(tag)) = event else { return Change::Keep };
    let local = tag.local_name().into_inner();
    let mut is_changed = false;
    let mut other = BytesStart::new(tag.name().into_inner().to_owned());
    for attribute in tag.attributes().with_checks(false).flatten() {
        let key = attribute.key.into_inner();
        let value = attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap_or_default();
        match new(local, key, value.trim()) {
            Some(value) => {
                is_changed = true;
                other.push_attribute((key, value.as_str()));
            }
            None => other.push_attribute(attribute),
        }
    }
    if !is_changed {
        return Change::Keep;
    }
    Change::Replace(if matches!(event, Event::Start(_)) { Event::Start(other) } else { Event::Empty(other) })
}

/// The value of the attribute `name` of an element's start tag; empty when it is not there.
pub(super) fn attribute(element: &str, name: &str) -> String {
    match Reader::from_str(element).read_event() {
        Ok(Event::Start(tag) | Event::Empty(tag)) => tag
            .try_get_attribute(name)
            .ok()
            .flatten()
            .and_then(|attribute| attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).ok().map(|value| value.into_owned()))
            .unwrap_or_default(),
        _ => String::new(),
    }
}
