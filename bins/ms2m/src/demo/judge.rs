//! The auditor's ear: hears publishers and effects, counts latencies, and gives each migration its share of the verdict.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ms2m_core::{AuditVerdict, Clock, Digest, Timestamp};
use ms2m_testkit::auditor::{Auditor, EffectRecord, Verdict};
use ms2m_testkit::workload::SendLog;

/// Messages of one publisher whose time of sending is remembered.
const SENT_MAX: usize = 1 << 16;
/// Latencies between migrations that are remembered.
const CALM_MAX: usize = 4096;

/// Shared by everybody who reports.
pub(crate) struct Judge {
    clock: Arc<dyn Clock>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    auditor: Auditor,
    sent_at: HashMap<String, BTreeMap<u64, Timestamp>>,
    sent: u64,
    /// Latencies in microseconds of the time between migrations.
    calm: VecDeque<u64>,
    /// The longest latency of the migration under way.
    longest: Option<u64>,
    migrating: bool,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl Judge {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, heard: Mutex::default() }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Nothing panics half-way through a change.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A publisher is about to send a message, at `at`.
    pub(crate) fn sent_at(&self, publisher: &str, seq: u64, body: Digest, at: Timestamp) {
        let mut heard = self.heard();
        heard.auditor.sent(publisher, seq, body);
        heard.sent += 1;
        if !heard.sent_at.contains_key(publisher) {
            heard.sent_at.insert(publisher.to_owned(), BTreeMap::new());
        }
        if let Some(times) = heard.sent_at.get_mut(publisher) {
            times.insert(seq, at);
            if times.len() > SENT_MAX {
                times.pop_first();
            }
        }
    }

    /// An effect has come out, as the bytes the consumer's handler gave. Anything else is a finding.
    pub(crate) fn effect(&self, payload: &[u8]) {
        let now = self.clock.now();
        let Ok(effect) = serde_json::from_slice::<EffectRecord>(payload) else {
            let unknown = EffectRecord {
                consumer_n: 0,
                index: 0,
                publisher: "unreadable effect".into(),
                seq: 0,
                body_digest: Digest::default(),
                state_digest: Digest::default(),
            };
            return self.heard().auditor.effect(&unknown);
        };
        let mut heard = self.heard();
        let sent = heard.sent_at.get_mut(&effect.publisher).and_then(|times| times.remove(&effect.seq));
        if let Some(sent) = sent {
            let latency_us = u64::try_from(now.since(sent).as_micros()).unwrap_or(u64::MAX);
            heard.latency(latency_us);
        }
        heard.auditor.effect(&effect);
    }

    /// How many messages were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.heard().sent
    }

    /// How many are confirmed and not applied yet.
    pub(crate) fn under_way(&self) -> u64 {
        self.heard().auditor.under_way()
    }

    /// How many were applied.
    pub(crate) fn applied(&self) -> u64 {
        self.heard().auditor.verdict().seen
    }

    /// A migration begins.
    pub(crate) fn migration_begins(&self) {
        let mut heard = self.heard();
        heard.migrating = true;
        heard.longest = None;
    }

    /// It has ended. Its longest latency above the usual, in microseconds.
    pub(crate) fn migration_ended(&self) -> Option<u64> {
        let mut heard = self.heard();
        heard.migrating = false;
        let mut calm: Vec<u64> = heard.calm.iter().copied().collect();
        calm.sort_unstable();
        let usual = calm.get((calm.len() * 99).div_ceil(100).saturating_sub(1))?;
        heard.longest.map(|longest| longest.saturating_sub(*usual))
    }

    /// The verdict so far.
    pub(crate) fn verdict(&self) -> Verdict {
        self.heard().auditor.verdict()
    }

    /// The verdict when nothing more comes.
    pub(crate) fn finish(&self) -> Verdict {
        self.heard().auditor.finish()
    }
}

impl Heard {
    fn latency(&mut self, us: u64) {
        if self.migrating {
            self.longest = self.longest.max(Some(us));
        } else {
            self.calm.push_back(us);
            if self.calm.len() > CALM_MAX {
                self.calm.pop_front();
            }
        }
    }
}

impl SendLog for Judge {
    fn sent(&self, publisher: &str, seq: u64, body: Digest) {
        self.sent_at(publisher, seq, body, self.clock.now());
    }

    fn confirmed(&self, publisher: &str, seq: u64) {
        self.heard().auditor.confirmed(publisher, seq);
    }

    fn uncertain(&self, publisher: &str, seq: u64) {
        self.heard().auditor.uncertain(publisher, seq);
    }
}

/// As the report wants it.
pub(crate) fn audit_verdict(verdict: &Verdict, added_latency_us: Option<u64>) -> AuditVerdict {
    AuditVerdict {
        published: verdict.published,
        lost: verdict.lost,
        doubled: verdict.doubled,
        reordered: verdict.reordered,
        added_latency_us,
    }
}
