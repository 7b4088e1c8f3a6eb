//! One migration by the published scheme.

use std::time::Duration;

use ms2m_broker::link::{QueueKind, QueueOptions};
use ms2m_core::ledger::{Ledger, LedgerReport};
use ms2m_core::{Bytes, DurationsMs, MigrationReport, Milestone, Outcome, Phase, Protocol, Result, TimelineEntry, Timestamp};
use tokio::time::{Instant, sleep};

use super::consumer::Plain;
use super::stage::{MirrorStage, Running};
use crate::demo::leg::Leg;

/// How often it is looked whether the second queue is empty.
const LOOK: Duration = Duration::from_millis(5);
/// When it is not empty by then the source is ended all the same, as the published implementation does (after 120 s).
const CUTOFF: Duration = Duration::from_secs(3);

/// From the checkpoint to the running copy. Generous: by a registry it takes seconds.
const TRAVEL: Duration = Duration::from_millis(250);

/// The moments of a migration.
struct Moments(Vec<(Milestone, Timestamp)>);

impl Moments {
    fn entries(&self) -> Vec<TimelineEntry> {
        let begun = self.0[0].1;
        self.0.iter().map(|(event, at)| TimelineEntry { event: *event, at_ms: ms(at.since(begun)) }).collect()
    }

    fn between(&self, from: Milestone, to: Milestone) -> Option<f64> {
        let at = |wanted| self.0.iter().find(|(milestone, _)| *milestone == wanted).map(|(_, at)| *at);
        Some(ms(at(to)?.since(at(from)?)))
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl MirrorStage {
    /// Moves the consumer.
    pub(super) async fn move_consumer(&self, leg: &Leg, source: Running) -> Result<(Running, MigrationReport)> {
        let second = format!("{}.mirror", self.queue_name());
        let clock = self.clock_of();
        let mut moments = Moments(vec![(Milestone::Begun, clock.now())]);
        let admin = self.broker().connect(&format!("mirror-{}", leg.migration)).await?;
        let options = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
        admin.declare(&second, &options).await?;
        self.fabric().bind(&self.exchange(), &second).await?;
        // The state now, whatever was routed to which queue by now.
        let image = source.plain.image()?;
        let at_image = source.plain.applied();
        for milestone in [Milestone::Frozen, Milestone::Thawed] {
            moments.0.push((milestone, clock.now()));
        }
        sleep(TRAVEL).await;
        moments.0.push((Milestone::Transferred, clock.now()));
        let copy = source.plain.restored(&image)?;
        moments.0.push((Milestone::Restored, clock.now()));
        let replay = self.spawn(copy.clone(), format!("{}-replay", leg.copy), second.clone());
        let until = Instant::now() + CUTOFF;
        sleep(LOOK).await;
        while Instant::now() < until && admin.queue_status(&second).await?.is_some_and(|status| status.ready > 0) {
            sleep(LOOK).await;
        }
        moments.0.push((Milestone::CaughtUp, clock.now()));
        source.end().await;
        replay.end().await;
        admin.delete(&second).await?;
        admin.close().await;
        let replayed = copy.applied() - at_image;
        let running = self.spawn(copy.clone(), leg.copy.to_string(), self.queue_name());
        moments.0.push((Milestone::CutOver, clock.now()));
        moments.0.push((Milestone::Finished, clock.now()));
        let report = report(leg, &moments, image.len() as u64, &source.plain, replayed);
        Ok((running, report))
    }
}

fn report(leg: &Leg, moments: &Moments, bytes: u64, source: &Plain, replayed: u64) -> MigrationReport {
    let journal = Ledger { applied_by_source: source.applied(), replayed, ..Ledger::default() };
    MigrationReport {
        id: leg.migration.clone(),
        outcome: Outcome::Completed,
        reason: None,
        phase_reached: Phase::Completed,
        checkpoint_source: "snapshot".into(),
        transfer_backend: "memory".into(),
        restore_target: "task".into(),
        protocol: Some(Protocol::Mirror),
        bytes: Bytes { archive: bytes, transferred: bytes },
        pre_dump: Vec::new(),
        durations_ms: DurationsMs {
            freeze: Some(0.0),
            transfer: moments.between(Milestone::Thawed, Milestone::Transferred),
            replay: moments.between(Milestone::Restored, Milestone::CaughtUp),
            total: moments.between(Milestone::Begun, Milestone::Finished),
            ..DurationsMs::default()
        },
        ledger: LedgerReport::from(journal),
        timeline: moments.entries(),
    }
}
