//! The controller and the agents, killed.

use ms2m_core::Phase;

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
    play.case_in(what, (Phase::Completed, 20), &[Copy], async |moves| moves.kill(CONTROLLER)).await;
    for (phase, ms) in PHASES {
        kill(play, "the agent of the source", |moves| moves.from, (phase, ms)).await;
        kill(play, "the agent of the copy", |moves| moves.to, (phase, ms)).await;
    }
    play.case_in("all three at once, while Restoring", (Phase::Restoring, 250), &[Source, Copy], async |moves| {
        for name in [CONTROLLER, moves.from, moves.to] {
            moves.kill(name);
        }
    })
    .await;
}

async fn kill(play: &Play<'_>, whom: &str, name: fn(&Move<'_>) -> &'static str, (phase, ms): (Phase, u64)) {
    let what = format!("{whom}, while {phase}");
    play.case_in(&what, (phase, ms), &[Source, Copy], async |moves| moves.kill(name(moves))).await;
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
