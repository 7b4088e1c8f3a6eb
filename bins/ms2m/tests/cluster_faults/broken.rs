//! What cannot be reached, and what does not work.

use serde_json::{Value, json};

use crate::case::Owner::Source;
use crate::case::{Move, Play};
use crate::operator::node;

/// For what shall not be waited for as long as in earnest.
fn soon() -> Value {
    json!({"timeouts": {"pendingSeconds": 8, "transferringSeconds": 10, "restoringSeconds": 10, "rollingBackSeconds": 30}})
}

pub(crate) async fn cases(play: &Play<'_>) {
    for (what, at) in [("the agent of the source does not run", false), ("no agent runs on the target", true)] {
        play.case(what, soon(), &[Source], &["the agent cannot be reached; does it run there"], async |moves| {
            let name = if at { moves.to } else { moves.from };
            moves.stop(name);
            moves.begin().await;
            moves.ended().await;
            moves.launch(name, &[]);
        })
        .await;
    }
    let says = ["use programs of the same release on all nodes"];
    for (what, at) in [
        ("the agent of the source is so old that it takes checkpoints and knows no controllers", false),
        ("the agent of the target is so old that it takes checkpoints and knows no controllers", true),
    ] {
        play.case(what, soon(), &[Source], &says, async |moves| {
            let name = if at { moves.to } else { moves.from };
            moves.stop(name);
            moves.launch(name, &["--allow", "n1,n2"]);
            moves.begin().await;
            moves.ended().await;
            moves.kill(name);
        })
        .await;
    }
    let says = ["container counter of the copy cannot be made", "counter@sha256", "not found"];
    play.case("the application's image is gone, from the target and from the registry", soon(), &[Source], &says, async |moves| {
        let images = play.act.cluster().registry().data().join("docker/registry/v2/repositories");
        let (there, away) = (images.join("counter"), images.join("counter.away"));
        std::fs::rename(&there, &away).unwrap();
        moves.on(moves.to, "ctr --namespace k8s.io images list --quiet | grep /counter | xargs --no-run-if-empty ctr --namespace k8s.io images remove --sync");
        moves.begin().await;
        moves.ended().await;
        std::fs::rename(&away, &there).unwrap();
    })
    .await;
    let says = ["the target's disk has no room for the checkpoint; make room there, or move to another node"];
    play.case("the target's disk has no room", soon(), &[Source], &says, async |moves| {
        moves.stop(moves.to);
        moves.launch(moves.to, &["--free-bytes-min", "1152921504606846976"]);
        moves.begin().await;
        moves.ended().await;
        moves.kill(moves.to);
    })
    .await;
    for (what, at) in [("CRIU does not work on the source's node", false), ("CRIU does not work on the target", true)] {
        play.case(what, soon(), &[Source], &[], async |moves| {
            let name = if at { moves.to } else { moves.from };
            moves.on(
                name,
                "mv \"$(command -v criu)\" /usr/criu.away && printf '#!/bin/sh\\nexit 1\\n' >/usr/sbin/criu && chmod +x /usr/sbin/criu",
            );
            moves.begin().await;
            moves.ended().await;
            moves.on(name, "mv /usr/criu.away /usr/sbin/criu");
        })
        .await;
    }
    play.case("the target takes no pods", soon(), &[Source], &[], async |moves| {
        play.act.cluster().kubectl(&["cordon", moves.to]).unwrap();
        moves.begin().await;
        moves.ended().await;
        play.act.cluster().kubectl(&["uncordon", moves.to]).unwrap();
    })
    .await;
}

impl Move<'_> {
    /// Runs a piece of shell on a node.
    fn on(&self, name: &str, script: &str) {
        let mut shell = self.play.act.cluster().node(node(name).unwrap(), "sh");
        assert!(shell.args(["-c", script]).status().unwrap().success(), "{script}");
    }
}
