//! What is there that belongs to a migration: files and processes on the nodes, queues at the broker.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ms2m_broker::link::{Broker as _, Connection};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_testkit_cluster::Node;
use tokio::time::sleep;

use crate::management;
use crate::stage::{Act, EFFECTS, LOOK, QUEUE};

const WITHIN: Duration = Duration::from_secs(60);
/// Where agents and runtimes keep what they need.
const DIRECTORIES: [&str; 2] = ["/var/lib/ms2m", "/run/ms2m"];

/// What belongs to the one copy that lives: its runtime's notes, until it moves on.
const OF_A_COPY: &str = "/run/ms2m/runtime";
/// An agent's note of each copy that its node was given.
const NOTES: &str = "/var/lib/ms2m/node/migrations";

/// What was there before the first migration.
pub(crate) struct Remains {
    before: BTreeSet<String>,
    admin: Arc<dyn Connection>,
}

impl Remains {
    pub(crate) async fn now(act: &Act<'_>) -> Self {
        let (url, management) = act.broker();
        let broker = RabbitMq::new(RabbitMqConfig::new(url).unwrap().with_management(management).unwrap()).unwrap();
        let admin = broker.connect("test-remains").await.unwrap();
        Self { before: found(act), admin }
    }

    /// Waits until there is nothing that was not there before.
    pub(crate) async fn nothing_else(&self, act: &Act<'_>, what: &str) {
        let begun = Instant::now();
        loop {
            let now = found(act);
            let left: Vec<_> = now.difference(&self.before).collect();
            if left.is_empty() {
                return;
            }
            assert!(begun.elapsed() < WITHIN, "{what}: left over: {left:#?}");
            sleep(LOOK * 4).await;
        }
    }

    pub(crate) async fn effects(&self) -> u32 {
        self.admin.queue_status(EFFECTS).await.unwrap().unwrap().ready
    }

    pub(crate) async fn consumers(&self) -> u32 {
        self.admin.queue_status(QUEUE).await.unwrap().unwrap().consumers
    }
}

fn found(act: &Act<'_>) -> BTreeSet<String> {
    let cluster = act.cluster();
    // Those of the consumers that live go with their connections.
    let own = |queue: &String| ["ms2m.connection.", "ms2m.control."].iter().any(|prefix| queue.starts_with(prefix));
    let queues = management::queues(act.broker().1).into_iter().filter(|queue| !own(queue));
    let mut found: BTreeSet<String> = queues.map(|queue| format!("queue {queue}")).collect();
    let mut copies = 0;
    for node in [Node::N1, Node::N2] {
        for directory in DIRECTORIES {
            let root = cluster.node_path(node, directory);
            files(&root, &mut |path| {
                let path = Path::new(directory).join(path.strip_prefix(&root).unwrap_or(path));
                let at = path.display();
                if path.starts_with(OF_A_COPY) {
                    copies += u32::from(path.parent() == Some(Path::new(OF_A_COPY)));
                    if copies > 1 {
                        found.insert(format!("{node}: {at}, and that of another copy"));
                    }
                } else if !is_a_note(&path) {
                    found.insert(format!("{node}: {at}"));
                }
            });
        }
        let processes = cluster.node(node, "pgrep").args(["--list-full", "^(criu|ms2m-runtime)$"]).output().unwrap();
        found.extend(String::from_utf8_lossy(&processes.stdout).lines().map(|process| format!("{node}: process {process}")));
    }
    found
}

fn files(directory: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        each(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), each);
        }
    }
}

fn is_a_note(path: &Path) -> bool {
    path.strip_prefix(NOTES)
        .is_ok_and(|below| below.components().skip(1).all(|part| ["copy", "pod.json"].iter().any(|name| part.as_os_str() == *name)))
}
