//! What one publisher sent, and what of it has been seen.

use std::collections::BTreeMap;

use ms2m_core::Digest;

/// How far back a message that was sent twice is remembered, in messages of its publisher.
const UNCERTAIN_BACK: u64 = 1 << 16;

/// What an applied message is, to its publisher's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sighting {
    InOrder,
    /// A later one was applied before it.
    Late,
    /// It is in order, and its body is another one.
    Altered,
    /// Once more, as often as its publisher has sent it again.
    PublishersOwn,
    /// Once more.
    Again,
    NeverSent,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    body: Digest,
    confirmed: bool,
}

#[derive(Debug, Default)]
pub(super) struct PublisherLog {
    last_sent: Option<u64>,
    /// Sent, and neither seen nor overtaken by a later one.
    pending: BTreeMap<u64, Pending>,
    overtaken: BTreeMap<u64, Pending>,
    /// Copies still allowed for messages that were sent again.
    extra: BTreeMap<u64, u32>,
    confirmed_pending: u64,
    confirmed_overtaken: u64,
    lost_for_good: u64,
    seen: u64,
}

impl PublisherLog {
    /// `false` when the sequence does not grow.
    pub(super) fn sent(&mut self, seq: u64, body: Digest) -> bool {
        if self.last_sent.is_some_and(|last| seq <= last) {
            return false;
        }
        self.last_sent = Some(seq);
        self.pending.insert(seq, Pending { body, confirmed: false });
        true
    }

    pub(super) fn confirmed(&mut self, seq: u64) {
        if let Some(pending) = self.pending.get_mut(&seq) {
            self.confirmed_pending += u64::from(!std::mem::replace(&mut pending.confirmed, true));
        } else if let Some(overtaken) = self.overtaken.get_mut(&seq) {
            self.confirmed_overtaken += u64::from(!std::mem::replace(&mut overtaken.confirmed, true));
        }
    }

    pub(super) fn uncertain(&mut self, seq: u64) {
        *self.extra.entry(seq).or_default() += 1;
        let forgotten = seq.saturating_sub(UNCERTAIN_BACK);
        while self.extra.first_key_value().is_some_and(|(oldest, _)| *oldest < forgotten) {
            self.extra.pop_first();
        }
    }

    pub(super) fn seen(&mut self, seq: u64, body: Digest, overtaken_max: usize) -> Sighting {
        if let Some(pending) = self.pending.remove(&seq) {
            self.confirmed_pending -= u64::from(pending.confirmed);
            self.overtake(seq, overtaken_max);
            self.seen += 1;
            return if pending.body == body { Sighting::InOrder } else { Sighting::Altered };
        }
        if let Some(overtaken) = self.overtaken.remove(&seq) {
            self.confirmed_overtaken -= u64::from(overtaken.confirmed);
            self.seen += 1;
            return Sighting::Late;
        }
        if self.last_sent.is_none_or(|last| seq > last) {
            return Sighting::NeverSent;
        }
        match self.extra.get_mut(&seq) {
            Some(copies) if *copies > 0 => {
                *copies -= 1;
                Sighting::PublishersOwn
            }
            _ => Sighting::Again,
        }
    }

    fn overtake(&mut self, seq: u64, overtaken_max: usize) {
        while let Some(oldest) = self.pending.first_entry().filter(|oldest| *oldest.key() < seq) {
            let (seq, pending) = oldest.remove_entry();
            self.confirmed_pending -= u64::from(pending.confirmed);
            self.confirmed_overtaken += u64::from(pending.confirmed);
            self.overtaken.insert(seq, pending);
        }
        while self.overtaken.len() > overtaken_max {
            if let Some((_, lost)) = self.overtaken.pop_first() {
                self.confirmed_overtaken -= u64::from(lost.confirmed);
                self.lost_for_good += u64::from(lost.confirmed);
            }
        }
    }

    pub(super) fn published(&self) -> u64 {
        self.seen + self.lost() + self.confirmed_pending
    }

    pub(super) fn seen_count(&self) -> u64 {
        self.seen
    }

    pub(super) fn lost(&self) -> u64 {
        self.confirmed_overtaken + self.lost_for_good
    }

    pub(super) fn under_way(&self) -> u64 {
        self.confirmed_pending
    }

    pub(super) fn first_lost(&self) -> Option<u64> {
        let confirmed = |entries: &BTreeMap<u64, Pending>| entries.iter().find(|(_, entry)| entry.confirmed).map(|(seq, _)| *seq);
        confirmed(&self.overtaken).or_else(|| confirmed(&self.pending))
    }

    pub(super) fn remembered(&self) -> usize {
        self.pending.len() + self.overtaken.len() + self.extra.len()
    }
}
