//! Which of an image's packages an object can find.
//!
//! A matcher stands for one way of naming packages: a name, the values of a variable, or a pattern. Matchers are numbered: first the names, each by its own
//! number, then the lists, then the patterns.

use super::item::{About, Item, Names, Slot};
use super::limits::MAX_PATTERNS;
use super::words::Words;
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;

/// Most trials of a pattern on a name for one image; patterns beyond them are taken to match.
const MAX_TRIALS: usize = 20_000_000;

/// All matchers of a feed.
#[derive(Debug, Default)]
pub(super) struct Matchers {
    names: usize,
    /// By name (sorted), the lists that hold it.
    list_of: Vec<(u32, u32)>,
    lists: usize,
    patterns: Vec<String>,
    /// By name: an object looks for it.
    sought: Vec<bool>,
}

/// What matches an image's packages.
#[derive(Debug)]
pub(super) struct Matched {
    /// By matcher: a binary package of the image.
    pub(super) binary: Vec<bool>,
    /// By matcher, of names alone: a source package of the image.
    pub(super) source: Vec<bool>,
    /// How many of the image's names an object looks for.
    pub(super) names: usize,
}

impl Matchers {
    /// Numbers the matchers and resolves the names of all objects in `items`.
    pub(super) fn resolve(items: &mut [Item], slots: &[Slot], names: &Words, patterns: Vec<String>) -> Self {
        let mut new = Self { names: names.len(), sought: vec![false; names.len()], ..Self::default() };
        let mut lists = HashMap::new();
        let mut resolved = Vec::with_capacity(items.len());
        for item in items.iter() {
            let About::PackageObject { names, .. } = &item.about else { continue };
            resolved.push(match names {
                Names::Variable(id) => new.variable(*id, items, slots, &mut lists),
                other => other.clone(),
            });
        }
        new.lists = lists.len();
        new.list_of.sort_unstable();
        new.number_patterns(&mut resolved, &patterns);
        let mut resolved = resolved.into_iter();
        for item in items.iter_mut() {
            if let About::PackageObject { names, .. } = &mut item.about {
                *names = resolved.next().unwrap_or(Names::Any);
                new.seek(names);
            }
        }
        join(items, slots);
        new
    }

    fn variable(&mut self, id: u32, items: &[Item], slots: &[Slot], lists: &mut HashMap<u32, u32>) -> Names {
        let Slot::Item(item) = slots[id as usize] else { return Names::Any };
        let About::Constant(values) = &items[item as usize].about else { return Names::Any };
        match &values[..] {
            [] => Names::Any,
            [name] => Names::One(*name),
            values => {
                let next = u32::try_from(lists.len()).expect("MAX_ITEMS is below 2^32");
                let list = *lists.entry(id).or_insert_with(|| {
                    self.list_of.extend(values.iter().map(|name| (*name, next)));
                    next
                });
                Names::Matchers([self.first_list() + list].into())
            }
        }
    }

    /// Gives each different pattern a number; those that are not tried can find anything.
    fn number_patterns(&mut self, objects: &mut [Names], patterns: &[String]) {
        let mut known: HashMap<&str, Option<u32>> = HashMap::new();
        let first = self.first_list() + u32::try_from(self.lists).expect("MAX_ITEMS is below 2^32");
        for names in objects {
            let Names::Pattern(number) = names else { continue };
            let pattern = patterns[*number as usize].as_str();
            let matcher = *known.entry(pattern).or_insert_with(|| {
                let is_tried = self.patterns.len() < MAX_PATTERNS && is_plain(pattern);
                is_tried.then(|| {
                    self.patterns.push(pattern.to_owned());
                    first + u32::try_from(self.patterns.len() - 1).expect("MAX_PATTERNS is below 2^32")
                })
            });
            *names = matcher.map_or(Names::Any, |matcher| Names::Matchers([matcher].into()));
        }
    }

    fn seek(&mut self, names: &Names) {
        let first_list = self.first_list();
        match names {
            Names::One(name) => self.sought[*name as usize] = true,
            Names::Matchers(matchers) => {
                for matcher in matchers.iter().filter(|matcher| **matcher < first_list) {
                    self.sought[*matcher as usize] = true;
                }
            }
            _ => {}
        }
    }

    fn first_list(&self) -> u32 {
        u32::try_from(self.names).expect("names are bounded by MAX_WORD_BYTES")
    }

    pub(super) fn count(&self) -> usize {
        self.names + self.lists + self.patterns.len()
    }

    /// Names that an object looks for.
    pub(super) fn sought(&self) -> impl Iterator<Item = u32> {
        let plain = self.sought.iter().zip(0u32..).filter(|(sought, _)| **sought).map(|(_, name)| name);
        let mut listed = None;
        let lists = self.list_of.iter().filter(move |(name, _)| listed.replace(*name) != Some(*name));
        plain.chain(lists.filter(|(name, _)| !self.sought[*name as usize]).map(|(name, _)| *name))
    }

    /// What matches packages with the names `binaries` and source packages with the names `sources`.
    pub(super) fn matched<'a>(&self, words: &Words, binaries: &[&'a str], sources: impl Iterator<Item = &'a str>) -> Matched {
        let mut matched = Matched { binary: vec![false; self.count()], source: vec![false; self.names], names: 0 };
        let mut counted = vec![false; self.names];
        for name in binaries.iter().filter_map(|name| words.find(name)) {
            matched.binary[name as usize] = true;
            let from = self.list_of.partition_point(|(listed, _)| *listed < name);
            let lists = self.list_of[from..].iter().take_while(|(listed, _)| *listed == name);
            let mut is_sought = self.sought[name as usize];
            for (_, list) in lists {
                matched.binary[self.names + *list as usize] = true;
                is_sought = true;
            }
            counted[name as usize] |= is_sought;
        }
        for name in sources.filter_map(|name| words.find(name)) {
            matched.source[name as usize] = true;
            counted[name as usize] |= self.sought[name as usize];
        }
        matched.names = counted.iter().filter(|counted| **counted).count();
        let tried = MAX_TRIALS / binaries.len().max(1);
        for (number, pattern) in self.patterns.iter().enumerate() {
            let (can_find, found) = if number < tried { matching(pattern, binaries) } else { (true, 0) };
            matched.binary[self.names + self.lists + number] = can_find;
            matched.names += found;
        }
        matched
    }
}

/// Objects that join others find at most what those find.
fn join(items: &mut [Item], slots: &[Slot]) {
    let joined: Vec<(usize, Names)> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| match &item.about {
            About::PackageObject { names: Names::Objects(ids), .. } => Some((at, union(ids, items, slots))),
            _ => None,
        })
        .collect();
    for (at, union) in joined {
        if let About::PackageObject { names, .. } = &mut items[at].about {
            *names = union;
        }
    }
}

fn union(ids: &[u32], items: &[Item], slots: &[Slot]) -> Names {
    let mut matchers = Vec::new();
    for id in ids {
        let Slot::Item(item) = slots[*id as usize] else { return Names::Any };
        match &items[item as usize].about {
            About::PackageObject { names: Names::One(name), .. } => matchers.push(*name),
            About::PackageObject { names: Names::Matchers(others), .. } => matchers.extend(others),
            // A state that filters makes it less.
            About::Other if items[item as usize].section == super::item::Section::States => {}
            _ => return Names::Any,
        }
    }
    matchers.sort_unstable();
    matchers.dedup();
    if matchers.is_empty() { Names::Any } else { Names::Matchers(matchers.into()) }
}

/// Whether the pattern means the same to us as to OpenSCAP's PCRE, or to us a little more: what goes beyond the common ground is not tried.
fn is_plain(pattern: &str) -> bool {
    let mut in_class = false;
    let mut escaped = false;
    for c in pattern.chars() {
        match (escaped, c) {
            (true, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b') => escaped = false,
            (true, c) if c.is_ascii_punctuation() => escaped = false,
            (true, _) => return false,
            (false, '\\') => escaped = true,
            (false, '[') if in_class => return false,
            (false, '[') => in_class = true,
            (false, ']') => in_class = false,
            (false, '&' | '~') if in_class => return false,
            (false, c) if !c.is_ascii() || c.is_ascii_control() => return false,
            _ => {}
        }
    }
    !escaped && !in_class && !pattern.contains("(?") && !pattern.contains("(*") && !pattern.contains("--") && compiled(pattern).is_some()
}

fn compiled(pattern: &str) -> Option<Regex> {
    const MAX_BYTES: usize = 256 << 10;
    RegexBuilder::new(pattern).unicode(false).size_limit(MAX_BYTES).dfa_size_limit(MAX_BYTES).nest_limit(50).build().ok()
}

/// Whether the pattern can find anything, and how many of `names` it matches.
///
/// A name that it spells out counts, since dpkginfo compares by equality alone. rpm's public keys are no packages to us, and always may be there.
fn matching(pattern: &str, names: &[&str]) -> (bool, usize) {
    const KEY: &str = "gpg-pubkey";
    if names.iter().chain(&[KEY]).all(|name| !may_match(pattern, name)) {
        return (false, 0);
    }
    let Some(regex) = compiled(pattern) else { return (true, 0) };
    let found = names.iter().filter(|name| regex.is_match(name) || **name == pattern).count();
    (found > 0 || regex.is_match(KEY), found)
}

/// A quick look: whether a name can begin as the pattern says.
fn may_match(pattern: &str, name: &str) -> bool {
    let Some(rest) = pattern.strip_prefix('^').filter(|rest| !rest.contains('|')) else { return true };
    let plain = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(rest.len());
    // What comes next may make the last of them optional.
    name.starts_with(&rest[..plain.saturating_sub(1)]) || name == pattern
}
