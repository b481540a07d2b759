//! Random criteria: what is left out is false under every result that OpenSCAP could come to.

use super::hostile::feed;
use super::{Answer, Answers, Index, ids, rpm};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// OVAL's results, as far as they matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum R {
    T,
    F,
    Na,
    Error,
}

#[derive(Debug, Clone)]
enum Tree {
    Join(&'static str, bool, Vec<Tree>),
    /// One of the tests 1 to 6.
    Test(usize, bool),
    Extend(usize, bool),
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn tree(&mut self, depth: usize, number: usize) -> Tree {
        let negate = self.roll(5) == 0;
        match self.roll(if depth == 0 { 10 } else { 14 }) {
            0 if number > 0 && depth > 0 => Tree::Extend(self.roll(number), negate),
            n if depth < 3 && (depth == 0 || n < 6) => {
                let operator = ["AND", "OR", "OR", "AND", "ONE", "XOR"][self.roll(6)];
                let children = 1 + self.roll(3);
                Tree::Join(operator, negate, (0..children).map(|_| self.tree(depth + 1, number)).collect())
            }
            _ => Tree::Test(1 + self.roll(6), negate),
        }
    }
}

fn write(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Join(operator, negate, children) => {
            let _ = write!(out, "<criteria operator=\"{operator}\" negate=\"{negate}\">");
            children.iter().for_each(|child| write(child, out));
            out.push_str("</criteria>");
        }
        Tree::Test(number, negate) => drop(write!(out, "<criterion test_ref=\"d:tst:{number}\" negate=\"{negate}\"/>")),
        Tree::Extend(number, negate) => drop(write!(out, "<extend_definition definition_ref=\"d:def:{}\" negate=\"{negate}\"/>", number + 1)),
    }
}

/// The plainest reading of OVAL's tables.
fn result(tree: &Tree, all: &[Tree], tests: &[R]) -> R {
    let (negate, plain) = match tree {
        Tree::Test(number, negate) => (*negate, tests[number - 1]),
        Tree::Extend(number, negate) => (*negate, result(&all[*number], all, tests)),
        Tree::Join(operator, negate, children) => {
            let results: Vec<R> = children.iter().map(|child| result(child, all, tests)).collect();
            let count = |wanted: R| results.iter().filter(|result| **result == wanted).count();
            let (yes, no, errors) = (count(R::T), count(R::F), count(R::Error));
            let plain = match *operator {
                "AND" if no > 0 => R::F,
                "OR" if yes > 0 => R::T,
                "ONE" if yes > 1 => R::F,
                _ if errors > 0 => R::Error,
                _ if yes + no == 0 => R::Na,
                "AND" => R::T,
                "OR" => R::F,
                "ONE" if yes == 1 => R::T,
                "XOR" if yes % 2 == 1 => R::T,
                _ => R::F,
            };
            (*negate, plain)
        }
    };
    match plain {
        R::T if negate => R::F,
        R::F if negate => R::T,
        other => other,
    }
}

/// Every way in which tests can come out, given `fixed` results of some.
fn worlds(fixed: &[Option<R>]) -> Vec<Vec<R>> {
    let mut worlds = vec![vec![]];
    for known in fixed {
        let choices = known.map_or_else(|| vec![R::T, R::F, R::Na, R::Error], |known| vec![known]);
        worlds = worlds.iter().flat_map(|world| choices.iter().map(move |choice| world.iter().copied().chain([*choice]).collect())).collect();
    }
    worlds
}

/// Tests 1 to 3: packages a to c; 4: package a is not there; 5 and 6: files.
const MORE: &str = "<l:rpminfo_test id=\"d:tst:4\" check=\"all\" check_existence=\"none_exist\" comment=\"\"><l:object object_ref=\"d:obj:1\"/></l:rpminfo_test>\
    <f:file_test xmlns:f=\"x\" id=\"d:tst:5\" comment=\"five\"/><f:file_test xmlns:f=\"x\" id=\"d:tst:6\" comment=\"six\"/>";

fn fixed(installed: &[&str], answers: &BTreeMap<usize, R>) -> Vec<Option<R>> {
    let there = |name: &str| installed.contains(&name);
    let mut fixed: Vec<Option<R>> = ["a", "b", "c"].into_iter().map(|name| (!there(name)).then_some(R::F)).collect();
    fixed.push((!there("a")).then_some(R::T));
    fixed.extend([5, 6].map(|test| answers.get(&test).copied()));
    fixed
}

#[test]
fn what_is_left_out_is_false_in_every_world_and_what_is_kept_could_be_true() {
    let mut dice = Dice(2026);
    let (mut left_out, mut kept, mut undecided, mut exact) = (0, 0, 0, 0);
    for round in 0..40 {
        let trees: Vec<Tree> = (0..12).fold(Vec::new(), |mut trees, number| {
            let tree = dice.tree(0, number);
            trees.push(if round % 2 == 0 { tree } else { hanging_on_five(tree) });
            trees
        });
        let mut deep = vec![0usize; trees.len()];
        for number in 0..trees.len() {
            deep[number] = depth(&trees[number], &deep);
        }
        if deep.iter().any(|depth| *depth > 10) {
            continue;
        }
        let criteria: Vec<String> = trees
            .iter()
            .map(|tree| {
                let mut out = String::new();
                write(tree, &mut out);
                out
            })
            .collect();
        let index = Index::build(feed(&criteria, MORE).as_bytes()).unwrap();
        let asked = asked(&index);
        for installed in [&["x"][..], &["a"], &["b", "c"], &["a", "b", "c"]] {
            for answer in
                [None, Some((Answer::True, R::T)), Some((Answer::False, R::F)), Some((Answer::NotApplicable, R::Na)), Some((Answer::Unknown, R::Error))]
            {
                let answers = Answers(answer.iter().flat_map(|(answer, _)| asked.iter().map(|(id, _)| (id.clone(), *answer))).collect());
                let known =
                    answer.iter().filter(|(answer, _)| *answer != Answer::Unknown).flat_map(|(_, r)| asked.iter().map(|(_, test)| (*test, *r))).collect();
                let packages: Vec<_> = installed.iter().map(|name| rpm(name)).collect();
                let Ok(selection) = index.select(&packages, &answers) else { continue };
                let chosen = ids(&selection, "def");
                let worlds = worlds(&fixed(installed, &known));
                let mut false_ones = 0;
                for (number, tree) in trees.iter().enumerate() {
                    let always_false = worlds.iter().all(|world| result(tree, &trees, world) == R::F);
                    false_ones += usize::from(always_false);
                    if chosen.contains(&(number + 1).to_string()) {
                        kept += 1;
                    } else if always_false {
                        exact += 1;
                    }
                }
                assert_eq!(selection.definitions + selection.not_applicable + selection.undecided, trees.len());
                let away = trees.len() - chosen.len();
                let could_be_true = (0..trees.len()).filter(|number| !chosen.contains(&(number + 1).to_string()));
                let could_be_true = could_be_true.filter(|number| worlds.iter().any(|world| result(&trees[*number], &trees, world) != R::F)).count();
                assert!(
                    could_be_true <= selection.undecided,
                    "{installed:?} {answer:?}: {could_be_true} of {away} left out may be true, {} are said to be",
                    selection.undecided
                );
                assert!(selection.not_applicable <= false_ones);
                left_out += selection.not_applicable;
                undecided += selection.undecided;
            }
        }
    }
    assert!(left_out > 1_000 && kept > 1_000 && undecided > 50 && exact > 1_000, "{left_out} {kept} {undecided} {exact}");
}

/// Most definitions of such a feed hang on one test, as Red Hat's do.
fn hanging_on_five(tree: Tree) -> Tree {
    let is_criteria = matches!(tree, Tree::Join(..));
    assert!(is_criteria, "definitions begin with criteria");
    Tree::Join("OR", false, vec![Tree::Test(5, false), Tree::Join("AND", false, vec![Tree::Test(2, false), tree])])
}

/// The questions' ids with the numbers of the tests that they ask for.
fn asked(index: &Index) -> Vec<(String, usize)> {
    let Some(questions) = index.questions(&[rpm("x")]) else { return Vec::new() };
    let text = String::from_utf8(questions.document).unwrap();
    let test = |id: &String| text.split(&format!("id=\"{id}\"")).nth(1).unwrap().split("test_ref=\"d:tst:").nth(1).unwrap()[..1].parse().unwrap();
    questions.ids.iter().map(|id| (id.clone(), test(id))).collect()
}

fn depth(tree: &Tree, known: &[usize]) -> usize {
    match tree {
        Tree::Join(_, _, children) => children.iter().map(|child| depth(child, known)).max().unwrap_or_default(),
        Tree::Test(..) => 0,
        Tree::Extend(number, _) => known[*number] + 1,
    }
}
