//! Choosing the definitions that can concern an image.

use super::item::{About, Definition, Names, NodeKind, Role, Slot};
use super::names::Matched;
use super::question::Answers;
use super::source::{self, Source};
use super::verdict::{Verdict, evaluate};
use super::{FeedError, Index, Selection};
use crate::report::{Package, PackageKind};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is known of an image while choosing.
pub(super) struct Image<'a> {
    index: &'a Index,
    matched: Matched,
    pub(super) sources: BTreeMap<&'a str, Source<'a>>,
    /// By the ids of tests.
    answers: HashMap<u32, Verdict>,
    /// By the ids of tests that were asked for and have no answer: what would make the definitions that hang on them false.
    unanswered: HashMap<u32, bool>,
    /// What definitions that others extend come to; once as it is, and once as if the unanswered were answered.
    known: [HashMap<u32, Verdict>; 2],
}

/// What the name of an object means for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing of the name is installed.
    Absent,
    Binary,
    Source,
}

/// What was decided on the definitions.
#[derive(Default)]
struct Decided {
    kept: BTreeSet<u32>,
    unanswered: BTreeSet<u32>,
    broken: BTreeSet<u32>,
    /// They are true whatever is installed, since of an answer.
    forced: usize,
}

impl Index {
    pub(super) fn choose(&self, packages: &[Package], answers: &Answers) -> Result<Selection, FeedError> {
        self.check_kinds(packages)?;
        let mut image = Image::new(self, packages, answers);
        let mut decided = Decided::default();
        for number in image.candidates() {
            image.decide(number, &mut decided);
        }
        self.check_forced(&image, decided.forced)?;
        let document = self.document(&image, &decided.kept)?;
        let undecided = |set: &BTreeSet<u32>| set.iter().filter(|number| !document.definitions.contains(number)).count();
        let (unanswered, broken) = (undecided(&decided.unanswered), undecided(&decided.broken));
        let definitions = document.definitions.iter().filter(|number| self.definitions[**number as usize].role != Role::Helper).count();
        Ok(Selection {
            document: document.bytes,
            definitions,
            not_applicable: self.judging.saturating_sub(definitions + unanswered + broken),
            undecided: unanswered + broken,
            undecided_reason: self.reason(&image, unanswered, broken),
            matched_names: image.matched.names,
            source_definitions: document.source_definitions,
        })
    }

    /// A feed that looks at packages of other kinds alone finds nothing, and says that all is well.
    fn check_kinds(&self, packages: &[Package]) -> Result<(), FeedError> {
        let kinds = [(PackageKind::Rpm, self.looks_at[0]), (PackageKind::Deb, self.looks_at[1])];
        let looked: Vec<&str> = kinds.iter().filter(|(_, looks)| *looks).map(|(kind, _)| kind.as_str()).collect();
        let fits = kinds.iter().any(|(kind, looks)| *looks && packages.iter().any(|package| package.kind == *kind));
        if fits || looked.is_empty() {
            return Ok(());
        }
        Err(FeedError::OtherSystem(format!("they look at packages of the kind {}, of which the image has none", looked.join(" or "))))
    }

    /// Feeds such as Red Hat's say of every other system that all definitions hold.
    fn check_forced(&self, image: &Image<'_>, forced: usize) -> Result<(), FeedError> {
        const MANY: usize = 1_000;
        if forced < 2 || (forced <= MANY && 2 * forced <= self.judging) {
            return Ok(());
        }
        let told: Vec<String> = self.questions.iter().filter(|test| self.forces(image, **test)).take(3).map(|test| self.comment(*test)).collect();
        Err(FeedError::OtherSystem(format!(
            "{forced} of {} hold whatever is installed, since the image does not meet what they ask for ({})",
            self.judging,
            told.join("; ")
        )))
    }

    fn forces(&self, image: &Image<'_>, test: u32) -> bool {
        [true, false].into_iter().any(|wanted| {
            let opposite = if wanted { Verdict::False } else { Verdict::True };
            image.answers.get(&test) == Some(&opposite) && self.hanging.by_test.contains_key(&(test, wanted))
        })
    }

    fn reason(&self, image: &Image<'_>, unanswered: usize, broken: usize) -> String {
        let mut reasons = Vec::new();
        if unanswered > 0 {
            let questions: Vec<String> =
                self.questions.iter().filter(|test| image.unanswered.contains_key(test)).take(3).map(|test| self.comment(*test)).collect();
            reasons
                .push(format!("{unanswered} definitions could not be judged, since OpenSCAP could not answer on what they hang ({}).", questions.join("; ")));
        }
        if broken > 0 {
            reasons.push(format!("{broken} definitions could not be judged, since they refer to something that the feed does not hold."));
        }
        reasons.join(" ")
    }
}

impl<'a> Image<'a> {
    pub(super) fn new(index: &'a Index, packages: &'a [Package], answers: &Answers) -> Self {
        let is_ours = |package: &&Package| package.kind == PackageKind::Apk || source::is_source_entry(&package.name);
        let mut binaries: Vec<&str> = packages.iter().filter(|package| !is_ours(package)).map(|package| package.name.as_str()).collect();
        binaries.sort_unstable();
        binaries.dedup();
        let sources = source::sources(packages);
        let matched = index.matchers.matched(&index.names, &binaries, sources.keys().copied());
        let answers = answers.verdicts(index);
        let open = |test: &u32| !answers.contains_key(test);
        let wish = |test: u32| {
            let wishes = [true, false].map(|wanted| index.hanging.by_test.contains_key(&(test, wanted)));
            // When some need it true and some need it false, nothing is assumed.
            (wishes[0] != wishes[1]).then_some((test, wishes[0]))
        };
        let unanswered = index.questions.iter().copied().filter(open).filter_map(wish).collect();
        Self { index, matched, sources, answers, unanswered, known: Default::default() }
    }

    /// Definitions that are not false at first sight.
    fn candidates(&self) -> Vec<u32> {
        let hanging = &self.index.hanging;
        let mut is_candidate = vec![false; self.index.definitions.len()];
        let mut mark = |definitions: &[u32]| definitions.iter().for_each(|number| is_candidate[*number as usize] = true);
        mark(&hanging.always);
        for matcher in 0..self.matched.binary.len() {
            if self.matched.binary[matcher] || self.matched.source.get(matcher).copied().unwrap_or_default() {
                mark(hanging.on_matcher(matcher));
            }
        }
        for ((test, wanted), definitions) in &hanging.by_test {
            let favourable = if *wanted { Verdict::True } else { Verdict::False };
            if self.answers.get(test) != Some(&favourable) {
                mark(definitions);
            }
        }
        is_candidate.into_iter().zip(0u32..).filter(|(is, _)| *is).map(|(_, number)| number).collect()
    }

    fn decide(&mut self, number: u32, decided: &mut Decided) {
        let definition = &self.index.definitions[number as usize];
        let verdict = self.definition(number, false);
        if verdict == Verdict::False && definition.role == Role::Finding {
            return;
        }
        if definition.broken {
            decided.broken.insert(number);
            return;
        }
        if definition.role == Role::Finding && verdict == Verdict::Open && !self.unanswered.is_empty() && self.definition(number, true) == Verdict::False {
            decided.unanswered.insert(number);
            return;
        }
        if verdict == Verdict::True && definition.role == Role::Finding {
            decided.forced += 1;
        }
        decided.kept.insert(number);
    }

    /// What a definition comes to; `favoured`: as if questions without an answer were answered so that it becomes false.
    fn definition(&mut self, number: u32, favoured: bool) -> Verdict {
        if let Some(known) = self.known[usize::from(favoured)].get(&number) {
            return *known;
        }
        let index = self.index;
        let definition = &index.definitions[number as usize];
        let verdict = if definition.nodes.is_empty() {
            Verdict::Open
        } else {
            evaluate(&index.nodes, definition.nodes.start as usize, &mut |kind| match kind {
                NodeKind::Test(id) => self.test(definition, id, favoured),
                NodeKind::Extend(id) => match index.slots[id as usize] {
                    Slot::Definition(other) => self.definition(other, favoured),
                    _ => Verdict::Open,
                },
                _ => Verdict::Open,
            })
        };
        self.known[usize::from(favoured)].insert(number, verdict);
        verdict
    }

    fn test(&self, definition: &Definition, id: u32, favoured: bool) -> Verdict {
        let Slot::Item(item) = self.index.slots[id as usize] else { return Verdict::Open };
        match self.index.items[item as usize].about {
            About::PackageTest { object, if_none } if self.finds_nothing(definition, object) => {
                if if_none {
                    Verdict::True
                } else {
                    Verdict::False
                }
            }
            About::OtherTest => match (self.answers.get(&id), self.unanswered.get(&id)) {
                (Some(answer), _) => *answer,
                (None, Some(wanted)) if favoured => {
                    if *wanted {
                        Verdict::True
                    } else {
                        Verdict::False
                    }
                }
                _ => Verdict::Open,
            },
            _ => Verdict::Open,
        }
    }

    fn finds_nothing(&self, definition: &Definition, object: u32) -> bool {
        match self.index.names_of(object) {
            Some((dpkg, Names::One(name))) => self.meaning(definition, dpkg, *name) == Meaning::Absent,
            Some((_, Names::Matchers(matchers))) => !matchers.iter().any(|matcher| self.matched.binary[*matcher as usize]),
            _ => false,
        }
    }

    /// Whether a name in a definition means a source package of the image, or a binary one.
    ///
    /// A name that is only the one is the one. Where it can be both, and where a feed of binaries names one that is not installed, the definition's words
    /// decide.
    fn meaning(&self, definition: &Definition, dpkg: bool, name: u32) -> Meaning {
        let (binary, source) = (self.matched.binary[name as usize], dpkg && self.matched.source[name as usize]);
        match (binary, source) {
            (_, true) if definition.means_sources => Meaning::Source,
            (true, _) => Meaning::Binary,
            (false, true) if !definition.means_binaries => Meaning::Source,
            _ => Meaning::Absent,
        }
    }

    /// The source package that a test means in a definition.
    pub(super) fn source_of(&self, definition: &Definition, test: u32) -> Option<&'a str> {
        let object = self.index.object_of(test)?;
        let Some((dpkg, Names::One(name))) = self.index.names_of(object) else { return None };
        (self.meaning(definition, dpkg, *name) == Meaning::Source).then(|| self.index.names.word(*name))
    }
}
