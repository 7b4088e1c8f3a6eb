//! What the auditor says.

use serde::{Deserialize, Serialize};

/// How many findings are kept as text.
const FINDINGS_MAX: usize = 10;

/// Counts of messages and effects. `exact` is only true when every other fault is zero.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Distinct messages that the broker confirmed, or that were seen although their confirm was lost.
    pub published: u64,
    /// Distinct messages applied.
    pub seen: u64,
    /// Confirmed and not applied.
    pub lost: u64,
    /// Messages applied once more under another number.
    pub doubled: u64,
    /// Messages applied after a later one of their publisher.
    pub reordered: u64,
    /// Effects the sink got again unchanged. No fault.
    pub repeated_effects: u64,
    /// Second copies the publishers made themselves after a lost confirm. No fault.
    pub publisher_duplicates: u64,
    /// Numbers left out.
    pub gaps: u64,
    /// Numbers used again for other content.
    pub conflicts: u64,
    /// States that do not follow from the sequence before them.
    pub state_mismatches: u64,
    /// Messages applied with another body than was sent.
    pub altered: u64,
    /// Effects of messages nobody sent, and publishers' own errors of sequence.
    pub unknown: u64,
    /// Whether the consumer's state is proven to be that of one uninterrupted consumer.
    pub exact: bool,
    /// The first findings in words, at most 10.
    pub first_findings: Vec<String>,
}

impl Verdict {
    /// Effects of two histories show every message, although the state that goes on may not have taken it in. What it misses is
    /// lost, and what it has beyond is doubled.
    pub(super) fn compare(&mut self, state_n: u64) {
        if self.conflicts + self.gaps > 0 {
            let shown = self.seen + self.publisher_duplicates;
            self.lost = self.lost.max(shown.saturating_sub(state_n));
            self.doubled = self.doubled.max(state_n.saturating_sub(shown));
        }
    }

    pub(super) fn judge(&mut self) {
        let faults =
            [self.lost, self.doubled, self.reordered, self.gaps, self.conflicts, self.state_mismatches, self.altered, self.unknown];
        self.exact = faults.iter().all(|count| *count == 0);
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            published: self.published - earlier.published,
            seen: self.seen - earlier.seen,
            // A message believed lost may have turned up.
            lost: self.lost.saturating_sub(earlier.lost),
            // So may one by which the state was ahead.
            doubled: self.doubled.saturating_sub(earlier.doubled),
            reordered: self.reordered - earlier.reordered,
            repeated_effects: self.repeated_effects - earlier.repeated_effects,
            publisher_duplicates: self.publisher_duplicates - earlier.publisher_duplicates,
            gaps: self.gaps - earlier.gaps,
            conflicts: self.conflicts - earlier.conflicts,
            state_mismatches: self.state_mismatches - earlier.state_mismatches,
            altered: self.altered - earlier.altered,
            unknown: self.unknown - earlier.unknown,
            exact: false,
            first_findings: Vec::new(),
        }
    }
}

pub(super) fn note(findings: &mut Vec<String>, text: &dyn Fn() -> String) {
    if findings.len() < FINDINGS_MAX {
        findings.push(text());
    }
}
