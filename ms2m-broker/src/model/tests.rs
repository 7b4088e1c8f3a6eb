//! The protocol holds, and every rule is needed.

use super::explore::{Found, explore, walk};
use super::world::{Faults, Setup};
use crate::link::QueueKind;
use crate::protocol::{Rule, Rules};

const STATES_MAX: usize = 3_000_000;
/// Of each kind in every test run.
const WALKS: u64 = 100;

const CLASSIC: QueueKind = QueueKind::Classic;
const QUORUM: QueueKind = QueueKind::Quorum;
const QUEUES: [(QueueKind, bool); 5] = [(CLASSIC, false), (CLASSIC, true), (QUORUM, false), (QUORUM, true), (QueueKind::Stream, false)];

fn setup(kind: QueueKind, single_active: bool) -> Setup {
    Setup { kind, single_active, window: 2, messages: 3, hold: false, faults: Faults::default(), rules: Rules::default() }
}

fn holds(name: &str, setup: &Setup) {
    match explore(setup, STATES_MAX) {
        Found::Nothing { states, moved } => {
            assert!(moved > 0, "{name}: nothing ever moved, so nothing was checked");
            println!("{name}: {states} states, {moved} ends with the copy as owner");
        }
        Found::Violation { what, trace, states } => panic!("{name}: {what} after {states} states: {trace:?}"),
    }
}

/// Random walks through worlds too large to visit whole, with several faults each.
#[test]
fn long_random_walks_with_many_faults_are_exact() {
    let faults = Faults { source_disconnect: 2, copy_disconnect: 2, abort: 0, deadline: 0, ..Faults::default() };
    let variants = [
        faults,
        Faults { source_crash: 1, ..faults },
        Faults { copy_crash: 1, ..faults },
        Faults { controller_crash: 1, ..faults },
        Faults { abort: 1, ..faults },
        Faults { deadline: 1, ..faults },
    ];
    for (kind, single_active) in QUEUES {
        for hold in [false, true] {
            for faults in variants {
                let setup = Setup { faults, hold, messages: 20, window: 4, ..setup(kind, single_active) };
                let end = |seed| walk(&setup, seed).unwrap_or_else(|(what, trace)| panic!("{setup:?} seed {seed}: {what}: {trace:?}"));
                let moved = (0..WALKS).filter(|seed| end(*seed)).count();
                assert!(moved > 0, "{setup:?}: nothing ever moved, so nothing was checked");
            }
        }
    }
}

fn breaks(rule: Rule, mut setup: Setup) {
    setup.rules = Rules::without(rule);
    match explore(&setup, STATES_MAX) {
        Found::Nothing { states, .. } => {
            panic!("without {rule:?} nothing goes wrong in {states} states: the rule is not needed, or not tested")
        }
        Found::Violation { what, trace, states } => {
            println!("without {rule:?}: {what} after {states} states, {} steps: {trace:?}", trace.len());
        }
    }
}

#[test]
fn without_faults_all_interleavings_are_exact() {
    for (kind, single_active) in QUEUES {
        holds(&format!("{kind:?} sac={single_active}"), &setup(kind, single_active));
    }
}

#[test]
fn hold_is_exact() {
    for (kind, single_active) in QUEUES {
        let setup = Setup { hold: true, ..setup(kind, single_active) };
        holds(&format!("hold {kind:?} sac={single_active}"), &setup);
    }
}

fn with(faults: Faults) {
    for (kind, single_active) in QUEUES {
        let setup = Setup { faults, messages: 2, ..setup(kind, single_active) };
        holds(&format!("{faults:?} {kind:?} sac={single_active}"), &setup);
    }
}

#[test]
fn an_abort_at_any_time_is_exact() {
    with(Faults { abort: 1, ..Faults::default() });
}

#[test]
fn a_deadline_at_any_time_is_exact() {
    with(Faults { deadline: 1, ..Faults::default() });
}

#[test]
fn a_crashed_source_is_succeeded_exactly() {
    with(Faults { source_crash: 1, ..Faults::default() });
}

#[test]
fn a_crashed_copy_leaves_the_source_exact() {
    with(Faults { copy_crash: 1, ..Faults::default() });
}

#[test]
fn a_crashed_controller_leaves_everything_exact() {
    with(Faults { controller_crash: 1, ..Faults::default() });
}

#[test]
fn a_lost_connection_of_the_source_is_exact() {
    with(Faults { source_disconnect: 1, ..Faults::default() });
}

#[test]
fn a_lost_connection_of_the_copy_is_exact() {
    with(Faults { copy_disconnect: 1, ..Faults::default() });
}

#[test]
fn acknowledging_before_the_journal_loses_after_a_crash() {
    breaks(Rule::JournalBeforeAck, Setup { faults: Faults { source_crash: 1, ..Faults::default() }, ..setup(CLASSIC, true) });
}

#[test]
fn without_recognising_redeliveries_messages_are_doubled() {
    breaks(Rule::Dedupe, Setup { faults: Faults { source_disconnect: 1, ..Faults::default() }, ..setup(CLASSIC, false) });
}

#[test]
fn a_window_one_too_small_doubles() {
    for window in [2, 3] {
        let faults = Faults { source_disconnect: 1, ..Faults::default() };
        breaks(Rule::FullWindow, Setup { faults, window, ..setup(CLASSIC, false) });
    }
}

#[test]
fn going_live_before_the_verdict_loses() {
    breaks(Rule::LiveAfterVerdict, setup(CLASSIC, true));
}

#[test]
fn cancelling_instead_of_closing_reorders() {
    breaks(Rule::CloseNotCancel, setup(QUORUM, true));
}

#[test]
fn coming_at_end_before_the_close_reorders_without_single_active_consumer() {
    breaks(Rule::QueueAfterLeave, setup(QUORUM, false));
}

#[test]
fn a_journal_that_begins_after_the_checkpoint_has_a_gap() {
    breaks(Rule::JournalBeforeCheckpoint, setup(CLASSIC, false));
}

#[test]
fn without_the_fence_nobody_succeeds_a_crashed_source() {
    breaks(Rule::Fence, Setup { faults: Faults { source_crash: 1, ..Faults::default() }, ..setup(CLASSIC, true) });
}

#[test]
fn taking_back_what_the_copy_has_taken_splits_the_brain() {
    breaks(Rule::TakenWins, Setup { faults: Faults { deadline: 1, ..Faults::default() }, ..setup(CLASSIC, false) });
}

#[test]
fn acknowledging_before_the_verdict_splits_the_brain() {
    breaks(
        Rule::TakenBeforeAck,
        Setup { faults: Faults { deadline: 1, copy_disconnect: 1, ..Faults::default() }, ..setup(CLASSIC, false) },
    );
}

#[test]
fn returning_without_a_fence_reorders() {
    let faults = Faults { deadline: 1, ..Faults::default() };
    breaks(Rule::AloneOnQueue, Setup { faults, ..setup(QUORUM, false) });
}

#[test]
fn an_end_that_ignores_an_abort_splits_the_brain() {
    // Parked, so that END carries messages which the source will apply as well.
    breaks(Rule::AbortBeforeEndWins, Setup { faults: Faults { abort: 1, ..Faults::default() }, hold: true, ..setup(CLASSIC, false) });
}

#[test]
fn a_checkpoint_between_apply_and_acknowledgement_is_still_exact() {
    // The image is taken at a safe point, but nothing in it says what is acknowledged: numbers protect it.
    let faults = Faults { source_disconnect: 1, ..Faults::default() };
    holds("unacknowledged at the checkpoint", &Setup { faults, messages: 2, hold: true, ..setup(CLASSIC, false) });
}
