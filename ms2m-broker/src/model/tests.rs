//! The protocol holds, and every rule is needed.

use super::explore::{Found, explore};
use super::world::{Faults, Setup};
use crate::protocol::{Rule, Rules};

const STATES_MAX: usize = 3_000_000;

fn setup(quorum: bool, single_active: bool) -> Setup {
    Setup { quorum, single_active, window: 2, messages: 3, hold: false, faults: Faults::default(), rules: Rules::default() }
}

fn holds(name: &str, setup: &Setup) {
    match explore(setup, STATES_MAX) {
        Found::Nothing { states } => println!("{name}: {states} states"),
        Found::Violation { what, trace, states } => panic!("{name}: {what} after {states} states: {trace:?}"),
    }
}

fn breaks(rule: Rule, mut setup: Setup) {
    setup.rules = Rules::without(rule);
    match explore(&setup, STATES_MAX) {
        Found::Nothing { states } => {
            panic!("without {rule:?} nothing goes wrong in {states} states: the rule is not needed, or not tested")
        }
        Found::Violation { what, trace, states } => {
            println!("without {rule:?}: {what} after {states} states, {} steps: {trace:?}", trace.len())
        }
    }
}

#[test]
fn without_faults_all_interleavings_are_exact() {
    for quorum in [false, true] {
        for single_active in [false, true] {
            holds(&format!("quorum={quorum} sac={single_active}"), &setup(quorum, single_active));
        }
    }
}

#[test]
fn hold_is_exact() {
    for quorum in [false, true] {
        for single_active in [false, true] {
            let setup = Setup { hold: true, ..setup(quorum, single_active) };
            holds(&format!("hold quorum={quorum} sac={single_active}"), &setup);
        }
    }
}

fn with(faults: Faults) {
    for quorum in [false, true] {
        for single_active in [false, true] {
            let setup = Setup { faults, messages: 2, ..setup(quorum, single_active) };
            holds(&format!("{faults:?} quorum={quorum} sac={single_active}"), &setup);
        }
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
    breaks(Rule::JournalBeforeAck, Setup { faults: Faults { source_crash: 1, ..Faults::default() }, ..setup(false, true) });
}

#[test]
fn without_recognising_redeliveries_messages_are_doubled() {
    breaks(Rule::Dedupe, Setup { faults: Faults { source_disconnect: 1, ..Faults::default() }, ..setup(false, false) });
}

#[test]
fn a_window_one_too_small_doubles() {
    for window in [2, 3] {
        let faults = Faults { source_disconnect: 1, ..Faults::default() };
        breaks(Rule::FullWindow, Setup { faults, window, ..setup(false, false) });
    }
}

#[test]
fn going_live_before_the_verdict_loses() {
    breaks(Rule::LiveAfterVerdict, setup(false, true));
}

#[test]
fn cancelling_instead_of_closing_reorders() {
    breaks(Rule::CloseNotCancel, setup(true, true));
}

#[test]
fn ending_before_the_close_reorders_without_single_active_consumer() {
    breaks(Rule::EndAfterClose, setup(true, false));
}

#[test]
fn a_journal_that_begins_after_the_checkpoint_has_a_gap() {
    breaks(Rule::JournalBeforeCheckpoint, setup(false, false));
}

#[test]
fn without_the_fence_nobody_succeeds_a_crashed_source() {
    breaks(Rule::Fence, Setup { faults: Faults { source_crash: 1, ..Faults::default() }, ..setup(false, true) });
}

#[test]
fn taking_back_what_the_copy_has_taken_splits_the_brain() {
    breaks(Rule::TakenWins, Setup { faults: Faults { deadline: 1, ..Faults::default() }, ..setup(false, false) });
}

#[test]
fn acknowledging_before_the_verdict_splits_the_brain() {
    breaks(Rule::TakenBeforeAck, Setup { faults: Faults { deadline: 1, copy_disconnect: 1, ..Faults::default() }, ..setup(false, false) });
}

#[test]
fn returning_without_a_fence_reorders() {
    let faults = Faults { deadline: 1, ..Faults::default() };
    breaks(Rule::AloneBeforeReturn, Setup { faults, ..setup(true, false) });
}

#[test]
fn an_end_that_ignores_an_abort_splits_the_brain() {
    breaks(Rule::AbortBeforeEndWins, Setup { faults: Faults { abort: 1, ..Faults::default() }, ..setup(false, false) });
}

#[test]
fn a_checkpoint_between_apply_and_acknowledgement_is_still_exact() {
    // The image is taken at a safe point, but nothing in it says what is acknowledged: numbers protect it.
    let faults = Faults { source_disconnect: 1, ..Faults::default() };
    holds("unacknowledged at the checkpoint", &Setup { faults, messages: 2, hold: true, ..setup(false, false) });
}
