//! Limits: pre-dump rounds, the hand-over, and how long each phase may take.

use std::time::Duration;

use ms2m_core::{Deadlines, PreDumpPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choices::HandoverMode;

/// A page, as the threshold of older manifests counts.
const PAGE_BYTES: u64 = 4096;

/// Pre-dump rounds: memory that travels while the source still works, so that it is frozen for less. Where the kernel does not track written
/// memory there is one round, and only before a source is held: it freezes the source once more, and what has not changed since does not travel
/// while nobody serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PreDump {
    /// Whether there are any.
    pub enabled: bool,
    /// Pause between two rounds.
    #[schemars(range(max = 3600))]
    pub interval_seconds: u32,
    /// Most rounds.
    #[schemars(range(min = 1, max = 100))]
    pub max_rounds: u32,
    /// No further round after one that wrote at most so many pages of 4 KiB.
    pub dirty_pages_threshold: u32,
}

impl Default for PreDump {
    fn default() -> Self {
        Self { enabled: false, interval_seconds: 30, max_rounds: 5, dirty_pages_threshold: 1024 }
    }
}

impl PreDump {
    /// As the engine knows it; `None` when there shall be none.
    #[must_use]
    pub fn policy(&self) -> Option<PreDumpPolicy> {
        self.enabled.then(|| PreDumpPolicy {
            rounds_max: self.max_rounds,
            interval: seconds(self.interval_seconds),
            dirty_bytes_max: u64::from(self.dirty_pages_threshold) * PAGE_BYTES,
            ..PreDumpPolicy::default()
        })
    }
}

/// The hand-over of the queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Handover {
    /// What the source does until then.
    pub mode: HandoverMode,
    /// How long source and copy may take together.
    #[schemars(range(min = 1, max = 600))]
    pub deadline_seconds: u32,
}

impl Default for Handover {
    fn default() -> Self {
        Self { mode: HandoverMode::Auto, deadline_seconds: 10 }
    }
}

/// How long each part may take. Before the queue has changed hands an expired limit rolls back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Preflight, the journal, and the copy's pod with its image.
    #[schemars(range(min = 1, max = 86400))]
    pub pending_seconds: u32,
    /// All pre-dump rounds; past it the source is frozen with what has arrived.
    #[schemars(range(min = 1, max = 86400))]
    pub pre_dumping_seconds: u32,
    /// The checkpoint.
    #[schemars(range(min = 1, max = 86400))]
    pub checkpointing_seconds: u32,
    /// Its way to the target.
    #[schemars(range(min = 1, max = 86400))]
    pub transferring_seconds: u32,
    /// The restore.
    #[schemars(range(min = 1, max = 86400))]
    pub restoring_seconds: u32,
    /// How long the copy may take to catch up.
    #[schemars(range(min = 1, max = 86400))]
    pub replaying_seconds: u32,
    /// The hand-over with its repetitions.
    #[schemars(range(min = 1, max = 86400))]
    pub finalizing_seconds: u32,
    /// After this somebody is asked to look, once the queue has changed hands.
    #[schemars(range(min = 1, max = 86400))]
    pub completing_seconds: u32,
    /// The roll-back.
    #[schemars(range(min = 1, max = 86400))]
    pub rolling_back_seconds: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            pending_seconds: 120,
            pre_dumping_seconds: 600,
            checkpointing_seconds: 60,
            transferring_seconds: 600,
            restoring_seconds: 120,
            replaying_seconds: 300,
            finalizing_seconds: 60,
            completing_seconds: 60,
            rolling_back_seconds: 60,
        }
    }
}

impl Timeouts {
    /// As the engine knows them.
    #[must_use]
    pub fn deadlines(&self, handover: &Handover, replay_cutoff_seconds: u32) -> Deadlines {
        let hand_over = seconds(handover.deadline_seconds);
        Deadlines {
            pending: seconds(self.pending_seconds),
            pre_dumping: seconds(self.pre_dumping_seconds),
            checkpointing: seconds(self.checkpointing_seconds),
            transferring: seconds(self.transferring_seconds),
            restoring: seconds(self.restoring_seconds),
            replaying: seconds(if replay_cutoff_seconds > 0 { replay_cutoff_seconds } else { self.replaying_seconds }),
            finalizing: seconds(self.finalizing_seconds).max(hand_over),
            hand_over,
            completing: seconds(self.completing_seconds),
            rolling_back: seconds(self.rolling_back_seconds),
            ..Deadlines::default()
        }
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
