//! A demo from its first migration to its verdict.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ms2m_core::{Cancel, Driver, Error, ErrorKind, MigrationReport, MigrationSpec, Observer, Outcome, Result, SummaryBuilder};
use ms2m_testkit::auditor::Verdict;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::args::{DemoArgs, MESSAGES};
use super::diary::{Diary, Pending, Progress};
use super::faults::{Injector, Tally, Watch, draw};
use super::judge::{Judge, audit_verdict};
use super::leg::{Leg, consumer};
use super::output::{Ending, Teller};
use super::stage::Stage;

/// Pause between two looks at what publishers and the auditor have.
const LOOK: Duration = Duration::from_millis(5);
/// Without anything new for so long, and some service times, what is missing is lost.
const SILENCE: Duration = Duration::from_secs(3);

/// Tells one.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) args: DemoArgs,
    pub(crate) id: String,
    pub(crate) stage: Arc<dyn Stage>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) diary: Diary,
    pub(crate) cancel: Cancel,
    pub(crate) live: Arc<dyn Observer>,
    pub(crate) tally: Tally,
}

impl Story {
    /// All migrations, one after another, and the verdict.
    pub(crate) async fn tell(&self, teller: &mut dyn Teller) -> Result<Ending> {
        let mut summary = SummaryBuilder::default();
        let mut last = None;
        for report in self.diary.reports()? {
            last = Some(report.outcome);
            tell(&report, &mut summary, teller)?;
        }
        let mut progress = match self.diary.progress()? {
            Some(progress) => progress,
            None => Progress { owner: consumer(&self.id, 0)?, number: 1, leg: None, pending: None, shared: Verdict::default() },
        };
        let mut trouble = self.migrations(&mut progress, &mut summary, teller).await.err();
        // Interrupted, or with publishers that have no end.
        let now = progress.number <= self.args.migrations || self.args.messages().is_none();
        if let Err(error) = self.drain(now).await {
            trouble.get_or_insert(error);
        }
        let verdict = self.judge.finish();
        if let Some(pending) = progress.pending.take() {
            last = Some(pending.report.outcome);
            let report = audited(pending, &progress.shared, &verdict, trouble.is_none());
            tell(&report, &mut summary, teller)?;
            self.diary.keep(&report)?;
        }
        let mut summary = summary.summary();
        // Of findings that no migration's report could carry.
        summary.exact &= verdict.exact && trouble.is_none();
        Ok(Ending {
            summary,
            verdict,
            last,
            messages: self.judge.sent(),
            simulated: self.args.is_simulated(),
            faults: self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            trouble: trouble.map(|error| error.to_string()),
        })
    }

    async fn migrations(&self, progress: &mut Progress, summary: &mut SummaryBuilder, teller: &mut dyn Teller) -> Result<()> {
        let cancel = self.cancel.clone();
        let mut cancelled = std::pin::pin!(async move { cancel.cancelled().await });
        while progress.number <= self.args.migrations {
            if progress.leg.is_none() {
                tokio::select! {
                    biased;
                    _ = &mut cancelled => return Ok(()),
                    turn = self.turn(progress.number) => turn?,
                }
                self.stage.catch_up().await?;
                if let Some(pending) = progress.pending.take() {
                    let verdict = self.judge.verdict();
                    let report = audited(pending, &progress.shared, &verdict, true);
                    progress.shared = verdict;
                    self.diary.keep(&report)?;
                    tell(&report, summary, teller)?;
                }
                let strikes = if self.args.has_faults() { draw(self.args.seed, progress.number, &self.stage.menu()) } else { Vec::new() };
                progress.leg = Some(Leg::new(&self.id, progress.number, progress.owner.clone(), strikes)?);
                self.diary.note(progress)?;
            }
            let Some(leg) = progress.leg.clone() else { continue };
            self.judge.migration_begins();
            let report = self.migrate(&leg).await?;
            let owner = if report.outcome == Outcome::Completed { leg.copy.clone() } else { leg.source.clone() };
            progress.pending = Some(Pending { report, added_latency_us: self.judge.migration_ended() });
            progress.number += 1;
            progress.leg = None;
            progress.owner = owner.clone();
            self.diary.note(progress)?;
            self.stage.settle(&leg, &owner).await?;
            self.stage.store().remove(&leg.migration).await?;
        }
        Ok(())
    }

    /// Waits until as many messages are sent as belong before this migration.
    async fn turn(&self, number: u64) -> Result<()> {
        let (messages, parts) = (self.args.messages().unwrap_or(MESSAGES), self.args.migrations + 1);
        let at_once = self.judge.sent() + 1;
        let wanted = (messages.saturating_mul(number) / parts).max(if self.args.messages().is_none() { at_once } else { 1 });
        loop {
            self.stage.catch_up().await?;
            if self.judge.sent() >= wanted || self.stage.publishers_done().await? {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// One migration, over all crashes of its driver.
    async fn migrate(&self, leg: &Leg) -> Result<MigrationReport> {
        if let Some(report) = self.stage.baseline(leg).await {
            return report;
        }
        let watch = Arc::new(Watch::new(Arc::clone(&self.live)));
        let crash = Arc::new(Notify::new());
        let mut faults = JoinSet::new();
        for strike in leg.strikes.clone() {
            let (stage, watch, crash) = (Arc::clone(&self.stage), Arc::clone(&watch), Arc::clone(&crash));
            faults.spawn(Injector { stage, watch, crash, leg: leg.clone(), tally: Arc::clone(&self.tally) }.run(strike));
        }
        let report = loop {
            let drivers = self.stage.drivers(leg)?;
            let driver = Driver::new(drivers, self.stage.store())
                .with_clock(self.stage.clock())
                .with_observer(Arc::clone(&watch) as _)
                .with_cancel(self.cancel.clone());
            let run = async {
                match self.stage.store().load(&leg.migration).await? {
                    Some(state) => driver.resume(state).await,
                    None => driver.run(self.spec(leg)).await,
                }
            };
            tokio::select! {
                biased;
                report = run => break report?,
                () = crash.notified() => {}
            }
        };
        // Whoever hangs must go on before the next migration.
        while let Some(fault) = faults.join_next().await {
            fault.map_err(|error| Error::fatal(ErrorKind::Other, "a fault has failed itself").caused_by(error))?;
        }
        Ok(report)
    }

    fn spec(&self, leg: &Leg) -> MigrationSpec {
        let mut spec = MigrationSpec::new(leg.migration.clone(), self.stage.queue(), leg.source.clone(), leg.copy.clone());
        (spec.deadlines, spec.retry) = self.stage.deadlines();
        spec.mode = self.args.mode.into();
        spec.source_every = Duration::from_millis(20);
        spec
    }

    /// Waits until everything that was sent is applied, or nothing comes any more.
    async fn drain(&self, now: bool) -> Result<()> {
        self.stage.stop_publishers(now).await?;
        let silence = SILENCE + Duration::from_micros(self.args.service_us) * 5;
        let mut since = (Instant::now(), self.judge.applied());
        loop {
            self.stage.catch_up().await?;
            if self.judge.under_way() == 0 {
                return Ok(());
            }
            let applied = self.judge.applied();
            if applied != since.1 {
                since = (Instant::now(), applied);
            } else if since.0.elapsed() > silence {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }
}

fn tell(report: &MigrationReport, summary: &mut SummaryBuilder, teller: &mut dyn Teller) -> Result<()> {
    summary.add(report);
    teller.report(report).map_err(|error| Error::fatal(ErrorKind::Other, "the report cannot be printed").caused_by(error))
}

/// A report with what has come to light between two verdicts.
fn audited(pending: Pending, before: &Verdict, now: &Verdict, sound: bool) -> MigrationReport {
    let share = Verdict {
        published: now.published.saturating_sub(before.published),
        lost: now.lost.saturating_sub(before.lost),
        doubled: now.doubled.saturating_sub(before.doubled),
        reordered: now.reordered.saturating_sub(before.reordered),
        ..Verdict::default()
    };
    let others = |verdict: &Verdict| verdict.gaps + verdict.conflicts + verdict.state_mismatches + verdict.altered + verdict.unknown;
    let mut report = pending.report.audited(&audit_verdict(&share, pending.added_latency_us));
    report.ledger.exact &= sound && others(now) == others(before);
    report
}
