//! What OpenSCAP is asked before definitions are chosen, and what it answered.

use super::verdict::Verdict;
use super::{FeedError, Index};
use crate::xml::{Ns, Token, Xml};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

/// An OVAL document whose definitions each ask for one test of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// For `oscap oval eval`.
    pub document: Vec<u8>,
    /// Ids of the document's definitions.
    pub ids: Vec<String>,
}

/// OpenSCAP's result of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    True,
    False,
    NotApplicable,
    /// `error`, `unknown`, `not evaluated`: OpenSCAP could not answer.
    Unknown,
}

impl Answer {
    /// Reads OVAL's words.
    pub fn parse(word: &str) -> Self {
        match word {
            "true" => Self::True,
            "false" => Self::False,
            "not applicable" => Self::NotApplicable,
            _ => Self::Unknown,
        }
    }
}

/// Answers by the ids of [`Questions::ids`]; questions that are not in it have no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answers(pub BTreeMap<String, Answer>);

/// Most answers that are read; there are never more questions.
const MAX_ANSWERS: usize = 1_000;

impl Answers {
    /// Reads `oscap oval eval --results` of [`Questions::document`].
    ///
    /// # Errors
    /// The results are no OVAL results or are cut off.
    pub fn read(results: impl BufRead) -> Result<Self, FeedError> {
        let mut xml = Xml::new(results);
        let mut answers = Self::default();
        loop {
            match xml.next()? {
                Token::Start(start) if start.ns == Ns::OvalResults && start.local() == "definition" => {
                    let (id, result) = (start.attr("definition_id")?, start.attr("result")?);
                    if answers.0.len() < MAX_ANSWERS {
                        answers.0.insert(id, Answer::parse(&result));
                    }
                }
                Token::Eof => return Ok(answers),
                _ => {}
            }
        }
    }

    /// By the ids of tests, what is known of them.
    pub(super) fn verdicts(&self, index: &Index) -> HashMap<u32, Verdict> {
        let verdict = |place: usize| match self.0.get(&id(place))? {
            Answer::True => Some(Verdict::True),
            Answer::False => Some(Verdict::False),
            Answer::NotApplicable => Some(Verdict::NotApplicable),
            Answer::Unknown => None,
        };
        index.questions.iter().enumerate().filter_map(|(place, test)| Some((*test, verdict(place)?))).collect()
    }
}

/// The id of the definition that asks for the question at `place`.
pub(super) fn id(place: usize) -> String {
    format!("oval:io.tidewaiter.question:def:{}", place + 1)
}

/// The definition that asks for a test.
pub(super) fn definition(place: usize, test: &str) -> String {
    format!(
        "<definition xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5\" id=\"{}\" version=\"1\" class=\"miscellaneous\"><metadata><title>{test}</title>\
         <description>What the test {test} says.</description></metadata><criteria><criterion test_ref=\"{test}\"/></criteria></definition>",
        id(place)
    )
}
