//! What criteria amount to, as far as it can be said without looking at the image's files.

use super::item::{Node, NodeKind};

/// What a test, or criteria, will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    True,
    False,
    NotApplicable,
    /// Any result is possible: only OpenSCAP can say.
    Open,
}

impl Verdict {
    fn negated(self, negate: bool) -> Self {
        match (negate, self) {
            (true, Self::True) => Self::False,
            (true, Self::False) => Self::True,
            (_, other) => other,
        }
    }
}

/// How many children came to what.
#[derive(Debug, Default)]
struct Tally {
    yes: usize,
    no: usize,
    not_applicable: usize,
    open: usize,
}

/// Evaluates the criteria whose node is `nodes[at]`; `leaf` tells what tests and other definitions come to. Gives the verdict and where the next sibling is.
///
/// Source: OVAL definition schema, `OperatorEnumeration`; OpenSCAP's `ores_get_result_byopr`.
pub(super) fn evaluate(nodes: &[Node], at: usize, leaf: &mut dyn FnMut(NodeKind) -> Verdict) -> Verdict {
    let node = nodes[at];
    if matches!(node.kind, NodeKind::Test(_) | NodeKind::Extend(_)) {
        return leaf(node.kind).negated(node.negate);
    }
    let mut tally = Tally::default();
    let mut child = at + 1;
    while child < node.end as usize {
        match evaluate(nodes, child, leaf) {
            Verdict::True => tally.yes += 1,
            Verdict::False => tally.no += 1,
            Verdict::NotApplicable => tally.not_applicable += 1,
            Verdict::Open => tally.open += 1,
        }
        child = nodes[child].end as usize;
    }
    joined(node.kind, &tally).negated(node.negate)
}

fn joined(operator: NodeKind, tally: &Tally) -> Verdict {
    let Tally { yes, no, not_applicable, open } = *tally;
    match operator {
        NodeKind::And if no > 0 => Verdict::False,
        NodeKind::Or if yes > 0 => Verdict::True,
        NodeKind::One if yes > 1 => Verdict::False,
        _ if open > 0 => Verdict::Open,
        _ if yes + no == 0 && not_applicable > 0 => Verdict::NotApplicable,
        // Criteria without anything in them are unknown.
        _ if yes + no == 0 => Verdict::Open,
        NodeKind::And => Verdict::True,
        NodeKind::Or => Verdict::False,
        NodeKind::One => is(yes == 1),
        // OpenSCAP's way with XOR and something that is not applicable is not relied on.
        NodeKind::Xor if not_applicable > 0 => Verdict::Open,
        _ => is(yes % 2 == 1),
    }
}

fn is(yes: bool) -> Verdict {
    if yes { Verdict::True } else { Verdict::False }
}
