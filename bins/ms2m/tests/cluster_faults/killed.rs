//! The controller and the agents, killed.

use std::time::Duration;

use ms2m_core::Phase;
use serde_json::json;

use crate::case::Owner::{Copy, Source};
use crate::case::{Move, Play};
use crate::operator::CONTROLLER;

/// About as long as each phase takes.
const PHASES: [(Phase, u64); 6] = [
    (Phase::Pending, 500),
    (Phase::Checkpointing, 200),
    (Phase::Transferring, 300),
    (Phase::Restoring, 250),
    (Phase::Replaying, 100),
    // Before and after the queue has changed hands.
    (Phase::Finalizing, 800),
];

pub(crate) async fn cases(play: &Play<'_>) {
    for (phase, ms) in PHASES {
        kill(play, "the controller", |_| CONTROLLER, (phase, ms)).await;
    }
    let what = "the controller, right after Completed";
    play.case(what, json!({}), &[Copy], &[], async |moves| {
        moves.begin().await;
        moves.comes_to(Phase::Completed, Duration::from_millis(20)).await;
        moves.kill(CONTROLLER);
    })
    .await;
    for (phase, ms) in PHASES {
        kill(play, "the agent of the source", |moves| moves.from, (phase, ms)).await;
        kill(play, "the agent of the copy", |moves| moves.to, (phase, ms)).await;
    }
    play.case("all three at once, while Restoring", json!({}), &[Source, Copy], &[], async |moves| {
        moves.begin().await;
        moves.comes_to(Phase::Restoring, Duration::from_millis(250)).await;
        for name in [CONTROLLER, moves.from, moves.to] {
            moves.kill(name);
        }
    })
    .await;
}

async fn kill(play: &Play<'_>, whom: &str, name: fn(&Move<'_>) -> &'static str, (phase, ms): (Phase, u64)) {
    let what = format!("{whom}, while {phase}");
    play.case(&what, json!({}), &[Source, Copy], &[], async |moves| {
        moves.begin().await;
        moves.comes_to(phase, Duration::from_millis(ms)).await;
        moves.kill(name(moves));
    })
    .await;
}

impl Move<'_> {
    /// It comes again at once.
    pub(crate) fn kill(&self, name: &'static str) {
        self.stop(name);
        self.launch(name, &[]);
    }

    pub(crate) fn stop(&self, name: &'static str) {
        let act = self.play.act;
        act.operator().kill(act.cluster(), name);
    }

    pub(crate) fn launch(&self, name: &'static str, options: &[&str]) {
        let act = self.play.act;
        act.operator().launch(act.cluster(), name, options);
    }
}
