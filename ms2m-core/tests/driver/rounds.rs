//! Pre-dump rounds: what travels before the freeze, and what becomes of the rest when a round fails.

use std::sync::Arc;
use std::time::Duration;

use crate::sim::{ARCHIVE, Sim, Trouble, clock, for_polls, spec};
use ms2m_core::engine::{MigrationSpec, Step};
use ms2m_core::{Cancel, CheckpointCapability, Clock, HandoverChoice, Outcome, Part, PreDumpEnd, PreDumpPolicy};

/// The simulated source halves what is dirty with each round, from 32 MB; four are worth it.
fn with_rounds() -> MigrationSpec {
    let policy = PreDumpPolicy { dirty_bytes_max: 5_000_000, ..PreDumpPolicy::default() };
    MigrationSpec { pre_dump: Some(policy), ..spec() }
}

fn parts(rounds: u32) -> Vec<Part> {
    (1..=rounds).map(Part::Round).chain([Part::Final]).collect()
}

async fn end(sim: &Sim) -> Option<PreDumpEnd> {
    sim.stored().await.unwrap().facts().pre_dump_end.clone()
}

#[tokio::test(start_paused = true)]
async fn rounds_travel_before_the_source_is_parked() {
    let sim = Arc::new(Sim::new());
    let report = sim.driver().run(with_rounds()).await.unwrap();
    sim.check(&report);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(sim.truth().restored_from, parts(4));
    assert_eq!(end(&sim).await, Some(PreDumpEnd::FewDirty));
    let calls = sim.truth().calls.clone();
    let at = |step| calls.iter().position(|call| *call == step).unwrap_or_else(|| panic!("no {step}"));
    assert!(at(Step::Stage(1)) < at(Step::PreDump(2)) && at(Step::Stage(3)) < at(Step::Park));
    let size = ARCHIVE.len() as u64;
    assert_eq!((report.bytes.archive, report.bytes.transferred), (size * 5, size / 2 * 5), "the sum of all parts");
    let dirty: Vec<_> = report.pre_dump.iter().map(|round| (round.round, round.dirty_bytes)).collect();
    assert_eq!(dirty, [(1, 32_000_000), (2, 16_000_000), (3, 8_000_000), (4, 4_000_000)]);
    let json = serde_json::to_value(&report).unwrap();
    let first = serde_json::json!({ "round": 1, "archive_bytes": size, "transferred_bytes": size / 2, "dirty_bytes": 32_000_000, "freeze_ms": 0.7 });
    assert_eq!(json["pre_dump"][0], first);
    assert_eq!(json["durations_ms"]["freeze"], 0.7, "only the final dump's");
}

/// It costs a freeze, which is worth while once, and only where the source stands still anyway.
#[tokio::test(start_paused = true)]
async fn a_round_that_freezes_is_made_once_and_before_a_source_is_held() {
    for (mode, rounds) in [(HandoverChoice::Hold, 1), (HandoverChoice::Chase, 0)] {
        let mut sim = Sim::new();
        sim.capability = CheckpointCapability { freezing_round: true, leave_running: true, ..CheckpointCapability::default() };
        let sim = Arc::new(sim);
        let report = sim.driver().run(MigrationSpec { mode, ..with_rounds() }).await.unwrap();
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed);
        assert_eq!(sim.truth().restored_from, parts(rounds), "{mode:?}");
        match end(&sim).await {
            Some(PreDumpEnd::RoundsMax) => assert_eq!(rounds, 1),
            Some(PreDumpEnd::Failed(why)) => assert!(rounds == 0 && why.contains("would freeze the source in each round"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_keep_their_interval() {
    let sim = Arc::new(Sim::new());
    let mut spec = with_rounds();
    spec.pre_dump.as_mut().unwrap().interval = Duration::from_secs(7);
    let report = sim.driver().run(spec).await.unwrap();
    sim.check(&report);
    let begun = report.timeline.iter().find(|entry| entry.event == ms2m_core::Milestone::Frozen).unwrap();
    assert!((21_000.0..21_100.0).contains(&begun.at_ms), "three pauses: {begun:?}");
}

/// The final dump holds what a failed round should have brought.
#[tokio::test(start_paused = true)]
async fn nothing_builds_on_a_round_that_has_not_arrived() {
    for trouble in [Trouble::Fatal, Trouble::Hang, Trouble::HangAfter] {
        for (step, arrived) in [
            (Step::PreDump(1), 0),
            (Step::PreDump(3), 2),
            (Step::Send(Part::Round(1)), 0),
            (Step::Send(Part::Round(2)), 1),
            (Step::Stage(1), 0),
            (Step::Stage(3), 2),
        ] {
            let sim = Arc::new(Sim::new());
            sim.always(step, trouble);
            let begun = clock();
            let report = sim.driver().run(with_rounds()).await.unwrap();
            sim.check(&report);
            assert_eq!(report.outcome, Outcome::Completed, "{step} {trouble:?}: {report:#?}");
            assert_eq!(sim.truth().restored_from, parts(arrived), "{step} {trouble:?}");
            assert_eq!(sim.truth().parent, (arrived > 0).then_some(arrived), "{step} {trouble:?}");
            let (end, took) = (end(&sim).await.unwrap(), clock().now().since(begun.now()));
            if trouble == Trouble::Fatal {
                assert!(matches!(&end, PreDumpEnd::Failed(why) if why.contains(&step.to_string())), "{end:?}");
            } else {
                assert_eq!(end, PreDumpEnd::Deadline, "the rounds' own deadline ends them, and nothing else");
                assert!(took < Duration::from_secs(610), "{took:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_fails_for_now_is_repeated() {
    for step in [Step::PreDump(2), Step::Send(Part::Round(2)), Step::Stage(2)] {
        let sim = Arc::new(Sim::new());
        sim.trouble(step, &[Trouble::Retry, Trouble::Retry]);
        let report = sim.driver().run(with_rounds()).await.unwrap();
        sim.check(&report);
        assert_eq!((sim.asked(step), sim.truth().restored_from.clone()), (3, parts(4)), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_dies_at_each_await_of_the_rounds() {
    for polls in 0.. {
        let sim = Arc::new(Sim::new());
        if let Some(report) = for_polls(polls, sim.driver().run(with_rounds())).await {
            sim.check(&report.unwrap());
            assert!(polls > 40);
            break;
        }
        let report = match sim.stored().await {
            Some(state) => sim.driver().resume(state).await.unwrap(),
            None => sim.driver().run(with_rounds()).await.unwrap(),
        };
        sim.check(&report);
        assert_eq!(report.outcome, Outcome::Completed, "died after {polls} polls: {report:#?}");
        assert_eq!(sim.truth().restored_from, parts(4), "died after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_can_be_cancelled_and_leave_nothing() {
    for step in [Step::PreDump(2), Step::Send(Part::Round(1)), Step::Stage(1)] {
        let sim = Arc::new(Sim::new());
        sim.always(step, Trouble::Hang);
        let cancel = Cancel::new();
        let driver = sim.driver().with_cancel(cancel.clone());
        let mut running = Box::pin(driver.run(with_rounds()));
        while sim.asked(step) == 0 {
            assert!(for_polls(1, &mut running).await.is_none());
        }
        cancel.cancel("enough");
        let report = running.await.unwrap();
        sim.check(&report);
        assert_eq!((report.outcome, sim.asked(Step::Park)), (Outcome::Cancelled, 0), "{step}");
    }
}
