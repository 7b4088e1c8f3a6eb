//! What the engine's state means for the status.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff;
use ms2m_core::{Error, ErrorKind, MigrationReport, MigrationState, Outcome, Phase, Result};

use crate::api::{CheckpointStatus, StatefulMigrationStatus};

/// The condition that something could not be removed, or was kept.
pub(crate) const LEFT_BEHIND: &str = "LeftBehind";
/// Its reason while that is tried again.
pub(crate) const OWED: &str = "Unreachable";

/// Whether a condition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    Yes,
    No,
    Unknown,
}

impl Holds {
    fn text(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// The present, as the API writes it.
pub(crate) fn now() -> Time {
    Time(jiff::Timestamp::now())
}

/// Sets a condition; the time of its transition stays while it holds or does not hold as before.
pub(crate) fn set_condition(status: &mut StatefulMigrationStatus, type_: &str, holds: Holds, reason: &str, message: impl Into<String>) {
    let before = status.conditions.iter().position(|condition| condition.type_ == type_);
    let since = before.map(|at| &status.conditions[at]).filter(|condition| condition.status == holds.text());
    let condition = Condition {
        type_: type_.to_owned(),
        status: holds.text().to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        last_transition_time: since.map_or_else(now, |condition| condition.last_transition_time.clone()),
        observed_generation: status.observed_generation,
    };
    match before {
        Some(at) => status.conditions[at] = condition,
        None => status.conditions.push(condition),
    }
}

/// Takes a state in. `in_phase` is how long the phase of the status has lasted.
pub(crate) fn take_in(status: &mut StatefulMigrationStatus, state: &MigrationState, in_phase: Duration) -> Result<()> {
    let bad = |error: serde_json::Error| Error::fatal(ErrorKind::Invariant, "the engine's state makes no JSON").caused_by(error);
    let phase = state.phase();
    if let Some(before) = status.phase.filter(|before| *before != phase) {
        status.phase_timings.insert(before.to_string(), format!("{:.3}s", in_phase.as_secs_f64()));
    }
    status.phase = Some(phase);
    status.engine = Some(serde_json::to_string(state).map_err(bad)?);
    status.start_time.get_or_insert_with(now);
    let facts = state.facts();
    if let Some(checkpoint) = &facts.checkpoint {
        status.checkpoint = Some(CheckpointStatus {
            id: checkpoint.migration.to_string(),
            digest: facts.receipt.as_ref().map(|receipt| receipt.digest.to_string()),
            bytes: facts.rounds.iter().map(|round| round.pre_dump.checkpoint.archive_bytes).sum::<u64>() + checkpoint.archive_bytes,
        });
    }
    let prepared = if facts.prepared { "NodeWaits" } else { "UnderWay" };
    set_condition(status, "TargetPrepared", facts.prepared.into(), prepared, "");
    needs_attention(status, state);
    match MigrationReport::of(state) {
        Some(report) => {
            status.report = Some(serde_json::to_value(&report).map_err(bad)?);
            ended(status, state, &report);
        }
        None => set_condition(status, "Completed", Holds::Unknown, "UnderWay", phase.to_string()),
    }
    Ok(())
}

fn needs_attention(status: &mut StatefulMigrationStatus, state: &MigrationState) {
    let (reason, message) = if state.copy_lost() {
        let what = "the copy has ended after it took the queue: the source is kept, and nobody consumes; bring the copy back, or start a consumer from the state you trust";
        ("CopyLost", what.to_owned())
    } else if state.attention().is_some() {
        ("DeadlinePassed", format!("a deadline has passed that cannot end this migration; waiting for: {}", state.waiting_for().join(", ")))
    } else {
        ("None", String::new())
    };
    if reason != "None" {
        status.message = Some(message.clone());
    }
    set_condition(status, "NeedsAttention", (reason != "None").into(), reason, message);
}

fn ended(status: &mut StatefulMigrationStatus, state: &MigrationState, report: &MigrationReport) {
    let completed = report.outcome == Outcome::Completed;
    let reason = match report.outcome {
        Outcome::Completed => "Completed",
        Outcome::RolledBack => "RolledBack",
        Outcome::Cancelled => "Cancelled",
        Outcome::Failed => "NotBegun",
    };
    let figure = |figure: Option<f64>| figure.map_or_else(|| "an unknown number of".to_owned(), |figure| format!("{figure:.1}"));
    let message = report.reason.clone().unwrap_or_else(|| {
        format!("moved in {} ms; nobody served for {} ms", figure(report.durations_ms.total), figure(report.durations_ms.cutover_gap))
    });
    set_condition(status, "Completed", completed.into(), reason, &message);
    set_condition(status, "RolledBack", (report.outcome == Outcome::RolledBack).into(), reason, "");
    set_condition(status, "Cancelled", (report.outcome == Outcome::Cancelled).into(), reason, "");
    if completed {
        // Whether messages were lost on their way an auditor has to say; that the copy's state is the source's the two digests show.
        let journal = &report.ledger.journal;
        let contradiction = journal.contradiction();
        let (holds, why) = match (&contradiction, journal.digest_source.is_some() && journal.digest_target.is_some()) {
            (Some(_), _) => (Holds::No, "Contradiction"),
            (None, true) => (Holds::Yes, "DigestsEqual"),
            (None, false) => (Holds::Unknown, "NotCompared"),
        };
        set_condition(status, "StateExact", holds, why, contradiction.unwrap_or_default());
    }
    left_behind(status, state);
    status.phase_timings.retain(|phase, _| *phase != state.phase().to_string());
    status.message = Some(message);
    status.completion_time.get_or_insert_with(now);
}

fn left_behind(status: &mut StatefulMigrationStatus, state: &MigrationState) {
    let left = state.left_behind();
    let names = left.names().join(", ");
    if !state.removable().is_empty() {
        let message = format!(
            "{names}: whoever holds it could not be reached; it is removed when that can be done, within a day, as long as this resource is there"
        );
        set_condition(status, LEFT_BEHIND, Holds::Yes, OWED, message);
    } else if !left.is_empty() {
        set_condition(status, LEFT_BEHIND, Holds::Yes, "Kept", format!("{names}: it is all there is of the source's state"));
    } else if status.conditions.iter().any(|condition| condition.type_ == LEFT_BEHIND) {
        set_condition(status, LEFT_BEHIND, Holds::No, "Removed", "");
    }
}

/// A migration that was refused before the engine has begun.
pub(crate) fn refuse(status: &mut StatefulMigrationStatus, error: &Error) {
    let message = error.to_string();
    set_condition(status, "Accepted", Holds::No, &format!("{:?}", error.kind()), &message);
    set_condition(status, "Completed", Holds::No, "NotBegun", &message);
    status.phase = Some(Phase::Failed);
    status.message = Some(message);
    status.completion_time = Some(now());
}
