//! [`MigrationReport`]: the one object per migration that commands, status, metrics and the evaluation share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Course, MigrationState, Round};
use crate::id::MigrationId;
use crate::ledger::{AuditVerdict, Ledger, LedgerReport};
use crate::phase::Phase;
use crate::replay::{Protocol, Retired};
use crate::timeline::{Milestone, Timeline};

/// How a migration ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The copy owns the queue and the source is gone.
    Completed,
    /// Something went wrong; what was done is undone, and the source runs on.
    RolledBack,
    /// Somebody wanted it undone, and it is.
    Cancelled,
    /// It never began: nothing was changed.
    Failed,
}

/// Sizes, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bytes {
    /// Of the checkpoint, all its parts together.
    pub archive: u64,
    /// Of what went over the wire, all parts together.
    pub transferred: u64,
}

/// One pre-dump round.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PreDumpEntry {
    /// From 1.
    pub round: u32,
    /// What it wrote, as an archive.
    pub archive_bytes: u64,
    /// What of that went over the wire.
    pub transferred_bytes: u64,
    /// Memory that was dirty and had to be written.
    pub dirty_bytes: u64,
    /// How long the container stood still for it, before it was parked; with the final dump's freeze it is not counted.
    #[serde(default)]
    pub freeze_ms: f64,
}

/// Durations in milliseconds; null where one does not apply. See [`crate::timeline`] for what they contain.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct DurationsMs {
    /// The container stood still, as measured by the checkpoint driver.
    pub freeze: Option<f64>,
    /// From asking for the checkpoint to its answer; contains the freeze.
    pub checkpoint: Option<f64>,
    /// From `thawed` to `transferred`.
    pub transfer: Option<f64>,
    /// From `transferred` to `restored`.
    pub restore: Option<f64>,
    /// From `restored` to `caught_up`.
    pub replay: Option<f64>,
    /// From the source's last apply to the copy's first, while a message was available; measured by the two consumers.
    pub cutover_gap: Option<f64>,
    /// Longest latency of a message during the migration minus the 99th percentile before it; measured by the auditor.
    pub added_latency: Option<f64>,
    /// From `begun` to `finished`.
    pub total: Option<f64>,
}

/// A milestone of the timeline.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Which one.
    pub event: Milestone,
    /// Milliseconds since `begun`.
    pub at_ms: f64,
}

/// The report of one migration. The shape of its JSON is fixed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MigrationReport {
    /// The migration.
    pub id: MigrationId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete, and what was left behind; null when it completed.
    pub reason: Option<String>,
    /// The last phase on the way forward; `Completed` when it completed.
    pub phase_reached: Phase,
    /// Name of the checkpoint driver.
    pub checkpoint_source: String,
    /// Name of the transfer backend.
    pub transfer_backend: String,
    /// Name of the restore driver.
    pub restore_target: String,
    /// Which log decided; null when the migration never began.
    pub protocol: Option<Protocol>,
    /// Sizes.
    pub bytes: Bytes,
    /// Pre-dump rounds, in order; empty without.
    #[serde(default)]
    pub pre_dump: Vec<PreDumpEntry>,
    /// Durations.
    pub durations_ms: DurationsMs,
    /// Which messages went where.
    pub ledger: LedgerReport,
    /// Milestones reached.
    pub timeline: Vec<TimelineEntry>,
}

impl MigrationReport {
    /// Takes the verdict of an auditor in, who sees only what publishers sent and what the consumer's effects show.
    #[must_use]
    pub fn audited(mut self, verdict: &AuditVerdict) -> Self {
        self.ledger.audited(verdict);
        self.durations_ms.added_latency = verdict.added_latency_us.map(|us| ms(Duration::from_micros(us)));
        self
    }

    /// The report of a final state; `None` while the migration goes on.
    #[must_use]
    pub fn of(state: &MigrationState) -> Option<Self> {
        if !state.is_final() {
            return None;
        }
        let facts = state.facts();
        let timeline = state.timeline();
        let completed = state.phase() == Phase::Completed;
        let (outcome, reason) = match state.course() {
            Course::Undoing(undo) => {
                let outcome = match (undo.cancelled, &facts.begun) {
                    (true, _) => Outcome::Cancelled,
                    (false, Some(_)) => Outcome::RolledBack,
                    (false, None) => Outcome::Failed,
                };
                let left = state.left_behind().names().join(", ");
                let left = if left.is_empty() { left } else { format!("; left behind: {left}") };
                (outcome, Some(format!("{}{left}", undo.reason)))
            }
            Course::Forward | Course::Committed => (Outcome::Completed, None),
        };
        let cut_over = facts.retired.as_ref().and_then(|retired| retired.cut_over.as_ref()).or(facts.cut_over.as_ref());
        let known = Retired { applied_by_source: facts.begun.as_ref().map_or(0, |begun| begun.applied), ..Retired::default() };
        let pre_dump: Vec<_> = facts.rounds.iter().zip(1..).map(|(round, number)| entry(round, number)).collect();
        let archive: u64 = pre_dump.iter().map(|round| round.archive_bytes).sum();
        let transferred: u64 = pre_dump.iter().map(|round| round.transferred_bytes).sum();
        Some(Self {
            id: state.spec().migration.clone(),
            outcome,
            reason,
            phase_reached: if completed { Phase::Completed } else { state.phase_reached() },
            checkpoint_source: state.drivers().checkpoint_source.clone(),
            transfer_backend: state.drivers().transfer_backend.clone(),
            restore_target: state.drivers().restore_target.clone(),
            protocol: facts.begun.as_ref().map(|begun| begun.protocol),
            bytes: Bytes {
                archive: archive + facts.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.archive_bytes),
                transferred: transferred + facts.receipt.as_ref().map_or(0, |receipt| receipt.transferred_bytes),
            },
            pre_dump,
            durations_ms: DurationsMs {
                freeze: facts.checkpoint.as_ref().map(|checkpoint| ms(checkpoint.freeze)),
                checkpoint: facts.checkpoint_took.map(ms),
                transfer: timeline.transfer().map(ms),
                restore: timeline.restore().map(ms),
                replay: timeline.replay().map(ms),
                cutover_gap: cut_over.and_then(|cut| cut.cutover_gap).map(ms),
                added_latency: None,
                total: timeline.total().map(ms),
            },
            ledger: Ledger::of(facts.retired.as_ref().unwrap_or(&known), facts.cut_over.as_ref()).into(),
            timeline: entries(timeline),
        })
    }
}

fn entry(round: &Round, number: u32) -> PreDumpEntry {
    PreDumpEntry {
        round: number,
        archive_bytes: round.pre_dump.checkpoint.archive_bytes,
        transferred_bytes: round.receipt.as_ref().map_or(0, |receipt| receipt.transferred_bytes),
        dirty_bytes: round.pre_dump.dirty_bytes,
        freeze_ms: ms(round.pre_dump.checkpoint.freeze),
    }
}

fn entries(timeline: &Timeline) -> Vec<TimelineEntry> {
    let begun = timeline.marks()[0].at;
    timeline.marks().iter().map(|mark| TimelineEntry { event: mark.milestone, at_ms: ms(mark.at.since(begun)) }).collect()
}

fn ms(duration: Duration) -> f64 {
    // Whole microseconds: anything finer is noise of the division.
    duration.as_micros() as f64 / 1e3
}
