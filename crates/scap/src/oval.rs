//! Results of `oscap oval eval --results`.
//!
//! Source: OVAL 5.11.1 results schema; classes and what `true` means: OVAL definition schema, `ClassEnumeration`.

use crate::evaluation::{ArfError, Budget, Evaluation, LeftOut, MAX_RULES, add_identifier, identifier};
use crate::report::{Identifier, Outcome, RuleResult, Severity};
use crate::text::{self, Form};
use crate::xml::{Ns, Token, Xml};
use std::collections::HashMap;
use std::io::BufRead;

/// The definitions evaluated in an OVAL results file, in the file's order.
///
/// Definitions of the classes vulnerability and patch that are `true` fail, and so do compliance definitions that are `false`; inventory and miscellaneous
/// definitions judge nothing and are left out. Description and fix are given only where a definition did not pass: feeds hold tens of thousands.
///
/// # Errors
/// As [`crate::arf::parse`].
pub fn parse(input: impl BufRead) -> Result<Evaluation, ArfError> {
    read(input, |_| true)
}

/// As [`parse`], but with rows for definitions that failed or could not be judged alone; the others are counted in `left_out`.
///
/// # Errors
/// As [`crate::arf::parse`].
pub fn parse_found(input: impl BufRead) -> Result<Evaluation, ArfError> {
    read(input, |outcome| !matches!(outcome, Outcome::Pass | Outcome::NotApplicable))
}

fn read(input: impl BufRead, kept: impl Fn(Outcome) -> bool + Copy) -> Result<Evaluation, ArfError> {
    let mut xml = Xml::new(input);
    let mut definitions = HashMap::new();
    let mut results = None;
    loop {
        let start = match xml.next()? {
            Token::Start(start) => start,
            Token::Eof => break,
            _ => continue,
        };
        match (start.ns, start.local()) {
            (Ns::OvalDefinitions, "definition") => {
                let definition = Definition { id: start.attr("id")?, class: start.attr("class")?, ..Definition::default() };
                read_definition(definition, &mut definitions, &mut xml)?;
            }
            (Ns::OvalDefinitions, "tests" | "objects" | "states" | "variables") | (Ns::OvalResults, "tests") => xml.skip()?,
            (Ns::OvalResults, "results") => results = Some(read_results(&definitions, kept, &mut xml)?),
            _ => {}
        }
    }
    let (rules, left_out) = results.ok_or(ArfError::NoTestResult)?;
    Ok(Evaluation { rules, left_out, ..Evaluation::default() })
}

/// A definition's own words.
#[derive(Default)]
struct Definition {
    id: String,
    class: String,
    title: String,
    description: String,
    severity: String,
    identifiers: Vec<Identifier>,
    /// From criteria such as `bash DPKG is earlier than 5.2.15-2`.
    fixes: Vec<String>,
    /// Of a definition of source packages: a sentence with the binary packages through which it concerns the image; [`crate::feed`] put it there.
    through: String,
}

/// Most packages named in one definition's fix.
const MAX_FIXES: usize = 100;

fn read_definition<R: BufRead>(mut definition: Definition, all: &mut HashMap<String, Definition>, xml: &mut Xml<R>) -> Result<(), ArfError> {
    let inside = xml.depth();
    while xml.depth() >= inside {
        let Token::Start(start) = xml.next()? else { continue };
        match start.local() {
            "through" if start.ns == Ns::Tidewaiter => definition.through = text::read(xml, Form::Prose)?,
            "title" => definition.title = text::read(xml, Form::Prose)?,
            "description" => definition.description = text::read(xml, Form::Prose)?,
            "severity" => definition.severity = text::read(xml, Form::Prose)?,
            "reference" => {
                let system = match start.attr("source")?.as_str() {
                    "CVE" => "http://cve.mitre.org".to_owned(),
                    other => other.to_owned(),
                };
                add_identifier(&mut definition.identifiers, identifier(system, start.attr("ref_id")?, &start.attr("ref_url")?));
            }
            "cve" => {
                let href = start.attr("href")?;
                add_identifier(&mut definition.identifiers, identifier("http://cve.mitre.org".into(), text::read(xml, Form::Prose)?, &href));
            }
            "criterion" if definition.fixes.len() < MAX_FIXES => definition.fixes.extend(fix(&start.attr("comment")?)),
            "affected" => xml.skip()?,
            _ => {}
        }
    }
    if all.len() >= MAX_RULES {
        return Err(ArfError::TooLarge("more than 200,000 definitions"));
    }
    all.insert(definition.id.clone(), definition);
    Ok(())
}

/// What to do, from a criterion's comment as the feeds of Debian, Red Hat, SUSE and Oracle write it.
fn fix(comment: &str) -> Option<String> {
    let (package, version) = comment.split_once(" is earlier than ")?;
    let package = package.trim_end_matches(" DPKG").trim();
    let version = version.trim().trim_start_matches("0:");
    (!package.is_empty() && !version.is_empty() && version != "0").then(|| format!("Upgrade {package} to {version} or later."))
}

fn read_results<R: BufRead>(
    definitions: &HashMap<String, Definition>,
    kept: impl Fn(Outcome) -> bool,
    xml: &mut Xml<R>,
) -> Result<(Vec<RuleResult>, LeftOut), ArfError> {
    let mut rules = Vec::new();
    let mut left_out = LeftOut::default();
    let mut budget = Budget::new();
    let inside = xml.depth();
    while xml.depth() >= inside {
        let Token::Start(start) = xml.next()? else { continue };
        match (start.ns, start.local()) {
            (Ns::OvalResults, "definition") => {
                let (id, result) = (start.attr("definition_id")?, start.attr("result")?);
                xml.skip()?;
                let Some(rule) = definitions.get(&id).and_then(|definition| judge(definition, &result)) else { continue };
                match rule.outcome {
                    outcome if kept(outcome) => {
                        budget.take(&rule)?;
                        rules.push(rule);
                    }
                    Outcome::NotApplicable => left_out.not_applicable += 1,
                    _ => left_out.passed += 1,
                }
            }
            (Ns::OvalResults, "system" | "definitions") => {}
            _ => xml.skip()?,
        }
    }
    Ok((rules, left_out))
}

/// One definition with its result; `None` for classes that judge nothing.
fn judge(definition: &Definition, result: &str) -> Option<RuleResult> {
    let bad = match definition.class.as_str() {
        "vulnerability" | "patch" => "true",
        "compliance" => "false",
        _ => return None,
    };
    let outcome = match result {
        "true" | "false" if result == bad => Outcome::Fail,
        "true" | "false" => Outcome::Pass,
        "error" => Outcome::Error,
        "not evaluated" => Outcome::NotChecked,
        "not applicable" => Outcome::NotApplicable,
        _ => Outcome::Unknown,
    };
    let told = outcome != Outcome::Pass;
    Some(RuleResult {
        rule_id: definition.id.clone(),
        outcome,
        severity: Severity::parse(&definition.severity),
        title: definition.title.clone(),
        description: if told { definition.description.clone() } else { String::new() },
        rationale: String::new(),
        fix: if told { definition.fixes.join("\n") } else { String::new() },
        identifiers: definition.identifiers.clone(),
        message: if told { definition.through.clone() } else { String::new() },
    })
}
