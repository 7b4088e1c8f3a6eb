//! For people.

use std::fmt::Write as _;
use std::io::{self, Write};

use ms2m_core::{MigrationReport, Outcome, Protocol};

use super::picture::picture;
use super::{Ending, Teller};
use crate::demo::args::DemoArgs;

/// More migrations than this are not told one by one.
const TOLD_MAX: u64 = 40;
/// Rolled back ones are, up to this many.
const REASONS_MAX: u64 = 10;

/// Writes to `W`.
pub(crate) struct Text<W> {
    out: W,
    args: DemoArgs,
    number: u64,
    reasons: u64,
    last_completed: Option<(u64, MigrationReport)>,
}

impl<W: Write> Text<W> {
    pub(crate) fn new(out: W, args: DemoArgs) -> Self {
        Self { out, args, number: 0, reasons: 0, last_completed: None }
    }
}

impl<W: Write + Send> Teller for Text<W> {
    fn report(&mut self, report: &MigrationReport) -> io::Result<()> {
        self.number += 1;
        if report.outcome == Outcome::Completed {
            self.last_completed = Some((self.number, report.clone()));
        }
        let total = report.durations_ms.total.unwrap_or_default();
        let (number, of) = (self.number, self.args.migrations);
        match (report.outcome, &report.reason) {
            (Outcome::Completed, _) if of <= TOLD_MAX => {
                let gap = report.durations_ms.cutover_gap.map(|gap| format!(", nobody served for {gap:.1} ms")).unwrap_or_default();
                writeln!(self.out, "Move {number} of {of}: completed in {total:.0} ms{gap}")
            }
            (Outcome::Completed, _) => Ok(()),
            (outcome, reason) => {
                self.reasons += 1;
                if of > TOLD_MAX && self.reasons > REASONS_MAX {
                    return Ok(());
                }
                let what = match outcome {
                    Outcome::Failed => "did not begin",
                    Outcome::Cancelled => "was cancelled; the consumer went on where it was",
                    _ => "was undone; the consumer went on where it was",
                };
                writeln!(self.out, "Move {number} of {of}: {what} ({})", reason.as_deref().unwrap_or("no reason"))
            }
        }
    }

    fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        if let Some((number, report)) = &self.last_completed {
            writeln!(self.out, "\nMove {number}, from asking for it to the last trace removed:\n{}", picture(report))?;
        }
        self.out.write_all(ledger(&self.args, ending, self.last_completed.as_ref().and_then(|(_, report)| report.protocol)).as_bytes())?;
        self.out.flush()
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

/// The ledger in plain words.
fn ledger(args: &DemoArgs, ending: &Ending, protocol: Option<Protocol>) -> String {
    let Ending { summary, verdict, messages, simulated, trouble, .. } = ending;
    let mut text = String::new();
    let publishers = if args.publishers == 1 { "1 publisher".to_owned() } else { format!("{} publishers", args.publishers) };
    let _ = writeln!(text, "{publishers} sent {messages} messages. The consumer moved {} while they went on.", times(summary.completed));
    if summary.rolled_back + summary.failed > 0 {
        let undone = summary.rolled_back + summary.failed;
        let were = if undone == 1 { "was" } else { "were" };
        let _ = writeln!(text, "{undone} more {were} undone: the consumer stayed where it was.");
    }
    if !ending.faults.is_empty() {
        let faults: Vec<String> = ending.faults.iter().map(|(kind, count)| format!("{} {count}", kind.replace('_', " "))).collect();
        let _ = writeln!(text, "Meanwhile these faults happened: {}.", faults.join(", "));
    }
    let counts = format!("lost {}, doubled {}, reordered {}", summary.lost, summary.doubled, summary.reordered);
    if summary.exact {
        let _ = writeln!(text, "Every message was applied exactly once, in order: {counts}.");
        let _ = writeln!(text, "The state at every single message is the one that a consumer which never moved would have.");
    } else {
        let _ = writeln!(text, "NOT EXACT: {counts}.");
        for finding in verdict.first_findings.iter().take(5) {
            let _ = writeln!(text, "  - {finding}");
        }
        if protocol == Some(Protocol::Mirror) {
            let _ = writeln!(text, "That is what the published mirror scheme does under load. Try --scheme journal on the same work.");
        }
    }
    if let Some(trouble) = trouble {
        let _ = writeln!(text, "It ended early: {trouble}");
    }
    if let (Some(p50), Some(max)) = (summary.cutover_gap_ms.p50, summary.cutover_gap_ms.max) {
        let figures = if summary.completed > 1 { format!("{p50:.1} ms (median; at most {max:.1} ms)") } else { format!("{p50:.1} ms") };
        let _ = writeln!(text, "At the moment of the move nobody was served for {figures}.");
    }
    if *simulated {
        let _ = writeln!(text, "All of this on simulated time; so are these durations. --clock real takes its time.");
    }
    text
}
