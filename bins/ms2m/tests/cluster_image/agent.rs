//! The other node's agent takes the checkpoint and loads it into its containerd.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_core::{Digest, MigrationId};
use ms2m_image_store::image_name;
use ms2m_testkit::certificates::Authority;
use ms2m_testkit_cluster::{Cluster, Node, Options};
use ms2m_testkit_machine::workspace_program;

use crate::{checkpoint, ms2m, restores, said, source};

const AGENT: &str = "https://10.77.0.12:9443";

/// On the second node; its credentials, and those of its client.
fn agent(cluster: &Cluster) -> (Child, [String; 4]) {
    let authority = Authority::new().unwrap();
    for node in ["n1", "n2"] {
        authority.issue(cluster.path(cluster.shared().join(node)), node).unwrap();
    }
    let own = cluster.shared().join("n2");
    let mut agent = cluster.node(Node::N2, workspace_program("ms2m-agent", "ms2m-agent").unwrap());
    for (option, file) in [("--certificate", "tls.crt"), ("--key", "tls.key"), ("--authority", "ca.crt")] {
        agent.arg(option).arg(own.join(file));
    }
    agent.args(["--allow", "n1", "--image-store", "containerd", "--free-bytes-min", "0"]);
    let client = cluster.shared().join("n1").display().to_string();
    let who = ["--node", "n2", "--credentials", &client].map(str::to_owned);
    (agent.stdin(Stdio::null()).spawn().unwrap(), who)
}

#[test]
fn a_checkpoint_that_an_agent_has_taken_is_restored_from_containerds_store() {
    let cluster = Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let (mut agent, who) = agent(&cluster);
    let asked = |words: &[&str]| ms2m(&cluster, Node::N1, &[words, &who.each_ref().map(String::as_str)].concat());
    let source = source(&cluster);
    assert_eq!(asked(&["agent", "status", AGENT])["ready"], true);
    let archive = checkpoint(&cluster, Node::N1, "source");
    let taken = source.now();

    let begun = Instant::now();
    let sent = asked(&["transfer", &archive, AGENT, "--migration", "orders-7"]);
    println!("ms2m transfer to the agent, and into containerd's store {:?}", begun.elapsed());
    let digest: Digest = sent["digest"].as_str().unwrap().parse().unwrap();
    let image = image_name(&MigrationId::new("orders-7").unwrap(), digest);
    restores(&cluster, "loaded", &image, "Never", &taken);

    let images = || said(cluster.node(Node::N2, "ctr").args(["--namespace", "k8s.io", "images", "list", "--quiet"]));
    assert!(images().lines().any(|name| name == image), "{}", images());
    cluster.kubectl(&["delete", "pod", "loaded", "--wait=true"]).unwrap();
    asked(&["agent", "discard", AGENT, "orders-7"]);
    assert_eq!(asked(&["agent", "list", AGENT]), serde_json::json!([]));
    // containerd's CRI has names of its own for it, which it takes back when it sees that ours has gone.
    let begun = Instant::now();
    while images().contains("ms2m/checkpoint") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", images());
        sleep(Duration::from_millis(100));
    }
    let _ = agent.kill();
    let _ = agent.wait();
}
