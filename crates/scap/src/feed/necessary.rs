//! On what a definition hangs: a set of atoms of which at least one must be there, or the definition is false.
//!
//! It is what makes choosing quick: an image's atoms lead to the few definitions that are to be evaluated.

use super::Index;
use super::item::{About, Names, NodeKind, Slot};
use std::collections::HashMap;
use std::rc::Rc;

/// What must all be absent to force a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hang {
    /// Nothing forces it.
    pub(super) always: bool,
    /// Sorted; none of them may match.
    pub(super) matchers: Vec<u32>,
    /// Sorted; tests that must come to this.
    pub(super) tests: Vec<(u32, bool)>,
}

impl Hang {
    fn always() -> Self {
        Self { always: true, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.always |= other.always;
        if self.always {
            (self.matchers, self.tests) = Default::default();
            return;
        }
        self.matchers.extend(&other.matchers);
        self.tests.extend(&other.tests);
    }

    fn settle(mut self) -> Self {
        self.matchers.sort_unstable();
        self.matchers.dedup();
        self.tests.sort_unstable();
        self.tests.dedup();
        self
    }
}

/// Finds out what definitions hang on.
pub(super) struct Finder<'a> {
    index: &'a Index,
    /// By the id of a test that is not about packages, how many definitions look at it.
    popularity: HashMap<u32, usize>,
    known: HashMap<(u32, bool), Rc<Hang>>,
    /// How many atoms may still be copied: a hostile feed could multiply them. Definitions beyond it are always looked at.
    budget: usize,
}

/// Far more than real feeds need.
const MAX_COPIED_ATOMS: usize = 200_000_000;

impl<'a> Finder<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index, popularity: popularity(index), known: HashMap::new(), budget: MAX_COPIED_ATOMS }
    }

    /// What `definition` hangs on not to be `result`'s opposite. References are known to have no circles and a bounded depth.
    pub(super) fn definition(&mut self, definition: u32, result: bool) -> Rc<Hang> {
        if let Some(known) = self.known.get(&(definition, result)) {
            return known.clone();
        }
        let nodes = self.index.definitions[definition as usize].nodes.clone();
        let hang = Rc::new(if nodes.is_empty() { Hang::always() } else { self.node(nodes.start as usize, result) });
        self.known.insert((definition, result), hang.clone());
        hang
    }

    fn node(&mut self, at: usize, result: bool) -> Hang {
        let node = self.index.nodes[at];
        let result = result != node.negate;
        match node.kind {
            NodeKind::Test(id) => self.test(id, result),
            NodeKind::Extend(id) => match self.index.slots[id as usize] {
                Slot::Definition(definition) => {
                    let hang = self.definition(definition, result);
                    if self.spend(&hang) { hang.as_ref().clone() } else { Hang::always() }
                }
                _ => Hang::always(),
            },
            NodeKind::And if !result => self.best(at, false),
            NodeKind::And => self.all(at, true),
            NodeKind::Or if result => self.best(at, true),
            // Without any that is true, neither of them is.
            NodeKind::Or | NodeKind::One | NodeKind::Xor if !result => self.all(at, false),
            _ => Hang::always(),
        }
    }

    fn test(&self, id: u32, result: bool) -> Hang {
        let Slot::Item(item) = self.index.slots[id as usize] else { return Hang::always() };
        match self.index.items[item as usize].about {
            About::PackageTest { object, if_none } if if_none == result => match self.index.names_of(object) {
                Some((_, Names::One(name))) => Hang { matchers: vec![*name], ..Hang::default() },
                Some((_, Names::Matchers(matchers))) => Hang { matchers: matchers.to_vec(), ..Hang::default() },
                _ => Hang::always(),
            },
            About::OtherTest => Hang { tests: vec![(id, result)], ..Hang::default() },
            _ => Hang::always(),
        }
    }

    fn spend(&mut self, hang: &Hang) -> bool {
        let atoms = hang.matchers.len() + hang.tests.len();
        self.budget = self.budget.saturating_sub(atoms);
        self.budget > 0
    }

    fn children(&self, at: usize) -> Vec<usize> {
        let mut children = Vec::new();
        let (end, mut child) = (self.index.nodes[at].end as usize, at + 1);
        while child < end {
            children.push(child);
            child = self.index.nodes[child].end as usize;
        }
        children
    }

    fn all(&mut self, at: usize, result: bool) -> Hang {
        let children = self.children(at);
        let mut all = if children.is_empty() { Hang::always() } else { Hang::default() };
        for child in children {
            if all.always {
                break;
            }
            let hang = self.node(child, result);
            let hang = if self.spend(&hang) { hang } else { Hang::always() };
            all.add(&hang);
        }
        all.settle()
    }

    fn best(&mut self, at: usize, result: bool) -> Hang {
        let children = self.children(at);
        let hangs: Vec<Hang> = children.into_iter().map(|child| self.node(child, result)).collect();
        hangs.into_iter().min_by_key(|hang| self.cost(hang)).unwrap_or_else(Hang::always)
    }

    /// Packages are known at once; a test is asked only when many definitions look at it.
    fn cost(&self, hang: &Hang) -> usize {
        const POPULAR: usize = 1_000;
        if hang.always {
            return usize::MAX;
        }
        let tests = hang.tests.iter().map(|(id, _)| POPULAR + 1_000_000_000 / self.popularity.get(id).copied().unwrap_or(1).max(1));
        hang.matchers.len().saturating_add(tests.fold(0, usize::saturating_add))
    }
}

/// Tests count for each definition that names them, and for each that extends such a one.
fn popularity(index: &Index) -> HashMap<u32, usize> {
    let mut extended: HashMap<u32, usize> = HashMap::new();
    for node in &index.nodes {
        if let NodeKind::Extend(id) = node.kind {
            *extended.entry(id).or_default() += 1;
        }
    }
    let mut popularity = HashMap::new();
    for definition in &index.definitions {
        let weight = 1 + extended.get(&definition.id).copied().unwrap_or_default();
        for node in &index.nodes[definition.nodes.start as usize..definition.nodes.end as usize] {
            if let NodeKind::Test(id) = node.kind {
                *popularity.entry(id).or_default() += weight;
            }
        }
    }
    popularity
}
