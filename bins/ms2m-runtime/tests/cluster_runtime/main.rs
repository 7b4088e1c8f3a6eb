//! A pod's checkpoint is restored into another pod's container on another node: what kubelet sees of it, and what becomes of a copy that
//! crashes, is deleted while it waits, or cannot be restored.

mod inside;
mod stage;

use std::time::{Duration, Instant};

use ms2m_testkit_cluster::{Cluster, Image, Node, Options};
use ms2m_testkit_machine::workspace_program;

use crate::stage::Stage;

const MIB: u32 = 64;

/// Not a test: this program again, in a node.
#[test]
fn in_a_node() {
    inside::run();
}

#[test]
fn a_pod_goes_on_on_another_node() {
    let cluster = Cluster::start(&Options::default().runtime(env!("CARGO_BIN_EXE_ms2m-runtime"))).unwrap_or_else(|error| panic!("{error}"));
    let program = workspace_program("ms2m-testkit-cluster", "ms2m-memory-counter").unwrap();
    let image = cluster.push("counter", &Image::of(program).arguments([MIB.to_string()])).unwrap();
    let stage = Stage { cluster: &cluster, image: &image };
    stage.pod("source", Node::N1, None);
    stage.ready("source");
    for (run, round) in [(1, false), (2, true), (3, true)] {
        moves(&stage, run, round);
    }
    crash(&stage);
    deleted_while_it_waits(&stage, "deleted", false);
    deleted_while_it_waits(&stage, "launched", true);
    killed_while_it_waits(&stage);
    cannot_be_restored(&stage);
    stage.goes_on("source");
}

fn moves(stage: &Stage<'_>, run: u32, round: bool) {
    let (migration, copy) = (format!("m-{run}"), format!("copy-{run}"));
    stage.pod(&copy, Node::N2, Some(&migration));
    let mut agent = stage.target(&migration, &copy);
    agent.says("prepared");
    if round {
        stage.launches(&mut agent, &migration);
    }
    // Somebody dies while the runtime waits: the agent, or what has been launched.
    if run == 3 {
        stage.node("pkill -KILL -x runc");
    } else {
        agent.kill(stage);
        agent = stage.target(&migration, &copy);
        agent.says("prepared");
    }
    let begun = Instant::now();
    stage.take(&migration, false);
    let taken = stage.now("source");
    agent.says("restored");
    stage.ready(&copy);
    println!("run {run}: from the dump's begin to Ready as kubectl sees it {:?}", begun.elapsed());
    agent.ends();
    stage.is_at_least(&copy, taken.count + 3);
    for line in stage.goes_on(&copy) {
        assert_eq!((&line.identity, &line.sum), (&taken.identity, &taken.sum), "the same process and the same memory");
    }
    let exec = stage.cluster.kubectl(&["exec", &copy, "--", "/ms2m-memory-counter"]).unwrap_err().to_string();
    assert!(exec.contains("usage: ms2m-memory-counter"), "{exec}");
    if run < 3 {
        stage.delete(&copy);
        stage.nothing_is_left();
    }
}

/// The application's own image starts again.
fn crash(stage: &Stage<'_>) {
    let before = stage.now("copy-3");
    stage.node("pkill -KILL ms2m-memory-cou");
    let begun = Instant::now();
    while stage.status("copy-3", "{.status.containerStatuses[0].restartCount}") != "1" || stage.lines("copy-3").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the copy was not started again");
    }
    let after = stage.goes_on("copy-3");
    assert_ne!(after[0].identity, before.identity);
    assert_eq!(after[0].count, 1);
    stage.delete("copy-3");
    stage.nothing_is_left();
}

fn deleted_while_it_waits(stage: &Stage<'_>, pod: &str, round: bool) {
    let migration = format!("m-{pod}");
    stage.pod(pod, Node::N2, Some(&migration));
    let mut agent = stage.target(&migration, pod);
    agent.says("prepared");
    if round {
        stage.launches(&mut agent, &migration);
    }
    let begun = Instant::now();
    agent.kill(stage);
    stage.target(&migration, pod).discards();
    stage.delete(pod);
    println!("deleted while it waited, after a round {round}: {:?}", begun.elapsed());
    stage.nothing_is_left();
}

/// What it has started ends by itself.
fn killed_while_it_waits(stage: &Stage<'_>) {
    stage.pod("killed", Node::N2, Some("m-killed"));
    let mut agent = stage.target("m-killed", "killed");
    agent.says("prepared");
    stage.launches(&mut agent, "m-killed");
    stage.node("pkill -KILL ms2m-runtime");
    let begun = Instant::now();
    while !stage.node("pgrep -x criu").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30), "what the runtime has started goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.kill(stage);
    stage.target("m-killed", "killed").discards();
    stage.delete("killed");
    stage.nothing_is_left();
}

fn cannot_be_restored(stage: &Stage<'_>) {
    stage.pod("broken", Node::N2, Some("m-broken"));
    let mut agent = stage.target("m-broken", "broken");
    agent.says("prepared");
    stage.take("m-broken", true);
    agent.says("failed");
    agent.ends();
    let begun = Instant::now();
    loop {
        let events = stage.cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=broken"]).unwrap();
        if let Some(event) = events.lines().find(|event| event.contains("could not restore")) {
            println!("the pod's event: {event}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{events}");
    }
    stage.delete("broken");
    stage.nothing_is_left();
}
