//! From what was read to the index: references are followed once, meanings are decided, and what definitions hang on is noted.

use super::item::{About, Definition, Names, NodeKind, Role, Slot};
use super::limits::{MAX_ATOMS, MAX_QUESTIONS, MAX_REFERENCE_DEPTH};
use super::names::Matchers;
use super::necessary::Finder;
use super::read::{Feed, Hints};
use super::{FeedError, Index};
use std::collections::{BTreeMap, HashSet};

/// One list of binaries among so many definitions that say nothing makes a feed one of binaries.
const SILENT_PER_LIST: usize = 10;

/// Which definitions are to be looked at when something is there.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    /// By matcher: where its definitions begin in `definitions`; one more at the end.
    starts: Vec<u32>,
    definitions: Vec<u32>,
    /// Definitions that hang on a test coming to the opposite of what is said here.
    pub(super) by_test: BTreeMap<(u32, bool), Vec<u32>>,
    /// To be looked at always.
    pub(super) always: Vec<u32>,
}

impl Hanging {
    pub(super) fn on_matcher(&self, matcher: usize) -> &[u32] {
        &self.definitions[self.starts[matcher] as usize..self.starts[matcher + 1] as usize]
    }
}

impl Index {
    pub(super) fn of(mut feed: Feed) -> Result<Self, FeedError> {
        let matchers = Matchers::resolve(&mut feed.items, &feed.slots, &feed.names, std::mem::take(&mut feed.patterns));
        let mut index = Self {
            frame: feed.frame,
            ids: feed.ids,
            slots: feed.slots,
            names: feed.names,
            definitions: feed.definitions,
            nodes: feed.nodes,
            items: feed.items,
            references: feed.references,
            matchers,
            blocks: feed.packer.finish()?,
            hanging: Hanging::default(),
            questions: Vec::new(),
            judging: 0,
            looks_at: [false; 2],
        };
        index.judging = index.definitions.iter().filter(|definition| definition.role != Role::Helper).count();
        for item in &index.items {
            if let About::PackageObject { dpkg, .. } = item.about {
                index.looks_at[usize::from(dpkg)] = true;
            }
        }
        index.follow_references()?;
        index.decide_meanings(&feed.hints, &feed.forms);
        index.note_hanging()?;
        Ok(index)
    }

    /// Finds references that lead nowhere; refuses those that lead in circles or too deep, in which OpenSCAP would be lost.
    fn follow_references(&mut self) -> Result<(), FeedError> {
        let mut state = vec![Seen::Not; self.slots.len()];
        for id in 0..self.slots.len() {
            self.follow(id, 0, &mut state)?;
        }
        for definition in &mut self.definitions {
            definition.broken = state[definition.id as usize] == Seen::Broken;
        }
        for item in &mut self.items {
            item.broken = state[item.id as usize] == Seen::Broken;
        }
        Ok(())
    }

    fn follow(&self, id: usize, depth: usize, state: &mut [Seen]) -> Result<(bool, usize), FeedError> {
        match state[id] {
            Seen::Whole(below) if depth + below as usize > MAX_REFERENCE_DEPTH => return Err(self.lost(id, "refers to others more than 16 deep")),
            Seen::Whole(below) => return Ok((true, below as usize)),
            Seen::Broken => return Ok((false, 0)),
            Seen::Open => return Err(self.lost(id, "refers to itself in a circle")),
            Seen::Not if depth > MAX_REFERENCE_DEPTH => return Err(self.lost(id, "refers to others more than 16 deep")),
            Seen::Not => {}
        }
        state[id] = Seen::Open;
        let (mut is_whole, mut below) = (self.slots[id] != Slot::Missing, 0);
        for next in self.references_of(self.slots[id]) {
            let (whole, deep) = self.follow(next as usize, depth + 1, state)?;
            is_whole &= whole;
            below = below.max(deep + 1);
        }
        state[id] = if is_whole { Seen::Whole(u8::try_from(below).unwrap_or(u8::MAX)) } else { Seen::Broken };
        Ok((is_whole, below))
    }

    fn lost(&self, id: usize, how: &str) -> FeedError {
        let id = u32::try_from(id).expect("ids are numbered by u32");
        FeedError::malformed(format!("{} {how}", self.ids.word(id)))
    }

    /// The ids that something refers to directly.
    pub(super) fn references_of(&self, slot: Slot) -> Vec<u32> {
        match slot {
            Slot::Missing => Vec::new(),
            Slot::Item(item) => {
                let range = &self.items[item as usize].references;
                self.references[range.start as usize..range.end as usize].to_vec()
            }
            Slot::Definition(definition) => {
                let nodes = self.nodes_of(&self.definitions[definition as usize]).iter();
                let unique: HashSet<u32> =
                    nodes.filter_map(|node| if let NodeKind::Test(id) | NodeKind::Extend(id) = node.kind { Some(id) } else { None }).collect();
                unique.into_iter().collect()
            }
        }
    }

    /// Which definitions mean source packages: those that say so; where a feed says nothing at all, it is decided for each image.
    fn decide_meanings(&mut self, hints: &[Hints], forms: &[Option<u32>]) {
        let meanings: Vec<(bool, bool)> = self
            .definitions
            .iter()
            .zip(hints)
            .map(|(definition, hints)| (self.says_sources(definition, hints, forms), self.lists_binaries(definition)))
            .collect();
        let feed_says_sources = meanings.iter().any(|(sources, _)| *sources);
        let silent = meanings.iter().filter(|(sources, _)| !sources).count();
        let lists = meanings.iter().filter(|(sources, binaries)| *binaries && !sources).count();
        // A feed of binaries has many lists of them. A few are not enough: where it names sources for once, each would be called not vulnerable.
        let feed_lists_binaries = lists > 0 && lists * SILENT_PER_LIST >= silent;
        for (definition, (sources, binaries)) in self.definitions.iter_mut().zip(meanings) {
            definition.means_sources = sources || feed_says_sources && !feed_lists_binaries && !binaries;
            definition.means_binaries = !definition.means_sources && (binaries || feed_lists_binaries);
        }
    }

    /// A comment or the title names the package that a criterion looks for, in the form of a feed that names sources.
    fn says_sources(&self, definition: &Definition, hints: &Hints, forms: &[Option<u32>]) -> bool {
        let places = definition.nodes.start as usize..definition.nodes.end as usize;
        places.into_iter().any(|place| {
            let NodeKind::Test(test) = self.nodes[place].kind else { return false };
            let name = self.single_name(test);
            name.is_some() && (forms[place] == name || hints.title == name && hints.product == name)
        })
    }

    /// It looks for several packages at once, as only a list of binaries does.
    fn lists_binaries(&self, definition: &Definition) -> bool {
        let mut names = HashSet::new();
        self.nodes_of(definition).iter().any(|node| {
            let NodeKind::Test(test) = node.kind else { return false };
            let Some(object) = self.object_of(test) else { return false };
            match self.names_of(object) {
                Some((true, Names::One(name))) => names.insert(*name) && names.len() > 1,
                Some((true, Names::Matchers(_))) => true,
                _ => false,
            }
        })
    }

    fn note_hanging(&mut self) -> Result<(), FeedError> {
        let mut finder = Finder::new(self);
        let mut hanging = Hanging::default();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (definition, number) in self.definitions.iter().zip(0u32..).filter(|(definition, _)| definition.role != Role::Helper) {
            let hang = finder.definition(number, false);
            if hang.always || definition.role == Role::Compliance {
                hanging.always.push(number);
                continue;
            }
            pairs.extend(hang.matchers.iter().map(|matcher| (*matcher, number)));
            for test in &hang.tests {
                hanging.by_test.entry(*test).or_default().push(number);
            }
            if pairs.len() > MAX_ATOMS {
                return Err(FeedError::too_large("definitions that look for more than 8,000,000 packages in all"));
            }
        }
        pairs.sort_unstable();
        hanging.starts = Vec::with_capacity(self.matchers.count() + 1);
        let mut at = 0;
        for matcher in 0..=self.matchers.count() {
            while at < pairs.len() && (pairs[at].0 as usize) < matcher {
                at += 1;
            }
            hanging.starts.push(u32::try_from(at).expect("MAX_ATOMS is below 2^32"));
        }
        hanging.definitions = pairs.into_iter().map(|(_, definition)| definition).collect();
        self.hanging = hanging;
        self.choose_questions();
        Ok(())
    }

    /// A test is asked for when it saves much: many definitions, or most of them, hang on it.
    fn choose_questions(&mut self) {
        const MANY: usize = 100;
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for ((test, _), definitions) in &self.hanging.by_test {
            *counts.entry(*test).or_default() += definitions.len();
        }
        let worth = |count: usize| count > MANY || count > 1 && 2 * count > self.judging;
        let mut tests: Vec<(usize, u32)> = counts.into_iter().map(|(test, count)| (count, test)).collect();
        tests.retain(|(count, test)| worth(*count) && !self.is_broken(*test));
        tests.sort_unstable_by_key(|(count, test)| (std::cmp::Reverse(*count), *test));
        self.questions = tests.into_iter().take(MAX_QUESTIONS).map(|(_, test)| test).collect();
    }

    fn is_broken(&self, id: u32) -> bool {
        match self.slots[id as usize] {
            Slot::Item(item) => self.items[item as usize].broken,
            Slot::Definition(definition) => self.definitions[definition as usize].broken,
            Slot::Missing => true,
        }
    }
}

/// How far references were followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    Open,
    Broken,
    /// So many references are below.
    Whole(u8),
}
