//! The independent judge of a run: what publishers sent against what the consumer's effects show.
//!
//! It never sees the migration's own counters. Effects arrive in the order in which the sink has them; memory is bounded by
//! what is under way and by a window of recent effects, not by the length of the run.
//!
//! - *lost*: confirmed by the broker, never applied. While the run goes on: overtaken by a later message of its publisher. Where
//!   effects tell of two histories (numbers used twice, or left out): also what the state that goes on has not taken in.
//! - *doubled*: applied a second time under another number, or other content under a number used before; of two histories also
//!   what that state has beyond all messages seen.
//! - *reordered*: applied after a later message of its publisher.
//! - *exact*: nothing of that, numbers dense, bodies unaltered, and the state at every effect equals the one the auditor
//!   computes itself ([`fold`]).
//!
//! The same effect again, to the last bit, is a repetition that idempotent sinks drop, and no fault. A message that its
//! publisher sent again because a confirm was lost may appear once more: a duplicate of the publisher's making.

mod effects;
mod publisher_log;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ms2m_core::Digest;

pub use effects::{EffectRecord, fold};
pub use verdict::Verdict;

use effects::{EffectLog, Numbering};
use publisher_log::{PublisherLog, Sighting};

use crate::workload::SendLog;

/// Bounds of the auditor's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditLimits {
    /// How many recent effects are remembered: repetitions further back count as doubled.
    pub window_effects: usize,
    /// How many overtaken messages of one publisher are remembered; older ones are lost for good.
    pub overtaken_max: usize,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { window_effects: 1 << 16, overtaken_max: 1 << 16 }
    }
}

/// The auditor of one logical consumer, whatever instances it runs in.
#[derive(Debug, Default)]
pub struct Auditor {
    limits: AuditLimits,
    publishers: HashMap<String, PublisherLog>,
    effects: EffectLog,
    /// How many messages the consumer's state has taken in, as its latest effect says.
    state_n: u64,
    counts: Verdict,
    at_checkpoint: Verdict,
    findings_at_checkpoint: Vec<String>,
}

impl Auditor {
    /// An auditor of a consumer that starts from nothing: first number 1, state zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_limits(limits: AuditLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// A publisher is about to publish. Told before the broker can know, and in the order of its sequence.
    pub fn sent(&mut self, publisher: &str, seq: u64, body: Digest) {
        let in_order = self.publisher(publisher).sent(seq, body);
        if !in_order {
            self.finding(|counts| &mut counts.unknown, || format!("{publisher} sent its message {seq} out of sequence"));
        }
    }

    /// The broker has taken responsibility for a message.
    pub fn confirmed(&mut self, publisher: &str, seq: u64) {
        self.publisher(publisher).confirmed(seq);
    }

    /// A confirm was lost with a connection, and the publisher sends the message again: one more copy may appear.
    pub fn uncertain(&mut self, publisher: &str, seq: u64) {
        self.publisher(publisher).uncertain(seq);
    }

    /// The sink's next effect.
    pub fn effect(&mut self, effect: &EffectRecord) {
        self.state_n = effect.consumer_n;
        let numbering = self.effects.number(effect, self.limits.window_effects);
        match numbering {
            Numbering::Repeated => {
                self.counts.repeated_effects += 1;
                return;
            }
            Numbering::FurtherOfSame => return,
            Numbering::Next => {}
            Numbering::Skipped => {
                let expected = self.effects.expected();
                self.finding(|counts| &mut counts.gaps, || format!("effect {} where {expected} was next", effect.id()));
            }
            Numbering::Conflict => {
                self.finding(|counts| &mut counts.conflicts, || format!("effect {} again with other content", effect.id()));
            }
        }
        self.message(effect, numbering);
        if !self.effects.accept(effect, numbering) {
            self.finding(|counts| &mut counts.state_mismatches, || format!("the state after {} is not that of its sequence", effect.id()));
        }
    }

    fn message(&mut self, effect: &EffectRecord, numbering: Numbering) {
        let overtaken_max = self.limits.overtaken_max;
        let Some(log) = self.publishers.get_mut(&effect.publisher) else {
            self.finding(|counts| &mut counts.unknown, || format!("{} is from an unknown publisher {:?}", effect.id(), effect.publisher));
            return;
        };
        let name = || format!("message {} of {} (effect {})", effect.seq, effect.publisher, effect.id());
        match log.seen(effect.seq, effect.body_digest, overtaken_max) {
            Sighting::InOrder => {}
            Sighting::Late => self.finding(|counts| &mut counts.reordered, || format!("{} was applied late", name())),
            Sighting::Altered => self.finding(|counts| &mut counts.altered, || format!("{} has another body than was sent", name())),
            Sighting::PublishersOwn if numbering != Numbering::Conflict => self.counts.publisher_duplicates += 1,
            Sighting::PublishersOwn | Sighting::Again => {
                self.finding(|counts| &mut counts.doubled, || format!("{} was applied before", name()));
            }
            Sighting::NeverSent => self.finding(|counts| &mut counts.unknown, || format!("{} was never sent", name())),
        }
    }

    fn publisher(&mut self, name: &str) -> &mut PublisherLog {
        if !self.publishers.contains_key(name) {
            self.publishers.insert(name.to_owned(), PublisherLog::default());
        }
        self.publishers.entry(name.to_owned()).or_default()
    }

    fn finding(&mut self, count: impl FnOnce(&mut Verdict) -> &mut u64, text: impl Fn() -> String) {
        *count(&mut self.counts) += 1;
        verdict::note(&mut self.counts.first_findings, &text);
        verdict::note(&mut self.findings_at_checkpoint, &text);
    }

    /// How many messages are confirmed and not yet seen nor overtaken: under way, or lost if nothing more comes.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.publishers.values().map(PublisherLog::under_way).sum()
    }

    /// The verdict so far; what is under way is not counted as lost.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdict = self.counted();
        verdict.compare(self.state_n);
        verdict.judge();
        verdict
    }

    fn counted(&self) -> Verdict {
        let mut verdict = self.counts.clone();
        for log in self.publishers.values() {
            verdict.published += log.published();
            verdict.seen += log.seen_count();
            verdict.lost += log.lost();
        }
        verdict
    }

    /// What has come to light since the last call: the share of one migration of many. A message that was counted as
    /// lost here and turns up later is counted as reordered then.
    pub fn checkpoint_verdict(&mut self) -> Verdict {
        let now = self.verdict();
        let mut since = now.since(&self.at_checkpoint);
        since.first_findings = std::mem::take(&mut self.findings_at_checkpoint);
        if since.lost > 0 {
            let text = || format!("{} confirmed messages were overtaken and not applied", since.lost);
            verdict::note(&mut since.first_findings, &text);
        }
        self.at_checkpoint = Verdict { first_findings: Vec::new(), ..now };
        since.judge();
        since
    }

    /// The final verdict: whatever was confirmed and not seen is lost.
    #[must_use]
    pub fn finish(&self) -> Verdict {
        let mut verdict = self.counted();
        verdict.lost += self.under_way();
        verdict.compare(self.state_n);
        if verdict.lost > 0 {
            let first = self.publishers.iter().filter_map(|(name, log)| Some((name, log.first_lost()?))).min();
            let which = first.map(|(name, seq)| format!(", the first one {seq} of {name}")).unwrap_or_default();
            verdict::note(&mut verdict.first_findings, &|| format!("{} confirmed messages were never applied{which}", verdict.lost));
        }
        verdict.judge();
        verdict
    }

    /// Entries remembered now, to show that memory is bounded.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.effects.remembered() + self.publishers.values().map(PublisherLog::remembered).sum::<usize>()
    }
}

/// Publishers report straight to a shared auditor.
impl SendLog for Mutex<Auditor> {
    fn sent(&self, publisher: &str, seq: u64, body: Digest) {
        self.lock().unwrap_or_else(PoisonError::into_inner).sent(publisher, seq, body);
    }

    fn confirmed(&self, publisher: &str, seq: u64) {
        self.lock().unwrap_or_else(PoisonError::into_inner).confirmed(publisher, seq);
    }

    fn uncertain(&self, publisher: &str, seq: u64) {
        self.lock().unwrap_or_else(PoisonError::into_inner).uncertain(publisher, seq);
    }
}
