//! A pod's checkpoint becomes an image, and containerd restores it on the other node: imported there, or pulled from a registry.

mod agent;
mod counter;

use std::process::{Command, Stdio};
use std::time::Instant;

use ms2m_testkit_cluster::{Cluster, Image, Node, Options, REGISTRY};
use ms2m_testkit_machine::workspace_program;
use serde_json::Value;

use crate::counter::{Counter, pod};

const MIB: u32 = 64;

/// It must succeed; what it says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `ms2m` in a node says.
fn ms2m(cluster: &Cluster, node: Node, words: &[&str]) -> Value {
    let said = said(cluster.node(node, env!("CARGO_BIN_EXE_ms2m")).args(words).args(["--output", "json"]));
    serde_json::from_str(&said).unwrap()
}

/// What kubelet writes of a container, as its node sees it.
fn checkpoint(cluster: &Cluster, node: Node, pod: &str) -> String {
    let path = format!("/api/v1/nodes/{node}/proxy/checkpoint/default/{pod}/main");
    let answer: Value = serde_json::from_str(&cluster.kubectl(&["create", "--raw", &path, "--filename", "/dev/null"]).unwrap()).unwrap();
    answer["items"][0].as_str().unwrap().to_owned()
}

/// A pod on the first node that has counted a little.
fn source(cluster: &Cluster) -> Counter<'_> {
    let program = workspace_program("ms2m-testkit-cluster", "ms2m-memory-counter").unwrap();
    let base = cluster.push("counter", &Image::of(program).arguments([MIB.to_string()])).unwrap();
    cluster.apply(&pod("source", Node::N1, &base, "IfNotPresent")).unwrap();
    let source = Counter::of(cluster, "source");
    source.is_at_least(5);
    source
}

#[test]
fn a_checkpoint_is_restored_on_the_other_node_from_an_imported_and_from_a_pulled_image() {
    let cluster = Cluster::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let source = source(&cluster);

    let begun = Instant::now();
    let archive = checkpoint(&cluster, Node::N1, "source");
    println!("checkpoint {:?}, {} bytes", begun.elapsed(), cluster.node_path(Node::N1, &archive).metadata().unwrap().len());
    let taken = source.now();

    // By hand, as a user of containerd would do it.
    let begun = Instant::now();
    let packed = ms2m(&cluster, Node::N1, &["pack", &archive, "--to", "oci:/var/lib/kubelet/images:moved"]);
    println!("ms2m pack {:?}: {}", begun.elapsed(), packed["layer"]["placed"]);
    let begun = Instant::now();
    let mut tar = cluster.node(Node::N1, "tar");
    let mut layout = tar.args(["--create", "--directory", "/var/lib/kubelet/images", "."]).stdout(Stdio::piped()).spawn().unwrap();
    let mut import = cluster.node(Node::N2, "ctr");
    import.args(["--namespace", "k8s.io", "images", "import", "--base-name", "localhost/checkpoint", "-"]);
    said(import.stdin(layout.stdout.take().unwrap()));
    assert!(layout.wait().unwrap().success());
    println!("ctr images import {:?}", begun.elapsed());
    restores(&cluster, "imported", "localhost/checkpoint:moved", "Never", &taken);

    let begun = Instant::now();
    let (repository, authority) = (format!("{REGISTRY}/checkpoints/source"), cluster.authority().display().to_string());
    let words = ["transfer", &archive, &repository, "main", "--migration", "m-1", "--unsealed", "--registry-authority", &authority];
    let sent = ms2m(&cluster, Node::N1, &words);
    println!("ms2m transfer {:?}: {}", begun.elapsed(), sent["location"]);
    let image = sent["location"].as_str().unwrap();
    assert!(image.starts_with(&format!("{repository}@sha256:")), "{image}");
    restores(&cluster, "pulled", image, "Always", &taken);
    source.goes_on();
}

/// A pod of this image goes on from what was taken, which was not after `taken`.
fn restores(cluster: &Cluster, name: &str, image: &str, policy: &str, taken: &counter::Line) {
    let begun = Instant::now();
    cluster.apply(&pod(name, Node::N2, image, policy)).unwrap();
    let copy = Counter::of(cluster, name);
    println!("{name}: restored in {:?}", begun.elapsed());
    copy.is_at_least(taken.count + 3);
    // containerd gives a restored container its old log, which the copy goes on writing.
    for line in copy.goes_on() {
        assert_eq!((&line.identity, &line.sum), (&taken.identity, &taken.sum), "the same process and the same memory");
    }
}
