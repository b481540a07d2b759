//! What became of a layer's rules, counted: how much of it says anything about the image.

use crate::report::{Layer, LayerReport, Outcome, RuleResult};

/// The rules of a layer by what is known after the evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Judged: passed, failed, mended, or asked for information alone.
    pub decided: usize,
    /// They should have been judged and were not: an error, a result that is unknown, a check that OpenSCAP did not make.
    pub undecided: usize,
    /// Rules of a guide that nobody but a person can judge, or whose definitions are another layer's.
    pub left_to_people: usize,
    pub not_applicable: usize,
}

impl Tally {
    /// Counts the rules of `layer`. A rule that was not checked counts as undecided, except in guides: theirs are without a check on purpose.
    pub fn of(layer: Layer, rules: &[RuleResult]) -> Self {
        let mut tally = Self::default();
        for rule in rules {
            *match rule.outcome {
                Outcome::Pass | Outcome::Fail | Outcome::Fixed | Outcome::Informational => &mut tally.decided,
                Outcome::NotChecked if layer == Layer::Guide => &mut tally.left_to_people,
                Outcome::Error | Outcome::Unknown | Outcome::NotChecked => &mut tally.undecided,
                Outcome::NotApplicable => &mut tally.not_applicable,
            } += 1;
        }
        tally
    }

    /// Counts a layer of a report, with the definitions that are no rules of it.
    pub fn of_layer(layer: &LayerReport) -> Self {
        let mut tally = Self::of(layer.layer, &layer.rules);
        if let Some(definitions) = &layer.definitions {
            tally.decided += definitions.passed as usize + definitions.left_out() as usize;
            tally.undecided += definitions.undecided as usize;
            tally.not_applicable += definitions.not_applicable as usize;
        }
        tally
    }

    pub fn total(&self) -> usize {
        self.decided + self.undecided + self.left_to_people + self.not_applicable
    }

    /// Something was judged, and nothing that should have been judged was not.
    pub fn is_whole(&self) -> bool {
        self.decided > 0 && self.undecided == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Layer, Outcome, RuleResult, Tally};
    use crate::report::Severity;

    #[test]
    fn a_layer_is_whole_when_something_was_judged_and_nothing_was_left_undecided() {
        let rule = |outcome| RuleResult {
            rule_id: String::new(),
            outcome,
            severity: Severity::Low,
            title: String::new(),
            description: String::new(),
            rationale: String::new(),
            fix: String::new(),
            identifiers: vec![],
            message: String::new(),
        };
        let whole = |layer, outcomes: &[Outcome]| Tally::of(layer, &outcomes.iter().copied().map(rule).collect::<Vec<_>>()).is_whole();
        assert!(whole(Layer::Benchmark, &[Outcome::Pass, Outcome::NotApplicable]));
        assert!(whole(Layer::Guide, &[Outcome::Fail, Outcome::NotChecked]));
        for undecided in [Outcome::Error, Outcome::Unknown] {
            assert!(Layer::ALL.into_iter().all(|layer| !whole(layer, &[Outcome::Pass, undecided])));
        }
        for layer in [Layer::Benchmark, Layer::Vulnerabilities] {
            assert!(!whole(layer, &[Outcome::Pass, Outcome::NotChecked]));
        }
        assert!(!whole(Layer::Guide, &[]) && !whole(Layer::Guide, &[Outcome::NotApplicable, Outcome::NotChecked]));
    }
}
