//! Who does not answer for some time, and who goes for good.

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use ms2m_core::Phase;
use ms2m_k8s::api::StatefulMigration;
use ms2m_testkit_cluster::REGISTRY;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::case::Owner::{Copy, Source};
use crate::case::{Move, Play};
use crate::operator::node;
use crate::stage::Act;

const PHASES: [(Phase, u64); 3] = [(Phase::Pending, 500), (Phase::Transferring, 300), (Phase::Finalizing, 300)];
/// Longer than a migration takes, and shorter than anybody is given up for.
const AWAY: Duration = Duration::from_secs(4);

pub(crate) async fn cases(play: &Play<'_>) {
    for (phase, ms) in PHASES {
        away(play, "the API server", (phase, ms), async |_, away| {
            play.act.api_server(if away { "-STOP" } else { "-CONT" });
        })
        .await;
        away(play, "the broker", (phase, ms), async |_, away| {
            let broker = play.act.cluster().rabbitmq().unwrap();
            if away { broker.suspend().unwrap() } else { broker.resume().unwrap() }
        })
        .await;
        away(play, "the target, cut off from everybody", (phase, ms), async |moves, away| moves.link(moves.to, !away)).await;
    }
    lost(play).await;
    let registry = json!({
        "transferMode": "Registry", "checkpointImageRepository": format!("{}/checkpoints", REGISTRY.replace("5000", "5001")),
        "timeouts": {"transferringSeconds": 10, "rollingBackSeconds": 30},
    });
    play.case(
        "there is no registry for the checkpoint",
        registry,
        &[Source],
        &["waiting for: send", "left behind: the transferred checkpoint"],
        async |moves| {
            moves.begin().await;
        },
    )
    .await;
    play.case(
        "the copy is killed as soon as there is a process of it, as if it had too little memory",
        json!({}),
        &[Source],
        &[],
        async |moves| {
            let mut killer = moves.kill_first();
            moves.begin().await;
            moves.ended().await;
            assert!(killer.wait().unwrap().success(), "no copy has lived");
        },
    )
    .await;
}

/// For longer than anybody waits.
async fn lost(play: &Play<'_>) {
    let soon = json!({"timeouts": {"restoringSeconds": 6, "rollingBackSeconds": 4}});
    let what =
        "the target, cut off while Restoring until the migration has been rolled back; what is left there is removed when it comes again";
    play.case(what, soon, &[Source, Copy], &[], async |moves| {
        moves.begin().await;
        moves.comes_to(Phase::Restoring, Duration::from_millis(100)).await;
        moves.link(moves.to, false);
        // Where the copy owns the queue already it is waited for.
        let ended = timeout(Duration::from_secs(25), moves.ended()).await;
        moves.link(moves.to, true);
        if let Ok(Some(ended)) = ended
            && ended.status.is_some_and(|status| status.phase == Some(Phase::Failed))
        {
            assert!(moves.until_left_behind("Unreachable").await.message.contains("the copy"));
            moves.until_left_behind("Removed").await;
        }
    })
    .await;
    let what = "the source's node is lost while Restoring: cut off, and its pod deleted by force; when it comes back its kubelet \
                does not hear of that for 10 s";
    play.case(what, json!({}), &[Copy], &[], async |moves| {
        moves.begin().await;
        moves.comes_to(Phase::Restoring, Duration::from_millis(100)).await;
        moves.link(moves.from, false);
        play.act.kubectl(&["delete", "pod", &moves.pod, "--grace-period=0", "--force"]);
        moves.ended().await;
        play.act.api_server("-STOP");
        moves.link(moves.from, true);
        // A consumer that learns that it does not own the queue any more ends, and kubelet starts its container again.
        sleep(Duration::from_secs(10)).await;
        play.act.api_server("-CONT");
    })
    .await;
}

async fn away(play: &Play<'_>, who: &str, (phase, ms): (Phase, u64), switch: impl AsyncFn(&Move<'_>, bool)) {
    let what = format!("{who}, for {} s while {phase}", AWAY.as_secs());
    play.case_in(&what, (phase, ms), &[Source, Copy], async |moves| {
        switch(moves, true).await;
        sleep(AWAY).await;
        switch(moves, false).await;
    })
    .await;
}

impl Act<'_> {
    fn api_server(&self, signal: &str) {
        let mut kill = self.cluster().command("pkill");
        assert!(kill.args([signal, "-x", "kube-apiserver"]).status().unwrap().success());
    }
}

impl Move<'_> {
    /// Until the condition has this reason.
    async fn until_left_behind(&self, reason: &str) -> Condition {
        let of = |resource: &StatefulMigration| {
            let conditions = resource.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().find(|condition| condition.type_ == "LeftBehind" && condition.reason == reason).cloned()
        };
        let found = self.until_of(&self.name, reason, |resource| resource.is_some_and(|resource| of(resource).is_some())).await;
        of(&found.unwrap()).unwrap()
    }

    /// A node's link to all others.
    fn link(&self, name: &str, up: bool) {
        let mut link = self.play.act.cluster().command("ip");
        assert!(link.args(["link", "set", name, if up { "up" } else { "down" }]).status().unwrap().success());
    }

    /// Kills the first consumer that comes to live on the target.
    fn kill_first(&self) -> std::process::Child {
        let mut shell = self.play.act.cluster().node(node(self.to).unwrap(), "sh");
        shell.args(["-c", "timeout 30 sh -c 'until pkill -KILL -x counter; do sleep 0.005; done'"]);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}
