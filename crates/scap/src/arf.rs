//! Results of `oscap xccdf eval --results-arf`.
//!
//! Rules come first (in the data stream that the report carries along), results after them with nothing but the rule's id; so one pass, joined by id.
//!
//! Source: NIST IR 7694 (ARF 1.1), NIST IR 7275r4 (XCCDF 1.2).

use crate::evaluation::{ArfError, Budget, Evaluation, MAX_IDENTIFIERS, MAX_RULES, add_identifier, identifier};
use crate::report::{Identifier, Outcome, RuleResult, Severity};
use crate::text::{self, Form};
use crate::xml::{Ns, Start, Token, Xml};
use std::collections::HashMap;
use std::io::BufRead;

/// The rules evaluated in an ARF (or a plain XCCDF result), in the file's order.
///
/// `input`: the file, UTF-8; read as a stream, so memory follows the rules, not the file.
/// A rule with several results (`multi-check`) gives one entry for each, `RULE#DEFINITION`.
///
/// # Errors
/// `NoTestResult`: nothing was evaluated. `Malformed`, `TooLarge`: keep the raw file, its rules cannot be shown.
pub fn parse(input: impl BufRead) -> Result<Evaluation, ArfError> {
    let mut xml = Xml::new(input);
    let mut arf = Arf::default();
    loop {
        let part = match xml.next()? {
            Token::Start(start) => Part::of(&start),
            Token::Eof => break,
            _ => continue,
        };
        match part {
            Part::Benchmark => arf.benchmark(&mut xml)?,
            Part::TestResult if !arf.has_result => arf.test_result(&mut xml)?,
            Part::TestResult | Part::Other => xml.skip()?,
            Part::Envelope => {}
        }
    }
    if !arf.has_result {
        return Err(ArfError::NoTestResult);
    }
    arf.finish()
}

/// What an element on the outer levels is.
enum Part {
    Benchmark,
    TestResult,
    /// OVAL and other content that tells nothing about rules.
    Other,
    /// Collections and containers: look inside.
    Envelope,
}

impl Part {
    fn of(start: &Start<'_>) -> Self {
        match (start.ns, start.local()) {
            (Ns::Xccdf, "Benchmark") => Self::Benchmark,
            (Ns::Xccdf, "TestResult") => Self::TestResult,
            (Ns::Xccdf | Ns::OvalDefinitions | Ns::OvalResults, _) => Self::Other,
            _ => Self::Envelope,
        }
    }
}

/// What a benchmark says about one rule.
#[derive(Default)]
struct Rule {
    severity: String,
    title: String,
    description: String,
    rationale: String,
    fixtext: String,
    script: String,
    identifiers: Vec<Identifier>,
    references: Vec<Identifier>,
}

/// One `rule-result` as it stands.
#[derive(Default)]
struct Found {
    rule_id: String,
    severity: String,
    outcome: String,
    message: String,
    identifiers: Vec<Identifier>,
    definition: String,
}

#[derive(Default)]
struct Arf {
    title: String,
    profile: String,
    score: Option<f64>,
    rules: HashMap<String, Rule>,
    /// Values of the profile (`set-value`) and the benchmark's own snippets, by id.
    values: HashMap<String, String>,
    found: Vec<Found>,
    has_result: bool,
}

impl Arf {
    fn benchmark<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), ArfError> {
        let inside = xml.depth();
        while xml.depth() >= inside {
            let top = xml.depth() == inside;
            let Token::Start(start) = xml.next()? else { continue };
            match (start.ns, start.local()) {
                (Ns::Xccdf, "Rule") => self.rule(start.attr("id")?, start.attr("severity")?, xml)?,
                (Ns::Xccdf, "Group") => {}
                (Ns::Xccdf, "title") if top => self.title = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "plain-text") if top => {
                    let id = start.attr("id")?;
                    self.value(id, text::read(xml, Form::Verbatim)?)?;
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn rule<R: BufRead>(&mut self, id: String, severity: String, xml: &mut Xml<R>) -> Result<(), ArfError> {
        let mut rule = Rule { severity, ..Rule::default() };
        let inside = xml.depth();
        while xml.depth() >= inside {
            let Token::Start(start) = xml.next()? else { continue };
            match (start.ns, start.local()) {
                (Ns::Xccdf, "title") => rule.title = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "description") => rule.description = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "rationale") => rule.rationale = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "fixtext") => rule.fixtext = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "fix") if start.attr("system")? == "urn:xccdf:fix:script:sh" => rule.script = text::read(xml, Form::Verbatim)?,
                (Ns::Xccdf, "ident") => {
                    let system = start.attr("system")?;
                    add_identifier(&mut rule.identifiers, identifier(system, text::read(xml, Form::Prose)?, ""));
                }
                (Ns::Xccdf, "reference") if rule.references.len() < MAX_IDENTIFIERS => {
                    let href = start.attr("href")?;
                    rule.references.push(identifier(String::new(), text::read(xml, Form::Prose)?, &href));
                }
                _ => xml.skip()?,
            }
        }
        if self.rules.len() >= MAX_RULES {
            return Err(ArfError::TooLarge("more than 200,000 rules"));
        }
        self.rules.insert(id, rule);
        Ok(())
    }

    fn test_result<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), ArfError> {
        self.has_result = true;
        let inside = xml.depth();
        while xml.depth() >= inside {
            let Token::Start(start) = xml.next()? else { continue };
            match (start.ns, start.local()) {
                (Ns::Xccdf, "profile") => {
                    self.profile = start.attr("idref")?;
                    xml.skip()?;
                }
                (Ns::Xccdf, "set-value") => {
                    let id = start.attr("idref")?;
                    self.value(id, text::read(xml, Form::Verbatim)?)?;
                }
                (Ns::Xccdf, "rule-result") => {
                    let found = Found { rule_id: start.attr("idref")?, severity: start.attr("severity")?, ..Found::default() };
                    self.rule_result(found, xml)?;
                }
                (Ns::Xccdf, "score") if self.score.is_none() => {
                    let maximum: f64 = start.attr("maximum")?.parse().unwrap_or(100.0);
                    let score: Option<f64> = text::read(xml, Form::Prose)?.parse().ok();
                    self.score = score.map(|score| score * 100.0 / maximum).filter(|score| score.is_finite());
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn rule_result<R: BufRead>(&mut self, mut found: Found, xml: &mut Xml<R>) -> Result<(), ArfError> {
        let inside = xml.depth();
        while xml.depth() >= inside {
            let Token::Start(start) = xml.next()? else { continue };
            match (start.ns, start.local()) {
                (Ns::Xccdf, "result") => found.outcome = text::read(xml, Form::Prose)?,
                (Ns::Xccdf, "ident") => {
                    let system = start.attr("system")?;
                    add_identifier(&mut found.identifiers, identifier(system, text::read(xml, Form::Prose)?, ""));
                }
                (Ns::Xccdf, "message") if found.message.len() < text::MAX_FIELD_BYTES => {
                    let line = text::read(xml, Form::Prose)?;
                    if !found.message.is_empty() {
                        found.message.push('\n');
                    }
                    found.message.push_str(&line);
                }
                (Ns::Xccdf, "check" | "complex-check") => {} // look inside
                (Ns::Xccdf, "check-content-ref") => {
                    found.definition = start.attr("name")?;
                    xml.skip()?;
                }
                _ => xml.skip()?,
            }
        }
        if found.outcome == "notselected" {
            return Ok(());
        }
        if self.found.len() >= MAX_RULES {
            return Err(ArfError::TooLarge("more than 200,000 results"));
        }
        self.found.push(found);
        Ok(())
    }

    fn value(&mut self, id: String, value: String) -> Result<(), ArfError> {
        if self.values.len() >= MAX_RULES {
            return Err(ArfError::TooLarge("more than 200,000 values"));
        }
        self.values.insert(id, value);
        Ok(())
    }

    /// Joins results with what the benchmark says.
    fn finish(self) -> Result<Evaluation, ArfError> {
        let mut times: HashMap<&str, usize> = HashMap::new();
        for found in &self.found {
            *times.entry(&found.rule_id).or_default() += 1;
        }
        let none = Rule::default();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut budget = Budget::new();
        let mut rules = Vec::with_capacity(self.found.len());
        for found in &self.found {
            let rule = self.rules.get(&found.rule_id).unwrap_or(&none);
            let mut result = join(found, rule, &self.values)?;
            if times.get(found.rule_id.as_str()).is_some_and(|times| *times > 1) {
                result.rule_id = distinct(found, &mut seen);
            }
            budget.take(&result)?;
            rules.push(result);
        }
        Ok(Evaluation { title: text::substitute(&self.title, &self.values), profile: self.profile, score: self.score, rules, ..Evaluation::default() })
    }
}

/// An id of its own for one of several results of a rule.
fn distinct(found: &Found, seen: &mut HashMap<String, usize>) -> String {
    let id = if found.definition.is_empty() { found.rule_id.clone() } else { format!("{}#{}", found.rule_id, found.definition) };
    let count = seen.entry(id.clone()).or_default();
    *count += 1;
    if *count == 1 && !found.definition.is_empty() { id } else { format!("{id}#{count}") }
}

fn join(found: &Found, rule: &Rule, values: &HashMap<String, String>) -> Result<RuleResult, ArfError> {
    let outcome = Outcome::parse(&found.outcome).ok_or_else(|| ArfError::Malformed(format!("rule result {:?}", found.outcome)))?;
    let severity = if found.severity.is_empty() { &rule.severity } else { &found.severity };
    let mut identifiers = found.identifiers.clone();
    for more in rule.identifiers.iter().chain(&rule.references) {
        add_identifier(&mut identifiers, more.clone());
    }
    let fix = match (rule.fixtext.is_empty(), rule.script.is_empty()) {
        (false, false) => format!("{}\n\n{}", rule.fixtext, rule.script),
        _ => format!("{}{}", rule.fixtext, rule.script),
    };
    Ok(RuleResult {
        rule_id: found.rule_id.clone(),
        outcome,
        severity: Severity::parse(severity),
        title: text::substitute(&rule.title, values),
        description: text::substitute(&rule.description, values),
        rationale: text::substitute(&rule.rationale, values),
        fix: text::substitute(&fix, values),
        identifiers,
        message: found.message.clone(),
    })
}
