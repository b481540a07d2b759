//! What a result file of OpenSCAP holds, whichever form it has.

use crate::report::{Identifier, RuleResult};

/// Most rules (or definitions) that a file may have, and most results.
pub const MAX_RULES: usize = 200_000;
/// Most bytes of text that the results of one file may add up to.
pub const MAX_TEXT_BYTES: usize = 256 << 20;
/// Most names and references kept of one rule.
pub(crate) const MAX_IDENTIFIERS: usize = 200;

/// The results in one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Title of the benchmark; empty for OVAL.
    pub title: String,
    /// XCCDF profile id; empty for the default profile and for OVAL.
    pub profile: String,
    /// Score in percent by XCCDF's default system, where the file tells one.
    pub score: Option<f64>,
    /// In the file's order; `notselected` is left out.
    pub rules: Vec<RuleResult>,
    /// Results that `rules` does not hold, since nobody has to do anything about them; 0 where every result is there.
    pub left_out: LeftOut,
}

/// Results without a row, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub passed: usize,
    pub not_applicable: usize,
}

/// Why a result file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArfError {
    /// Not XML, cut off, or XML that no scanner writes (a DOCTYPE, unknown entities, nesting beyond reason).
    #[error("the result is not well-formed: {0}")]
    Malformed(String),
    /// XML, but without a result in it.
    #[error("the document holds no test result")]
    NoTestResult,
    /// Past a limit of size or count.
    #[error("the result is too large: {0}")]
    TooLarge(&'static str),
}

/// Adds up the text of results and stops at [`MAX_TEXT_BYTES`] and [`MAX_RULES`].
///
/// A rule with many results repeats its texts in each, so that a small file could grow without bound.
pub(crate) struct Budget {
    text_bytes: usize,
    results: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { text_bytes: 0, results: 0 }
    }

    pub(crate) fn take(&mut self, rule: &RuleResult) -> Result<(), ArfError> {
        let identifiers: usize = rule.identifiers.iter().map(|i| i.system.len() + i.text.len() + i.href.len()).sum();
        self.text_bytes += identifiers
            + [&rule.rule_id, &rule.title, &rule.description, &rule.rationale, &rule.fix, &rule.message].into_iter().map(String::len).sum::<usize>();
        self.results += 1;
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(ArfError::TooLarge("more than 256 MiB of text"));
        }
        if self.results > MAX_RULES {
            return Err(ArfError::TooLarge("more than 200,000 results"));
        }
        Ok(())
    }
}

/// A public name with the address to read about it.
///
/// `href`: the content's own link, may be empty; only `http` and `https` are kept, since it becomes a link on a page. Without one, CVE names lead to the
/// National Vulnerability Database and CCE names to the National Checklist Program.
pub(crate) fn identifier(system: String, text: String, href: &str) -> Identifier {
    let href = if is_web_address(href) {
        href.to_owned()
    } else if text.starts_with("CVE-") {
        format!("https://nvd.nist.gov/vuln/detail/{text}")
    } else if text.starts_with("CCE-") {
        "https://ncp.nist.gov/cce".to_owned()
    } else {
        String::new()
    };
    Identifier { system, text, href }
}

/// Adds `new` unless the name is there; a known name learns its link.
pub(crate) fn add_identifier(list: &mut Vec<Identifier>, new: Identifier) {
    if new.text.is_empty() && new.href.is_empty() {
        return;
    }
    let known = list.iter().position(|known| known.text == new.text && (known.href == new.href || is_public_name(&new.text)));
    match known {
        Some(at) if new.system.is_empty() && !new.href.is_empty() => list[at].href = new.href,
        None if list.len() < MAX_IDENTIFIERS => list.push(new),
        _ => {}
    }
}

fn is_public_name(text: &str) -> bool {
    text.starts_with("CVE-") || text.starts_with("CCE-")
}

fn is_web_address(href: &str) -> bool {
    href.starts_with("https://") || href.starts_with("http://")
}
