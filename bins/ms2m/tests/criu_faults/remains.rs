//! Who lives, and what is left over.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ms2m_broker::link::Broker as _;
use ms2m_testkit_machine::{Leftovers, Snapshot};
use serde_json::Value;
use tokio::time::sleep;

use crate::stage::Stage;

/// How long something may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(3);
const WORK_DIR: &str = "/run/ms2m";

/// What was there before.
pub(crate) struct Before {
    all: Snapshot,
    containers: Vec<String>,
}

impl Before {
    pub(crate) fn take(runtime: &str) -> Self {
        Self { all: Snapshot::take(), containers: containers(runtime) }
    }
}

/// Whether the runtime says that it runs.
pub(crate) fn is_alive(runtime: &str, container: &str) -> bool {
    let output = Command::new(runtime).args(["state", container]).output().unwrap();
    let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    state["status"] == "running"
}

/// The owner counts, and beside it and its bundle nothing is there that was not there before.
pub(crate) async fn check(stage: &Stage, before: &Before) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let left = leftovers(stage, before);
        if left.is_empty() {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(left.to_string());
        }
        sleep(Duration::from_millis(20)).await;
    }
    counts(stage).await
}

async fn counts(stage: &Stage) -> Result<(), String> {
    if !is_alive(stage.setting.runtime, &stage.container) {
        return Err(format!("{} does not live", stage.container));
    }
    let (begun, first) = (Instant::now(), effects(stage).await);
    while effects(stage).await < first + 5 {
        if begun.elapsed() > PATIENCE * 5 {
            return Err(format!("{} lives, but nothing comes out of it", stage.container));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// How many there are, more or less.
async fn effects(stage: &Stage) -> u32 {
    let admin = stage.broker.connect("test-admin").await.unwrap();
    let status = admin.queue_status(&format!("{}.out", stage.queue)).await.unwrap().unwrap();
    admin.close().await;
    status.ready
}

fn leftovers(stage: &Stage, before: &Before) -> Leftovers {
    let (runtime, owner) = (stage.setting.runtime, stage.container.as_str());
    let mut left = before.all.compare();
    let bundle = format!("{WORK_DIR}/containers/{owner}");
    let below = |path: &str, place: &str| path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
    left.files.retain(|file| !below(file, &bundle) && !below(file, &format!("/run/{runtime}/{owner}")) && !below(file, WORK_DIR));
    left.mounts.retain(|mount| !below(mount, &bundle));
    left.cgroups.retain(|cgroup| !below(cgroup, &format!("/sys/fs/cgroup/{owner}")));
    left.processes.retain(|shown| !is_of(shown, owner));
    // What was there before counts as well where only the owner may have something.
    for place in ["migrations", "transfer", "states", "containers"] {
        let entries = fs::read_dir(format!("{WORK_DIR}/{place}")).into_iter().flatten().flatten().map(|entry| entry.path());
        left.files.extend(entries.map(|path| path.display().to_string()).filter(|path| *path != bundle));
    }
    let there = |name: &String| name == owner || !name.starts_with("counter") && before.containers.contains(name);
    left.files.extend(containers(runtime).into_iter().filter(|name| !there(name)).map(|name| format!("container {name} of {runtime}")));
    left
}

/// Whether a process, as leftovers show it, is in the owner's cgroup.
fn is_of(shown: &str, owner: &str) -> bool {
    let pid = shown.split(' ').next().unwrap_or_default();
    // One that has ended meanwhile is no leftover.
    fs::read_to_string(format!("/proc/{pid}/cgroup")).map_or(true, |text| text.lines().any(|line| line.ends_with(&format!("/{owner}"))))
}

fn containers(runtime: &str) -> Vec<String> {
    let output = Command::new(runtime).args(["list", "-q"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}
