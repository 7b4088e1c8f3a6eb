//! Pods that count in their memory, and this program in the nodes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_cluster::{Cluster, Node};
use serde_json::json;

use crate::inside;

const PATIENCE: Duration = Duration::from_secs(60);

/// A line of a counter.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Who it is since it was started.
    pub(crate) identity: String,
    pub(crate) count: u64,
    /// Of its memory.
    pub(crate) sum: String,
}

pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) image: &'a str,
}

impl Stage<'_> {
    pub(crate) fn pod(&self, name: &str, node: Node, migration: Option<&str>) {
        let annotations = migration.map(|migration| json!({ "migration.ms2m.io/restore-from": migration }));
        let container = json!({ "name": "main", "image": self.image });
        let spec = json!({ "nodeName": node.to_string(), "terminationGracePeriodSeconds": 0, "containers": [container] });
        let metadata = json!({ "name": name, "annotations": annotations });
        self.cluster.apply(&json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }).to_string()).unwrap();
    }

    pub(crate) fn ready(&self, pod: &str) {
        self.cluster.kubectl(&["wait", "--timeout=60s", "--for=condition=Ready", &format!("pod/{pod}")]).unwrap();
    }

    pub(crate) fn status(&self, pod: &str, path: &str) -> String {
        self.cluster.kubectl(&["get", "pod", pod, "--output", &format!("jsonpath={path}")]).unwrap()
    }

    pub(crate) fn delete(&self, pod: &str) {
        self.cluster.kubectl(&["delete", "pod", pod, "--timeout=60s"]).unwrap();
    }

    pub(crate) fn lines(&self, pod: &str) -> Vec<Line> {
        // There is none while it is just being started.
        let log = self.cluster.kubectl(&["logs", pod]).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Line { identity: words.next()?, count: words.next()?.parse().ok()?, sum: words.next()? })
        };
        log.lines().filter_map(line).collect()
    }

    fn wait(&self, pod: &str, for_what: impl Fn(&[Line]) -> bool) -> Vec<Line> {
        let begun = Instant::now();
        loop {
            let lines = self.lines(pod);
            if for_what(&lines) {
                return lines;
            }
            assert!(begun.elapsed() < PATIENCE, "{pod} says no more than {lines:?}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Its last line.
    pub(crate) fn now(&self, pod: &str) -> Line {
        self.wait(pod, |lines| !lines.is_empty()).pop().unwrap()
    }

    pub(crate) fn is_at_least(&self, pod: &str, count: u64) {
        self.wait(pod, |lines| lines.last().is_some_and(|line| line.count >= count));
    }

    /// It counts, one by one, as all its lines show.
    pub(crate) fn goes_on(&self, pod: &str) -> Vec<Line> {
        let now = self.now(pod);
        let lines = self.wait(pod, |lines| lines.last().is_some_and(|line| line.count >= now.count + 3));
        for pair in lines.windows(2) {
            assert_eq!((pair[1].count, &pair[1].sum), (pair[0].count + 1, &pair[0].sum), "{pod} has missed something");
        }
        lines
    }

    /// What a shell in the second node says.
    pub(crate) fn node(&self, script: &str) -> String {
        let output = self.cluster.node(Node::N2, "sh").args(["-c", script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The second node has no file, mount or cgroup of a copy any more, and nobody restores one. A runtime may still wait, for its limit.
    pub(crate) fn nothing_is_left(&self) {
        let look = "ls /run/ms2m/runtime 2>/dev/null; ls /var/lib/ms2m-test/migrations 2>/dev/null; grep /run/ms2m /proc/self/mountinfo; \
                    pgrep -x criu; find /sys/fs/cgroup -name '*.restore'; \
                    find /var/lib/kubelet/pods -name 'ms2m-restored-*'";
        let begun = Instant::now();
        loop {
            let left = self.node(look);
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "left: {left}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Takes a round of the source and sends it; then the runtime has started what it takes for its CRIU, which waits.
    pub(crate) fn launches(&self, agent: &mut Agent, migration: &str) {
        self.source("round", migration);
        agent.says("staged");
        let begun = Instant::now();
        while self.node("pgrep -x criu").is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the runtime has not gone ahead");
            sleep(Duration::from_millis(20));
        }
    }

    fn inside(&self, node: Node, role: &str, migration: &str) -> Command {
        let mut command = self.cluster.node(node, std::env::current_exe().unwrap());
        command.args(["in_a_node", "--exact", "--nocapture"]).env(inside::ROLE, role).env(inside::MIGRATION, migration);
        command.env(inside::SHARED, self.cluster.shared()).stdin(Stdio::null());
        command
    }

    /// Takes the source's checkpoint and sends it.
    pub(crate) fn take(&self, migration: &str, broken: bool) {
        self.source(if broken { "broken-source" } else { "source" }, migration);
    }

    fn source(&self, role: &str, migration: &str) {
        let id = self.status("source", "{.status.containerStatuses[0].containerID}");
        let mut command = self.inside(Node::N1, role, migration);
        let status = command.env(inside::CONTAINER, id.trim_start_matches("containerd://")).status().unwrap();
        assert!(status.success());
    }

    /// Makes the copy as soon as its checkpoint is there.
    pub(crate) fn target(&self, migration: &str, pod: &str) -> Agent {
        let uid = self.status(pod, "{.metadata.uid}");
        let mut command = self.inside(Node::N2, "target", migration);
        let mut child = command.env(inside::POD, uid).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Agent { child, stdout, end: self.cluster.path(self.cluster.shared()).join(format!("{migration}.discard")) }
    }
}

pub(crate) struct Agent {
    child: Child,
    stdout: BufReader<ChildStdout>,
    end: std::path::PathBuf,
}

impl Agent {
    pub(crate) fn says(&mut self, word: &str) {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if line.contains(word) {
                println!("{}", line.trim());
                return;
            }
            assert!(!line.contains("failed"), "{line}");
            line.clear();
        }
        panic!("the agent ended without `{word}`");
    }

    /// As if by the kernel. Killing the child alone would end how the node was entered.
    pub(crate) fn kill(&mut self, stage: &Stage<'_>) {
        stage.node("pkill -KILL cluster_runtime");
        self.child.wait().unwrap();
    }

    pub(crate) fn discards(mut self) {
        self.says("prepared");
        std::fs::write(&self.end, "").unwrap();
        self.says("discarded");
        self.ends();
    }

    pub(crate) fn ends(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}
