//! The copy ends by itself, at every single await of a migration; and who is asked for a sign of life, and when.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sim::{Owner, Sim, Trouble, for_polls, spec};
use ms2m_core::engine::{MigrationSpec, Step};
use ms2m_core::{MigrationState, Observer, Outcome, Part, Phase, ReplayStanding};

#[tokio::test(start_paused = true)]
async fn the_copy_dies_at_each_await() {
    let (mut back, mut kept) = (0, 0);
    for polls in 0.. {
        let sim = Arc::new(Sim::new());
        let driver = sim.driver();
        let mut running = Box::pin(driver.run(spec()));
        if for_polls(polls, &mut running).await.is_some() {
            break;
        }
        if !sim.truth().copy_lives {
            continue;
        }
        sim.truth().copy_lives = false;
        let owned = sim.truth().owner == Owner::Copy;
        // Alive when it was looked at, so the source was let go.
        let calls = sim.truth().calls.clone();
        let handed = calls.iter().position(|call| *call == Step::HandOver).unwrap_or(calls.len());
        let seen = calls[handed..].contains(&Step::WatchCopy) && owned;
        let somebody = async {
            tokio::time::sleep(Duration::from_secs(200)).await;
            if owned && !seen {
                let truth = sim.truth();
                assert!(truth.source_lives && truth.journal && truth.checkpoint, "the last state was thrown away after {polls} polls");
            }
            // Brought back by hand, where that is still of use.
            let committed = sim.truth().owner == Owner::Copy;
            sim.truth().copy_lives |= committed;
        };
        let (report, ()) = futures_util::future::join(running, somebody).await;
        let report = report.unwrap();
        sim.check(&report);
        match report.outcome {
            Outcome::Completed => kept += u32::from(owned),
            Outcome::RolledBack => back += 1,
            outcome => panic!("{outcome:?} after {polls} polls"),
        }
    }
    assert!(back > 5 && kept > 5, "{back} rolled back, {kept} kept");
}

/// No deadline is waited for, and the reason says what has happened.
#[tokio::test(start_paused = true)]
async fn a_dead_copy_rolls_back_at_once() {
    let sim = Arc::new(Sim::replaying(0, None));
    let driver = sim.driver();
    let mut running = Box::pin(driver.run(spec()));
    while sim.asked(Step::Progress) < 20 {
        assert!(for_polls(1, &mut running).await.is_none());
        tokio::task::yield_now().await;
    }
    sim.truth().copy_lives = false;
    let died = tokio::time::Instant::now();
    let report = running.await.unwrap();
    sim.check(&report);
    assert!(died.elapsed() < Duration::from_millis(200), "{:?}", died.elapsed());
    assert_eq!((report.outcome, report.phase_reached), (Outcome::RolledBack, Phase::Replaying));
    let reason = report.reason.unwrap();
    assert!(reason.contains("the copy has ended by itself"), "{reason}");
}

/// Source and copy die together: the checkpoint is all there is.
#[tokio::test(start_paused = true)]
async fn when_both_die_the_checkpoint_is_kept() {
    let sim = Arc::new(Sim::replaying(0, None));
    let driver = sim.driver();
    let mut running = Box::pin(driver.run(MigrationSpec { source_every: Duration::from_secs(3600), ..spec() }));
    while sim.asked(Step::Progress) < 5 {
        assert!(for_polls(1, &mut running).await.is_none());
        tokio::task::yield_now().await;
    }
    (sim.truth().copy_lives, sim.truth().source_lives) = (false, false);
    let report = running.await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert!(report.reason.unwrap().contains("left behind: the transferred checkpoint, the checkpoint"));
    assert!(sim.truth().checkpoint);
}

#[derive(Debug, Default)]
struct Lost(Mutex<Vec<bool>>);

impl Observer for Lost {
    fn on_state(&self, state: &MigrationState) {
        self.0.lock().unwrap().push(state.copy_lost() && state.attention().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_lost_after_the_commit_keeps_the_source_and_calls_somebody() {
    let sim = Arc::new(Sim::new());
    let lost = Arc::new(Lost::default());
    let driver = sim.driver().with_observer(lost.clone());
    let mut running = Box::pin(driver.run(spec()));
    while sim.truth().owner != Owner::Copy {
        assert!(for_polls(1, &mut running).await.is_none());
        tokio::task::yield_now().await;
    }
    sim.truth().copy_lives = false;
    let healer = async {
        tokio::time::sleep(Duration::from_secs(900)).await;
        assert!(lost.0.lock().unwrap().last().unwrap(), "nobody was called");
        assert_eq!((sim.asked(Step::RetireSource), sim.truth().source_lives), (0, true));
        sim.truth().copy_lives = true;
    };
    let (report, ()) = futures_util::future::join(running, healer).await;
    let report = report.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn the_journal_is_looked_at_while_the_transfer_takes_long() {
    for step in [Step::Checkpoint, Step::Send(Part::Final), Step::Restore] {
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Hang]);
        let driver = sim.driver();
        let running = driver.run(spec());
        let looking = async {
            tokio::time::sleep(Duration::from_secs(55)).await;
            sim.asked(Step::Progress)
        };
        let looks = tokio::select! { _ = running => panic!("{step} did not hang"), looks = looking => looks };
        assert!((50..=60).contains(&looks), "{looks} looks during {step}");
    }
}

/// The source has given the migration up: nobody waits for the transfer to end.
#[tokio::test(start_paused = true)]
async fn an_abort_by_the_source_ends_a_transfer() {
    let sim = Arc::new(Sim::new());
    sim.always(Step::Send(Part::Final), Trouble::Hang);
    *sim.standing.lock().unwrap() = Some(ReplayStanding::Aborted("the source has heard nothing".into()));
    let begun = tokio::time::Instant::now();
    let report = sim.driver().run(spec()).await.unwrap();
    sim.check(&report);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!((report.outcome, report.phase_reached), (Outcome::RolledBack, Phase::Transferring));
    assert!(report.reason.unwrap().contains("heard nothing"));
}
