//! What the index keeps of the feed's elements beside their text.

use super::blocks::Fragment;

/// The parts of an OVAL document that hold elements with ids, in the schema's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Definitions,
    Tests,
    Objects,
    States,
    Variables,
}

impl Section {
    pub(super) const ALL: [Self; 5] = [Self::Definitions, Self::Tests, Self::Objects, Self::States, Self::Variables];

    pub(super) fn parse(local: &str) -> Option<Self> {
        Some(match local {
            "definitions" => Self::Definitions,
            "tests" => Self::Tests,
            "objects" => Self::Objects,
            "states" => Self::States,
            "variables" => Self::Variables,
            _ => return None,
        })
    }
}

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It is referred to and is not there.
    Missing,
    Definition(u32),
    Item(u32),
}

/// A definition.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) id: u32,
    pub(super) role: Role,
    pub(super) fragment: Fragment,
    /// Its criteria in `Index::nodes`, from the first on; none: it has no criteria.
    pub(super) nodes: std::ops::Range<u32>,
    /// Its names mean source packages wherever they can: its words say so.
    pub(super) means_sources: bool,
    /// Its names mean binary packages.
    pub(super) means_binaries: bool,
    /// It refers, through whatever, to something that the feed does not hold.
    pub(super) broken: bool,
}

/// What a definition's result is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Vulnerability or patch: true is bad, and false needs no looking at.
    Finding,
    /// Compliance: false is bad, so that none may be left out.
    Compliance,
    /// Inventory and the like: there for others.
    Helper,
}

impl Role {
    pub(super) fn parse(class: &str) -> Self {
        match class {
            "vulnerability" | "patch" => Self::Finding,
            "compliance" => Self::Compliance,
            _ => Self::Helper,
        }
    }
}

/// A test, object, state or variable.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: u32,
    pub(super) section: Section,
    pub(super) fragment: Fragment,
    /// Ids that it refers to, in `Index::references`.
    pub(super) references: std::ops::Range<u32>,
    pub(super) about: About,
    pub(super) broken: bool,
}

/// What matters of an item for choosing.
#[derive(Debug)]
pub(super) enum About {
    /// A test for packages (dpkginfo, rpminfo) on the object with this id.
    PackageTest {
        object: u32,
        if_none: bool,
    },
    /// Any other test: only OpenSCAP can answer it.
    OtherTest,
    PackageObject {
        dpkg: bool,
        names: Names,
    },
    /// A constant variable's values; those of other variables are not known.
    Constant(Box<[u32]>),
    Other,
}

/// Which packages an object can find at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// Nobody can say.
    Any,
    /// One name, said plainly or by a constant variable with one value.
    One(u32),
    /// Any of the names that one of these matchers matches.
    Matchers(Box<[u32]>),
    /// Not resolved yet: the constant variable with this id.
    Variable(u32),
    /// Not resolved yet: the pattern with this number.
    Pattern(u32),
    /// Not resolved yet: what the objects with these ids find.
    Objects(Box<[u32]>),
}

/// A piece of criteria: they stand one after the other, each before its children.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) negate: bool,
    /// Behind the last of its children, in the same numbers as `Definition::nodes`.
    pub(super) end: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    And,
    Or,
    One,
    Xor,
    /// The id of a test.
    Test(u32),
    /// The id of a definition.
    Extend(u32),
}
