//! Something happens at every single await of a migration: the driver dies, the user cancels, the source dies.

use std::sync::Arc;
use std::time::Duration;

use crate::sim::{Sim, Trouble, for_polls, spec};
use ms2m_core::engine::{MigrationSpec, Step};
use ms2m_core::{Cancel, HandoverChoice, MigrationReport, Outcome, Part};

/// A copy that catches up while it is stored that it lives, and so takes a held queue at once; and one that does not.
const HOWS: [How; 2] = [How(HandoverChoice::Hold, 20), How(HandoverChoice::Auto, 1)];

/// In which mode, and how many messages the copy catches up per look.
#[derive(Clone, Copy)]
struct How(HandoverChoice, u64);

impl How {
    fn begin(self) -> (Arc<Sim>, MigrationSpec) {
        let Self(mode, replayed_per_look) = self;
        (Arc::new(Sim::replaying(replayed_per_look, None)), MigrationSpec { mode, ..spec() })
    }
}

async fn go_on(sim: &Arc<Sim>, spec: &MigrationSpec) -> MigrationReport {
    match sim.stored().await {
        Some(state) => sim.driver().resume(state).await.unwrap(),
        None => sim.driver().run(spec.clone()).await.unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_dies_at_each_await_and_another_one_goes_on() {
    let mut survived = 0;
    for how in HOWS {
        for polls in 0.. {
            let (sim, spec) = how.begin();
            if let Some(report) = for_polls(polls, sim.driver().run(spec.clone())).await {
                sim.check(&report.unwrap());
                break;
            }
            let report = go_on(&sim, &spec).await;
            sim.check(&report);
            assert_eq!(report.outcome, Outcome::Completed, "died after {polls} polls: {report:#?}");
            survived += 1;
        }
    }
    assert!(survived > 40, "only {survived} places to die at were tried");
}

#[tokio::test(start_paused = true)]
async fn the_driver_dies_twice_at_any_two_awaits() {
    for how in HOWS {
        for (first, second) in (0..60).flat_map(|first| (0..20).map(move |second| (first, second))) {
            let (sim, spec) = how.begin();
            let _ = for_polls(first, sim.driver().run(spec.clone())).await;
            let _ = for_polls(second, go_on(&sim, &spec)).await;
            let report = go_on(&sim, &spec).await;
            sim.check(&report);
            assert_eq!(report.outcome, Outcome::Completed, "died after {first} and {second} polls: {report:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_dies_at_each_await_of_a_roll_back() {
    // The watch would make thousands of awaits of a hanging checkpoint, all alike.
    let seldom = MigrationSpec { source_every: Duration::from_secs(20), contact_every: Duration::from_secs(20), ..spec() };
    for (step, trouble) in [(Step::Restore, Trouble::Fatal), (Step::HandOver, Trouble::HangAfter), (Step::Checkpoint, Trouble::Hang)] {
        for polls in 0.. {
            let sim = Arc::new(Sim::new());
            sim.always(step, trouble);
            if let Some(report) = for_polls(polls, sim.driver().run(seldom.clone())).await {
                sim.check(&report.unwrap());
                assert!(polls > 10);
                break;
            }
            let report = go_on(&sim, &spec()).await;
            sim.check(&report);
            let completed = report.outcome == Outcome::Completed;
            assert_eq!(completed, step == Step::HandOver, "{step}, died after {polls} polls: {report:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_user_cancels_at_each_await() {
    let (mut cancelled, mut too_late) = (0, 0);
    let modes = [HandoverChoice::Chase, HandoverChoice::Hold];
    for how in modes.into_iter().flat_map(|mode| [20, 1].map(|looks| How(mode, looks))) {
        for polls in 0.. {
            let (sim, spec) = how.begin();
            let cancel = Cancel::new();
            let driver = sim.driver().with_cancel(cancel.clone());
            let mut running = Box::pin(driver.run(spec));
            if let Some(report) = for_polls(polls, &mut running).await {
                sim.check(&report.unwrap());
                break;
            }
            cancel.cancel("enough");
            let report = running.await.unwrap();
            sim.check(&report);
            match report.outcome {
                Outcome::Cancelled => cancelled += 1,
                Outcome::Completed => too_late += 1,
                outcome => panic!("{outcome:?} after {polls} polls: {report:#?}"),
            }
        }
    }
    assert!(cancelled > 20 && too_late > 5, "{cancelled} cancelled, {too_late} too late");
}

#[tokio::test(start_paused = true)]
async fn the_source_dies_at_each_await() {
    let (mut rescued, mut lost) = (0, 0);
    for how in HOWS {
        for polls in 0.. {
            let (sim, spec) = how.begin();
            let driver = sim.driver();
            let mut running = Box::pin(driver.run(spec));
            if for_polls(polls, &mut running).await.is_some() {
                break;
            }
            sim.truth().source_lives = false;
            let checkpoint_exists = sim.truth().checkpoint;
            let report = running.await.unwrap();
            sim.check(&report);
            if report.outcome == Outcome::Completed {
                rescued += 1;
            } else {
                lost += 1;
                assert!(!checkpoint_exists, "its state was thrown away after {polls} polls: {report:#?}");
            }
        }
    }
    assert!(rescued > 10 && lost > 3, "{rescued} rescued, {lost} lost");
}

/// The calls that the source's death makes fail may say so before the watch does.
#[tokio::test(start_paused = true)]
async fn a_dead_source_is_no_reason_to_give_up() {
    for step in [Step::Send(Part::Final), Step::Restore, Step::Progress, Step::HandOver] {
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Fatal; 7]);
        let driver = sim.driver();
        let mut running = Box::pin(driver.run(MigrationSpec { source_every: Duration::from_secs(3600), ..spec() }));
        while sim.asked(step) == 0 {
            assert!(for_polls(1, &mut running).await.is_none());
        }
        sim.truth().source_lives = false;
        let report = running.await.unwrap();
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed, "{step}: {report:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rescue_cannot_be_cancelled() {
    let sim = Arc::new(Sim::new());
    sim.trouble(Step::Send(Part::Final), &[Trouble::Retry]);
    let cancel = Cancel::new();
    let driver = sim.driver().with_cancel(cancel.clone());
    let mut running = Box::pin(driver.run(MigrationSpec { source_every: Duration::from_millis(5), ..spec() }));
    while sim.asked(Step::Send(Part::Final)) == 0 {
        assert!(for_polls(1, &mut running).await.is_none());
    }
    sim.truth().source_lives = false;
    while sim.stored().await.is_none_or(|state| !state.source_gone()) {
        assert!(for_polls(1, &mut running).await.is_none());
    }
    cancel.cancel("it would throw the only state away");
    let report = running.await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn when_even_the_rescue_fails_the_checkpoint_is_kept() {
    let sim = Arc::new(Sim::new());
    sim.always(Step::Restore, Trouble::Retry);
    let driver = sim.driver();
    let mut running = Box::pin(driver.run(spec()));
    while sim.asked(Step::Restore) == 0 {
        assert!(for_polls(1, &mut running).await.is_none());
    }
    sim.truth().source_lives = false;
    let report = running.await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::RolledBack);
    let reason = report.reason.unwrap();
    assert!(reason.contains("left behind: the transferred checkpoint, the checkpoint"), "{reason}");
    assert!(reason.contains("waiting for: restore (the last time: "), "what it is waited for has said why: {reason}");
    assert!(sim.truth().checkpoint && !sim.truth().arrived.is_empty());
    let state = sim.driver().sweep(sim.stored().await.unwrap()).await.unwrap();
    assert!(state.removable().is_empty() && !state.left_behind().is_empty());
    assert!(sim.truth().checkpoint && !sim.truth().arrived.is_empty(), "nobody but a person gives the only state up");
}
