//! A pod that counts in its memory, and what it says.

use std::thread::sleep;
use std::time::{Duration, Instant};

use ms2m_testkit_cluster::{Cluster, Node};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// A pod's manifest.
pub(crate) fn pod(name: &str, node: Node, image: &str, policy: &str) -> String {
    let container = json!({ "name": "main", "image": image, "imagePullPolicy": policy });
    let spec = json!({ "nodeName": node.to_string(), "terminationGracePeriodSeconds": 0, "containers": [container] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec }).to_string()
}

/// A line of it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Who it is since it was started.
    pub(crate) identity: String,
    pub(crate) count: u64,
    /// Of its memory.
    pub(crate) sum: String,
}

pub(crate) struct Counter<'a> {
    cluster: &'a Cluster,
    pod: &'a str,
}

impl<'a> Counter<'a> {
    /// Of this pod, which must become ready.
    pub(crate) fn of(cluster: &'a Cluster, pod: &'a str) -> Self {
        cluster.kubectl(&["wait", "--timeout=60s", "--for=condition=Ready", &format!("pod/{pod}")]).unwrap();
        Self { cluster, pod }
    }

    fn lines(&self) -> Vec<Line> {
        let log = self.cluster.kubectl(&["logs", self.pod]).unwrap();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Line { identity: words.next()?, count: words.next()?.parse().ok()?, sum: words.next()? })
        };
        log.lines().filter_map(line).collect()
    }

    fn wait(&self, for_what: impl Fn(&[Line]) -> bool) -> Vec<Line> {
        let begun = Instant::now();
        loop {
            let lines = self.lines();
            if for_what(&lines) {
                return lines;
            }
            assert!(begun.elapsed() < PATIENCE, "{} says no more than {lines:?}", self.pod);
            sleep(Duration::from_millis(100));
        }
    }

    /// Its last line.
    pub(crate) fn now(&self) -> Line {
        self.wait(|lines| !lines.is_empty()).pop().unwrap()
    }

    /// Waits until it has come so far.
    pub(crate) fn is_at_least(&self, count: u64) {
        self.wait(|lines| lines.last().is_some_and(|line| line.count >= count));
    }

    /// It counts, one by one, as all its lines show.
    pub(crate) fn goes_on(&self) -> Vec<Line> {
        let now = self.now();
        let lines = self.wait(|lines| lines.last().is_some_and(|line| line.count >= now.count + 3));
        for pair in lines.windows(2) {
            assert_eq!((pair[1].count, &pair[1].sum), (pair[0].count + 1, &pair[0].sum), "{} has missed something", self.pod);
        }
        lines
    }
}
