//! What is shown of a migration: a line while it runs, a report at its end.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use ms2m_core::engine::{Course, MigrationState};
use ms2m_core::{MigrationId, MigrationReport, NoObserver, Observer, Outcome, Progress};

use crate::demo::Output;

/// A line on the terminal, if standard error is one.
pub(super) fn live() -> Arc<dyn Observer> {
    if !io::stderr().is_terminal() {
        return Arc::new(NoObserver);
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    Arc::new(Live(bar))
}

#[derive(Debug)]
struct Live(ProgressBar);

impl Observer for Live {
    fn on_state(&self, state: &MigrationState) {
        if state.is_final() {
            return self.0.finish_and_clear();
        }
        let rolling_back = if matches!(state.course(), Course::Undoing(_)) { ", rolling back" } else { "" };
        self.0.set_message(format!("{}{rolling_back}", state.phase()));
    }

    fn on_progress(&self, _: &MigrationId, progress: &Progress) {
        self.0.set_message(match progress {
            Progress::Transfer { part, bytes, of_bytes } => format!("{part}: {} of {}", HumanBytes(*bytes), HumanBytes(*of_bytes)),
            Progress::Replay(replay) => format!("the copy is {} messages behind", replay.lag()),
        });
    }
}

/// The report, on standard output.
pub(crate) fn print_report(report: &MigrationReport, output: Output) -> io::Result<()> {
    print(output, report, false)
}

pub(super) fn print(output: Output, report: &MigrationReport, source_lost: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)
        }
        Output::Text => out.write_all(told(report, source_lost).as_bytes()),
    }
}

/// The report for people.
pub(crate) fn text(report: &MigrationReport) -> String {
    told(report, false)
}

fn told(report: &MigrationReport, source_lost: bool) -> String {
    let mut text = String::new();
    let reason = report.reason.as_deref().unwrap_or("no reason is known");
    let _ = match report.outcome {
        _ if source_lost => writeln!(text, "{}: not moved, and the source is lost: {reason}", report.id),
        Outcome::Completed => writeln!(text, "{}: completed, the copy goes on and the source is gone", report.id),
        Outcome::RolledBack => writeln!(text, "{}: rolled back, the source runs on: {reason}", report.id),
        Outcome::Cancelled => writeln!(text, "{}: cancelled, the source runs on: {reason}", report.id),
        Outcome::Failed => writeln!(text, "{}: failed, nothing was changed: {reason}", report.id),
    };
    let durations = &report.durations_ms;
    let rows = [
        ("freeze", durations.freeze),
        ("checkpoint", durations.checkpoint),
        ("transfer", durations.transfer),
        ("restore", durations.restore),
        ("replay", durations.replay),
        ("cut-over gap", durations.cutover_gap),
        ("total", durations.total),
    ];
    for (name, duration) in rows {
        if let Some(duration) = duration {
            let _ = writeln!(text, "  {name:<13}{duration:>9.1} ms");
        }
    }
    if report.bytes.archive > 0 {
        let _ = writeln!(text, "  {:<13}{:>12}", "archive", HumanBytes(report.bytes.archive).to_string());
    }
    for round in &report.pre_dump {
        let _ = writeln!(
            text,
            "  pre-dump {:<4}{:>12} dirty, frozen for {:.1} ms",
            round.round,
            HumanBytes(round.dirty_bytes).to_string(),
            round.freeze_ms
        );
    }
    let journal = &report.ledger.journal;
    if let (Some(source), Some(target)) = (journal.digest_source, journal.digest_target) {
        let same = if source == target { "the same" } else { "DIFFERENT" };
        let _ = writeln!(text, "  state at the cut: {same} digest at both sides after {} messages", journal.applied_by_source);
    }
    text
}
