//! [`Ledger`]: which messages went where, and who says so.
//!
//! Two parties count, and neither sees the other's figures:
//!
//! | field | who counts | what |
//! |---|---|---|
//! | `applied_by_source` | journal | messages the source applied in all, up to the cut (or up to the roll-back) |
//! | `journaled` | journal | of these, written to the journal because a migration was on |
//! | `replayed` | journal | applied by the copy with effects off |
//! | `applied_by_target` | journal | applied by the copy with effects on, as far as known when the journal was retired |
//! | `digest_source`, `digest_target` | journal | the [`DigestChain`](crate::DigestChain) of either side at the cut; equal in an exact copy |
//! | `published` | auditor | messages the publishers know to be accepted |
//! | `lost` | auditor | published, but no effect shows them |
//! | `doubled` | auditor | effects beyond the first of one message |
//! | `reordered` | auditor | messages whose effect stands before that of an earlier message of the same publisher |
//! | `exact` | both | audited with nothing lost, doubled or reordered, and nothing in the journal's own figures speaks against it |
//!
//! Until an auditor has spoken its fields are null and `exact` is false.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::replay::{CutOver, Retired};

/// The journal's own figures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Messages the source applied in all.
    pub applied_by_source: u64,
    /// Messages written to the journal.
    pub journaled: u64,
    /// Messages the copy applied with effects off.
    pub replayed: u64,
    /// Messages the copy applied with effects on.
    pub applied_by_target: u64,
    /// The source's digest at the cut; `None` when it crashed, or nothing was cut.
    pub digest_source: Option<Digest>,
    /// The copy's digest at the cut.
    pub digest_target: Option<Digest>,
}

impl Ledger {
    /// From what the journal counted and the cut-over as first told. The later word, that of the journal, wins.
    #[must_use]
    pub fn of(retired: &Retired, cut_over: Option<&CutOver>) -> Self {
        let cut_over = retired.cut_over.as_ref().or(cut_over);
        Self {
            applied_by_source: retired.applied_by_source,
            journaled: retired.journaled,
            replayed: retired.replayed,
            applied_by_target: retired.applied_by_target,
            digest_source: cut_over.and_then(|cut| cut.digest_source),
            digest_target: cut_over.and_then(|cut| cut.digest_copy),
        }
    }

    /// What in these figures cannot be, if anything: then no audit makes the migration exact.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        if self.journaled > self.applied_by_source {
            return Some(format!("{} messages journaled, but only {} applied by the source", self.journaled, self.applied_by_source));
        }
        match (self.digest_source, self.digest_target) {
            (Some(source), Some(target)) if source != target => Some(format!("digests differ at the cut: {source} and {target}")),
            _ => None,
        }
    }
}

/// What an auditor found who sees only what publishers sent and what the consumer's effects show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// Messages the publishers know to be accepted.
    pub published: u64,
    /// Messages without an effect.
    pub lost: u64,
    /// Effects beyond the first of a message.
    pub doubled: u64,
    /// Messages that overtook an earlier one of the same publisher.
    pub reordered: u64,
    /// Longest latency during the migration minus the 99th percentile before it, in microseconds, where it was measured.
    pub added_latency_us: Option<u64>,
}

/// The ledger as it stands in the report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LedgerReport {
    /// See [`AuditVerdict::published`]; null until audited.
    pub published: Option<u64>,
    /// The journal's own figures.
    #[serde(flatten)]
    pub journal: Ledger,
    /// See [`AuditVerdict::lost`]; null until audited.
    pub lost: Option<u64>,
    /// See [`AuditVerdict::doubled`]; null until audited.
    pub doubled: Option<u64>,
    /// See [`AuditVerdict::reordered`]; null until audited.
    pub reordered: Option<u64>,
    /// Proven exact. False, not absent, when it could not be proven.
    pub exact: bool,
}

impl LedgerReport {
    /// Takes an auditor's verdict in.
    pub fn audited(&mut self, verdict: &AuditVerdict) {
        self.published = Some(verdict.published);
        self.lost = Some(verdict.lost);
        self.doubled = Some(verdict.doubled);
        self.reordered = Some(verdict.reordered);
        self.exact = verdict.lost + verdict.doubled + verdict.reordered == 0 && self.journal.contradiction().is_none();
    }
}

impl From<Ledger> for LedgerReport {
    fn from(journal: Ledger) -> Self {
        Self { journal, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> LedgerReport {
        let digest = Some(Digest::of(b"state"));
        Ledger { applied_by_source: 9, journaled: 4, replayed: 4, applied_by_target: 1, digest_source: digest, digest_target: digest }
            .into()
    }

    #[test]
    fn exact_needs_an_audit_without_findings() {
        let verdict = AuditVerdict { published: 10, ..AuditVerdict::default() };
        let mut report = clean();
        assert!(!report.exact && report.lost.is_none(), "nothing is proven before the audit");
        report.audited(&verdict);
        assert!(report.exact);
        for finding in
            [AuditVerdict { lost: 1, ..verdict }, AuditVerdict { doubled: 1, ..verdict }, AuditVerdict { reordered: 1, ..verdict }]
        {
            let mut report = clean();
            report.audited(&finding);
            assert!(!report.exact, "{finding:?}");
        }
    }

    #[test]
    fn no_audit_heals_differing_digests() {
        let mut report = clean();
        report.journal.digest_target = Some(Digest::of(b"another state"));
        report.audited(&AuditVerdict::default());
        assert!(!report.exact);
        let impossible = Ledger { applied_by_source: 3, journaled: 4, ..Ledger::default() };
        assert!(impossible.contradiction().is_some());
    }

    #[test]
    fn the_journals_last_word_about_the_cut_wins() {
        let first = CutOver { digest_copy: None, digest_source: Some(Digest::of(b"a")), ..CutOver::default() };
        let last = CutOver { digest_copy: Some(Digest::of(b"b")), digest_source: Some(Digest::of(b"b")), ..CutOver::default() };
        let retired = Retired { cut_over: Some(last), ..Retired::default() };
        assert_eq!(Ledger::of(&retired, Some(&first)).digest_target, Some(Digest::of(b"b")));
        assert_eq!(Ledger::of(&Retired::default(), Some(&first)).digest_source, Some(Digest::of(b"a")));
    }
}
