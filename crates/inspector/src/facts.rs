//! What our own code finds out for the rules of the image benchmark that no pattern over a file can judge: the image's configuration, and secrets in files.
//!
//! Each such rule has one small file below `run/tidewaiter/facts`, named as the rule is. A line `found: …` names what breaks the rule (a variable, a file with
//! its line) and never a secret itself; `checked: all` says that everything was looked at. OpenSCAP reads these files and judges: a `found` fails, `checked: all`
//! alone passes, and anything else is unknown. So its result and its report stay the one truth. See docs/adr/0008.

mod application;
mod configuration;
mod file;
mod places;
mod section;
#[cfg(test)]
mod tests;
mod user;
mod walk;

use crate::config::Config;
use crate::inside;
use crate::unpack::{Refusal, Tree};
use scap::report::{Outcome, RuleResult};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Where the facts lie, relative to the root.
const FOLDER: &str = "run/tidewaiter/facts";
/// What is told of one rule; the rest is counted.
const MAX_FOUND: usize = 50;
const MAX_FACT_BYTES: u64 = 64 << 10;
/// How rule ids of the benchmark begin.
const RULE: &str = "xccdf_io.tidewaiter_rule_";

/// What was found out for one rule.
#[derive(Debug, Default)]
struct Fact {
    found: Vec<String>,
    more: usize,
    /// What was not looked at.
    gaps: Vec<String>,
}

/// What was found out, by rule.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    facts: BTreeMap<&'static str, Fact>,
}

impl Facts {
    /// Looks at the unpacked image in `root`.
    pub(crate) fn of(root: &Path, config: &Config) -> Self {
        let mut facts = Self::default();
        configuration::RULES.iter().chain(places::RULES).for_each(|rule| _ = facts.facts.entry(rule).or_default());
        configuration::look(root, config, &mut facts);
        walk::look(root, &mut facts);
        facts
    }

    /// `what` breaks `rule`.
    fn found(&mut self, rule: &'static str, what: &str) {
        let fact = self.facts.entry(rule).or_default();
        match fact.found.len() {
            MAX_FOUND.. => fact.more += 1,
            _ => fact.found.push(line(what)),
        }
    }

    /// A part that counts for `rule` could not be looked at.
    fn gap(&mut self, rule: &'static str, what: &str) {
        let gaps = &mut self.facts.entry(rule).or_default().gaps;
        if gaps.len() < MAX_FOUND {
            gaps.push(line(what));
        }
    }

    /// Puts a file for each rule into the tree, in place of whatever the image has there.
    pub(crate) fn put(&self, tree: &mut Tree) -> Result<(), Refusal> {
        for (rule, fact) in &self.facts {
            let names: Vec<&str> = FOLDER.split('/').chain([*rule]).collect();
            tree.put(&names, fact.text().as_bytes())?;
        }
        Ok(())
    }

    /// The same below a plain folder, for tests of the benchmark.
    pub(crate) fn write(&self, root: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(root.join(FOLDER))?;
        self.facts.iter().try_for_each(|(rule, fact)| std::fs::write(root.join(FOLDER).join(rule), fact.text()))
    }
}

impl Fact {
    fn text(&self) -> String {
        let mut text = String::new();
        self.found.iter().for_each(|what| _ = writeln!(text, "found: {what}"));
        if self.more > 0 {
            let _ = writeln!(text, "found: {} more", self.more);
        }
        self.gaps.iter().for_each(|what| _ = writeln!(text, "not checked: {what}"));
        if self.gaps.is_empty() {
            text.push_str("checked: all\n");
        }
        text
    }
}

/// One line of plain text, whatever a path or a name holds.
fn line(what: &str) -> String {
    const MAX_CHARS: usize = 400;
    what.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_CHARS).collect()
}

/// Writes the facts of the folder `root` with an image's configuration, as JSON, into it.
///
/// # Errors
/// The configuration is none, or the folder cannot be written.
pub fn write(root: &Path, config: &[u8]) -> anyhow::Result<()> {
    let config = crate::config::parse(config, 0).map_err(|failure| anyhow::anyhow!(failure.message))?;
    Ok(Facts::of(root, &config).write(root)?)
}

/// Says in each rule that failed, or could not be judged, what was found.
pub(crate) fn explain(root: &Path, rules: &mut [RuleResult]) {
    for rule in rules.iter_mut().filter(|rule| matches!(rule.outcome, Outcome::Fail | Outcome::Unknown) && rule.message.is_empty()) {
        let Some(name) = rule.rule_id.strip_prefix(RULE).filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) else { continue };
        let Ok(Some(bytes)) = inside::read(root, &format!("{FOLDER}/{name}"), MAX_FACT_BYTES) else { continue };
        rule.message = sentence(&String::from_utf8_lossy(&bytes));
    }
}

fn sentence(fact: &str) -> String {
    let of = |sign: &str| fact.lines().filter_map(|line| line.strip_prefix(sign)).collect::<Vec<_>>().join("; ");
    let parts = [("Found: ", of("found: ")), ("Not checked: ", of("not checked: "))];
    parts.iter().filter(|(_, what)| !what.is_empty()).map(|(word, what)| format!("{word}{what}.")).collect::<Vec<_>>().join(" ")
}
