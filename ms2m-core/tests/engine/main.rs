//! Random events, failures, crashes, lost and doubled answers against a model of what is really the case at broker, source
//! and target. The engine sees only answers; the model knows the truth, and the invariants are stated about the truth.

mod world;

use std::time::Duration;

use ms2m_core::engine::{Event, Step, step};
use ms2m_core::{MigrationReport, Outcome, Part, Phase};
use proptest::prelude::*;
use world::{How, World};

#[derive(Clone, Debug)]
enum Op {
    /// One outstanding call answers.
    Answer {
        which: usize,
        how: How,
    },
    /// An earlier event comes once more.
    Repeat {
        which: usize,
    },
    /// The driver dies, and another one goes on from the store.
    Crash,
    Cancel,
    SourceDies,
    Wait {
        ms: u64,
    },
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        12 => Just(How::Well),
        2 => Just(How::Otherwise),
        2 => Just(How::Retry),
        1 => Just(How::Fatal),
        2 => Just(How::LostAnswer),
        1 => Just(How::Nonsense),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (any::<usize>(), how()).prop_map(|(which, how)| Op::Answer { which, how }),
        2 => any::<usize>().prop_map(|which| Op::Repeat { which }),
        2 => Just(Op::Crash),
        1 => prop_oneof![4 => Just(Op::Cancel), 4 => Just(Op::SourceDies)],
        2 => prop_oneof![4 => 0..50u64, 1 => 0..100_000u64].prop_map(|ms| Op::Wait { ms }),
    ]
}

fn apply(world: &mut World, op: &Op) {
    match op {
        Op::Answer { which, how } => world.answer(*which, *how),
        Op::Repeat { which } => world.repeat(*which),
        Op::Crash => world.crash(),
        Op::Cancel => {
            let rescue = world.state.source_gone() && world.state.facts().checkpoint.is_some();
            let course = world.state.course().clone();
            world.tell(&Event::Cancel { reason: "enough".into() });
            let late = world.state.deadline().is_none();
            assert!(!rescue || late || *world.state.course() == course, "a cancel threw the only state away");
        }
        Op::SourceDies => {
            world.source_lives = false;
            world.tell(&Event::SourceGone);
        }
        Op::Wait { ms } => {
            world.now = world.now.after(Duration::from_millis(*ms));
            world.tell(&Event::Tick);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World::tell` checks the invariants after each step; here is what must hold at the end.
    #[test]
    fn whatever_happens_the_end_is_one_owner_and_nothing_forgotten(
        ops in prop::collection::vec(op(), 0..60),
        chase in any::<bool>(),
        pre_dump_rounds in 0..3u32,
    ) {
        let mut world = World::new(chase, pre_dump_rounds);
        world.tell(&Event::Start);
        for op in &ops {
            apply(&mut world, op);
        }
        // From here on everything answers: then it must come to an end.
        let mut answers = 0;
        while !world.state.is_final() {
            answers += 1;
            prop_assert!(answers < 200, "does not end: {:#?}", world.state);
            world.answer(answers, How::Well);
        }
        world.check_end();
    }

    /// The same answers in any order of arrival, with crashes between them, end alike.
    #[test]
    fn a_migration_without_failures_completes_however_often_its_driver_dies(
        picks in prop::collection::vec((any::<usize>(), prop::bool::weighted(0.3)), 1..100),
        chase in any::<bool>(),
    ) {
        let mut world = World::new(chase, 1);
        world.tell(&Event::Start);
        let mut picks = picks.iter().cycle();
        let (mut steps, mut crashes) = (0, 0);
        while !world.state.is_final() {
            let (which, crash) = picks.next().copied().unwrap_or_default();
            // Work after the commit point is done again after each of them.
            if crash && crashes < 20 {
                crashes += 1;
                world.crash();
            }
            steps += 1;
            world.answer_work(which);
            prop_assert!(steps < 150);
        }
        prop_assert_eq!(world.state.phase(), Phase::Completed);
        prop_assert_eq!(MigrationReport::of(&world.state).map(|report| report.outcome), Some(Outcome::Completed));
        world.check_end();
    }

    /// The function is one: no clock, no randomness, no memory outside the state.
    #[test]
    fn equal_arguments_give_equal_results(ops in prop::collection::vec(op(), 0..40)) {
        let mut world = World::new(true, 0);
        world.tell(&Event::Start);
        for op in &ops {
            apply(&mut world, op);
            for event in [Event::Tick, Event::Resumed, Event::SourceGone, Event::Cancel { reason: "r".into() }] {
                prop_assert_eq!(step(&world.state, &event, world.now), step(&world.state, &event, world.now));
            }
        }
    }
}

#[test]
fn a_smooth_migration_asks_for_each_call_once_and_in_order() {
    let mut world = World::new(true, 2);
    world.tell(&Event::Start);
    let mut turns = 0;
    while !world.state.is_final() {
        turns += 1;
        world.answer(turns, How::Well);
    }
    let asked: Vec<Step> = world.asked.iter().copied().filter(|step| !step.is_poll()).collect();
    assert_eq!(
        asked,
        [
            Step::Prepare,
            Step::Begin,
            Step::AwaitReady,
            Step::PreDump(1),
            Step::Send(Part::Round(1)),
            Step::Stage(1),
            Step::PreDump(2),
            Step::Send(Part::Round(2)),
            Step::Stage(2),
            Step::Park,
            Step::Checkpoint,
            Step::Resume,
            Step::Send(Part::Final),
            Step::Restore,
            Step::HandOver,
            Step::Promote,
            Step::RetireSource,
            Step::RetireBroker,
            Step::DiscardTransfer,
            Step::DiscardCheckpoint,
        ]
    );
}

#[test]
fn each_of_two_calls_that_failed_before_the_source_was_found_dead_is_made_again() {
    let mut world = World::new(true, 0);
    world.tell(&Event::Start);
    for step in [Step::Prepare, Step::Begin, Step::Park, Step::Checkpoint, Step::Resume] {
        world.answer_to(step, How::Well);
    }
    world.answer_to(Step::AwaitReady, How::Fatal);
    world.answer_to(Step::Send(Part::Final), How::Fatal);
    world.source_lives = false;
    for step in [Step::WatchSource, Step::AwaitReady, Step::Send(Part::Final), Step::Restore] {
        world.answer_to(step, How::Well);
    }
    let mut turns = 0;
    while !world.state.is_final() {
        turns += 1;
        world.answer(turns, How::Well);
    }
    assert_eq!(world.state.phase(), Phase::Completed);
    world.check_end();
}
