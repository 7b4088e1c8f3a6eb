//! A process and everything that it has started.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::id::{ProcessId, Stat};

/// A tree that starts processes faster than they can be stopped is not waited for.
const ROUNDS_MAX: u32 = 100;
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// All living processes.
fn everybody() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(Stat::of).filter(Stat::lives).collect()
}

/// Which tree it is, also once its root has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TreeId {
    /// Its first process.
    pub root: ProcessId,
    /// Whether that leads a session, which is the tree's own then.
    pub leads_session: bool,
}

/// A tree, and who has been seen in it.
#[derive(Debug)]
pub(super) struct Tree {
    id: TreeId,
    seen: Mutex<BTreeSet<ProcessId>>,
}

impl Tree {
    /// The tree below a living process.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let root = ProcessId::of(pid)?;
        let leads_session = Stat::of(pid).is_some_and(|stat| stat.id == root && stat.session == pid);
        Ok(Self::known(TreeId { root, leads_session }))
    }

    /// A tree that was looked at before, by this process or by one before it, and may have ended since.
    pub(super) fn known(id: TreeId) -> Self {
        let tree = Self { id, seen: Mutex::default() };
        tree.members();
        tree
    }

    pub(super) fn id(&self) -> TreeId {
        self.id
    }

    pub(super) fn root(&self) -> ProcessId {
        self.id.root
    }

    pub(super) fn leads_session(&self) -> bool {
        self.id.leads_session
    }

    /// Everybody in it who lives: the root, its descendants, its session, and whoever was seen in it before. A process whose parent has
    /// ended hangs below another one, and is found by one of the latter two only.
    pub(super) fn members(&self) -> BTreeSet<ProcessId> {
        let (all, root) = (everybody(), self.root());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: BTreeSet<ProcessId> = all.iter().map(|stat| stat.id).filter(|id| *id == root || seen.contains(id)).collect();
        // The kernel gives the number to nobody else as long as the session has members.
        let taken = all.iter().any(|stat| stat.id.pid == root.pid && stat.id != root);
        if self.leads_session() && !taken {
            found.extend(all.iter().filter(|stat| stat.session == root.pid && stat.id.start >= root.start).map(|stat| stat.id));
        }
        loop {
            let before = found.len();
            let parents: BTreeSet<u32> = found.iter().map(|id| id.pid).collect();
            found.extend(all.iter().filter(|stat| parents.contains(&stat.parent)).map(|stat| stat.id));
            if found.len() == before {
                seen.clone_from(&found);
                return found;
            }
        }
    }

    /// Tells all of it to stop. Says who that was.
    fn order_stop(&self) -> Result<BTreeSet<ProcessId>> {
        let mut stopped = BTreeSet::new();
        // Stopped processes start no others; whoever was just started is found by the next look.
        for round in 0.. {
            let found = self.members();
            let fresh: Vec<ProcessId> = found.difference(&stopped).copied().collect();
            if fresh.is_empty() {
                break;
            }
            if round >= ROUNDS_MAX {
                let text = "the source starts processes faster than they can be stopped: end it by its cgroup or container";
                return Err(Error::retry(ErrorKind::Unavailable, text).with("pid", self.root()));
            }
            fresh.iter().try_for_each(|id| id.signal(Signal::STOP))?;
            stopped.extend(found);
        }
        Ok(stopped)
    }

    /// Stops all of it, until somebody lets it go on.
    pub(super) async fn stop(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            let ordered = self.order_stop()?;
            // Also whoever was started by one that had not stopped yet.
            match self.members().into_iter().find(|id| !ordered.contains(id) || !id.stopped()) {
                None => return Ok(()),
                Some(id) if Instant::now() >= end => {
                    let text = "the source cannot be stopped: a process of it hangs in the kernel (state D)";
                    return Err(Error::undo(ErrorKind::Timeout, text).with("pid", id));
                }
                Some(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Lets all of it go on.
    pub(super) fn go_on(&self) -> Result<()> {
        self.members().iter().try_for_each(|id| id.signal(Signal::CONT))
    }

    /// Ends all of it, for certain.
    pub(super) async fn end(&self, limit: Duration) -> Result<()> {
        let stopped = self.order_stop()?;
        stopped.iter().try_for_each(|id| id.signal(Signal::KILL))?;
        for id in &stopped {
            id.ended(limit).await?;
        }
        match self.members().first() {
            None => Ok(()),
            Some(id) => {
                let text = "a process of the source was started while it was ended: try again";
                Err(Error::retry(ErrorKind::Unavailable, text).with("pid", id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn a_tree_ends_with_its_orphans() {
        let script = "sleep 1000 & (sleep 1001 & sleep 1002 & wait) & wait";
        let mut child = Command::new("setsid").args(["sh", "-c", script]).stdin(Stdio::null()).spawn().expect("a tree");
        let tree = loop {
            let tree = Tree::of(child.id()).expect("alive");
            if tree.members().len() >= 5 {
                break tree;
            }
        };
        let known = tree.members();
        assert_eq!(known.len(), 5, "{known:?}");
        tree.root().signal(Signal::KILL).expect("killed");
        tree.root().ended(Duration::from_secs(5)).await.expect("ended");
        assert_eq!(tree.members().len(), 4, "the others hang below another process now, and are found all the same");
        tree.end(Duration::from_secs(5)).await.expect("ended");
        assert!(known.iter().all(|id| !id.lives()));
        tree.end(Duration::from_secs(5)).await.expect("ended already");
        child.wait().expect("reaped");
    }
}
