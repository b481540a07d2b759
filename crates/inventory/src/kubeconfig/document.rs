//! YAML or JSON → a tree in which nothing is judged yet, with limits on size, depth and number of values.
//!
//! As kubectl reads it: the first document counts, of a key that comes twice the last, and `<<` merges.

use crate::failure::ConnectError;
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// The longest kubeconfig that is read.
pub(crate) const BYTES_MAX: usize = 256 << 10;
/// Each level that is open in `{a: {a: …` makes every later character dearer.
const OPEN_MAX: usize = 40;
/// Aliases multiply what they name: values, and the bytes of texts.
const VALUES_MAX: usize = 20_000;
const TEXT_BYTES_MAX: usize = 4 * BYTES_MAX;
const WHOLE: &str = "Paste the whole output of: kubectl config view --minify --flatten --raw";

/// A value of the document. `Debug` shows what it is, and not its text.
#[derive(Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// As it would be written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

static NULL: Node = Node::Null;

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Node {
    /// The field, or null. Of several the last.
    pub(super) fn get(&self, key: &str) -> &Self {
        let Self::Map(fields) = self else { return &NULL };
        let own = fields.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value);
        own.or_else(|| fields.iter().filter(|(name, _)| name == "<<").find_map(|(_, merged)| merged.merged(key))).unwrap_or(&NULL)
    }

    fn merged(&self, key: &str) -> Option<&Self> {
        let found = match self {
            Self::List(several) => several.iter().find_map(|each| each.merged(key))?,
            one => one.get(key),
        };
        Some(found).filter(|found| **found != Self::Null)
    }

    pub(super) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// What it is, for sentences.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Bool(value) => format!("the truth value {value}"),
            Self::Number(_) => "a number".into(),
            Self::Text(_) => "a text".into(),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a group of fields".into(),
        }
    }
}

/// Reads a document.
///
/// # Errors
/// Reason `Input`: too large, too deep, or neither YAML nor JSON; the sentence shows where, and nothing of the text, which has secrets.
pub(super) fn parse(text: &str) -> Result<Node, ConnectError> {
    if text.len() > BYTES_MAX {
        let message = format!("The kubeconfig has {} KiB; {} KiB are read at most.", text.len() >> 10, BYTES_MAX >> 10);
        return Err(ConnectError::input(message, "Give the part that is needed: kubectl config view --minify --flatten --raw"));
    }
    let text = text.trim_start_matches('\u{feff}');
    if opens_too_much(text) {
        return Err(ConnectError::input(format!("The kubeconfig has brackets inside each other more than {OPEN_MAX} deep."), WHOLE));
    }
    let left = Left::default();
    if text.trim_start().starts_with('{')
        && let Ok(node) = Tree(&left).deserialize(&mut serde_json::Deserializer::from_str(text))
    {
        return Ok(node);
    }
    let left = Left::default();
    let first = serde_yaml_ng::Deserializer::from_str(text).next();
    let node = first.map_or(Ok(Node::Null), |document| Tree(&left).deserialize(document));
    node.map_err(|error| ConnectError::input(format!("This is not a kubeconfig: {}.", reason(&error, &left)), WHOLE))
}

/// Without what the text says there.
fn reason(error: &serde_yaml_ng::Error, left: &Left) -> String {
    if left.values.get() == 0 {
        return format!("it has more than {VALUES_MAX} values");
    }
    if left.text_bytes.get() == 0 {
        return format!("with its aliases it has more than {} KiB of texts", TEXT_BYTES_MAX >> 10);
    }
    let text = error.to_string();
    let known =
        ["found a tab character", "did not find expected", "mapping values are not allowed", "recursion limit exceeded", "unknown anchor", "repetition limit"];
    let what = known.into_iter().find(|known| text.contains(known)).map_or("it is neither YAML nor JSON".to_owned(), |known| format!("{known} …"));
    match error.location() {
        Some(place) => format!("{what} (line {}, column {})", place.line(), place.column()),
        None => what,
    }
}

/// Counts brackets, also where they stand in a text: nobody has so many there without their other halves.
fn opens_too_much(text: &str) -> bool {
    let mut open = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        open > OPEN_MAX
    })
}

/// What a document may still have; 0 is too little.
struct Left {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
}

impl Default for Left {
    fn default() -> Self {
        Self { values: Cell::new(VALUES_MAX), text_bytes: Cell::new(TEXT_BYTES_MAX) }
    }
}

impl Left {
    fn take<E: serde::de::Error>(of: &Cell<usize>, count: usize) -> Result<(), E> {
        of.set(of.get().saturating_sub(count));
        if of.get() == 0 { Err(E::custom("too much")) } else { Ok(()) }
    }
}

#[derive(Clone, Copy)]
struct Tree<'a>(&'a Left);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Left::take(&self.0.values, 1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        Left::take(&self.0.text_bytes, value.len())?;
        Ok(Node::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let value = map.next_value_seed(self)?;
            match key {
                Node::Text(key) | Node::Number(key) => fields.push((key, value)),
                Node::Bool(key) => fields.push((key.to_string(), value)),
                _ => {}
            }
        }
        Ok(Node::Map(fields))
    }
    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        use serde::de::VariantAccess as _;
        let (_, value) = tagged.variant_seed(Tag)?;
        value.newtype_variant_seed(self)
    }
}

/// The name of a YAML tag, which says nothing here.
struct Tag;

impl<'de> DeserializeSeed<'de> for Tag {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        String::deserialize(deserializer).map(drop)
    }
}
