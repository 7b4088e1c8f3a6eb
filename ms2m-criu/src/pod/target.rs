//! [`PodTarget`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ms2m_core::{CopyStatus, Error, ErrorKind, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use tracing::Instrument as _;

use super::bundle::mark;
use super::gate::Gate;
use super::leftovers::END;
use super::record::Record;
use super::wire::{Hello, Order};
use crate::criu::{Criu, Version};
use crate::local::arrival::{Arrivals, Arrived};
use crate::local::bundle::remove_directory;
use crate::local::cgroup::Cgroup;
use crate::local::check::Machine;
use crate::local::launch::launch_cgroup;
use crate::local::record::{self, Kept as _};
use crate::local::{Namespace, blocking, connections, push};
use crate::runtime::Flavor;

/// What has arrived is kept for no longer either, so after that no copy can be made any more.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Between two looks at what is restored already, while the next container comes.
const LOOK: Duration = Duration::from_millis(200);

/// The pod that was made for a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// Its UID.
    pub pod_uid: String,
    /// The containers that are restored, in the pod's order. Others of the pod start fresh.
    pub containers: Vec<String>,
}

/// Makes the copy in a pod of this node, by the [runtimes that wait](Gate) to create its containers.
#[derive(Debug)]
pub struct PodTarget {
    gate: Gate,
    flavor: Flavor,
    criu: Criu,
    work_dir: PathBuf,
    copy: Copy,
}

impl PodTarget {
    /// In this pod. What arrives is unpacked below `work_dir`; `flavor` and `criu` are what the node's runtime wrapper restores with.
    #[must_use]
    pub fn new(gate: Gate, (flavor, criu): (Flavor, Criu), work_dir: impl Into<PathBuf>, copy: Copy) -> Self {
        Self { gate, flavor, criu, work_dir: work_dir.into(), copy }
    }

    fn arrivals(&self, migration: &MigrationId) -> Arrivals {
        Arrivals::of(&self.work_dir, migration)
    }

    fn record(&self, migration: &MigrationId) -> Result<Record> {
        Ok(Record::load(&self.work_dir, migration)?.unwrap_or_default())
    }

    /// Whether all containers of the copy live, and nobody is making one any more.
    fn is_complete(&self, record: &Record) -> Result<bool> {
        if record.containers.len() < self.copy.containers.len() {
            return Ok(false);
        }
        for hello in &record.containers {
            let making = !Cgroup::named(&launch_cgroup(&hello.id)).processes()?.is_empty();
            if making || Cgroup::named(&hello.cgroup).processes()?.is_empty() {
                return Ok(false);
            }
        }
        Ok(!record.containers.is_empty())
    }

    /// The pod's network, where more than one container of it moves: with the connections between them.
    fn network(&self, record: &Record) -> Result<Option<Namespace>> {
        let several = self.copy.containers.len() > 1;
        let Some(first) = record.containers.first().filter(|_| several) else { return Ok(None) };
        let path = first.network.clone().ok_or_else(|| {
            let message = "the node's ms2m-runtime does not say which network the copy has; use programs of the same release on the node";
            Error::fatal(ErrorKind::Unsupported, message).with("container", &first.container)
        })?;
        Ok(Some(Namespace::of_pod(path)))
    }

    /// A round has arrived and the container waits: then a source stands still soon.
    fn launch(&self, record: &Record, migration: &MigrationId) -> Result<()> {
        let Some(first) = record.containers.first().filter(|_| !record.ordered) else { return Ok(()) };
        if let Some(what) = self.arrivals(migration).ahead(&first.container)? {
            self.gate.launch(migration, &first.container, what);
        }
        Ok(())
    }

    /// One after the other: kubelet makes a container when the one before it runs. What moves with others meets nobody until the last one is there, so the pod's
    /// loopback interface is locked until then.
    async fn make(&self, migration: &MigrationId, record: &mut Record, arrived: Vec<Arrived>, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        let network = self.network(record)?;
        let connected = network.is_some();
        if let Some(network) = network.clone() {
            let images = arrived.clone();
            blocking(move || {
                connections::close_outer(&images, &network)?;
                network.lock()
            })
            .await?;
        }
        for Arrived { directory, manifest } in arrived {
            let name = manifest.name.clone();
            let left = || deadline.saturating_sub(begun.elapsed());
            if !record.containers.iter().any(|hello| hello.container == name) {
                let hello = self.comes(migration, &name, record, left()).await?;
                record.containers.push(hello);
                // Before it lives: whoever comes after a crash must find it.
                record.store(&self.work_dir, migration)?;
            }
            let order = Order::Restore { directory, manifest: Box::new(manifest), connected };
            self.gate.order(migration, &name, order, left()).await?;
        }
        if let Some(network) = network {
            let mut living = Vec::new();
            for hello in &record.containers {
                living.extend(Cgroup::named(&hello.cgroup).processes()?);
            }
            blocking(move || {
                network.unlock()?;
                push::push(&living);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// The next container waits, while those before it live.
    async fn comes(&self, migration: &MigrationId, name: &str, record: &Record, within: Duration) -> Result<Hello> {
        let ends = async {
            loop {
                tokio::time::sleep(LOOK).await;
                for hello in &record.containers {
                    match Cgroup::named(&hello.cgroup).processes() {
                        Ok(processes) if processes.is_empty() => {
                            let message = "a container of the copy has ended before the next one was there";
                            return Error::undo(ErrorKind::Other, message).with("container", &hello.container);
                        }
                        Ok(_) => {}
                        Err(error) => return error,
                    }
                }
            }
        };
        tokio::select! {
            hello = self.gate.awaits(migration, name, &self.copy.pod_uid, within) => hello,
            error = ends => Err(error),
        }
    }

    /// Lets packets pass between the containers, where they were held back.
    async fn unlock(&self, record: &Record) -> Result<()> {
        match self.network(record)? {
            Some(network) => blocking(move || network.unlock()).await,
            None => Ok(()),
        }
    }

    /// Ends what may live of the copy, for certain.
    async fn end(&self, record: &Record) -> Result<()> {
        for hello in &record.containers {
            Cgroup::named(&launch_cgroup(&hello.id)).kill(END).await?;
            Cgroup::named(&hello.cgroup).kill(END).await?;
        }
        self.unlock(record).await
    }
}

/// Whether a process of the copy is there.
fn lives(record: &Record) -> Result<bool> {
    for hello in &record.containers {
        if !Cgroup::named(&hello.cgroup).processes()?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the files of one migration's copy.
fn remove(work_dir: &Path, migration: &MigrationId) -> Result<()> {
    let directory = record::directory(work_dir, migration);
    remove_directory(&directory)?;
    // The migration's own, unless a source of it is here, too.
    let _ = directory.parent().map(std::fs::remove_dir);
    Ok(())
}

/// Removes what is still known of copies that live no more and that nobody asks for: of those that had become the owner's own, and of those that were prepared
/// a day ago or longer, whose migration has ended without this node. How many there were.
///
/// # Errors
/// When a record cannot be read or removed.
pub fn forget_ended(work_dir: &Path) -> Result<usize> {
    let mut forgotten = 0;
    let found = std::fs::read_dir(work_dir.join("migrations")).into_iter().flatten().flatten();
    let migrations = found.filter_map(|entry| MigrationId::new(entry.file_name().into_string().ok()?).ok());
    for migration in migrations {
        let Some(record) = Record::load(work_dir, &migration)? else { continue };
        if (record.promoted || is_old(work_dir, &migration)) && !lives(&record)? {
            remove(work_dir, &migration)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

fn is_old(work_dir: &Path, migration: &MigrationId) -> bool {
    let modified = std::fs::metadata(Record::path(work_dir, migration)).and_then(|file| file.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
}

#[async_trait]
impl RestoreTarget for PodTarget {
    fn name(&self) -> &'static str {
        "runtime"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        let begun = Instant::now();
        let mut record = self.record(&job.migration)?;
        if record.ordered {
            if record.containers.iter().all(|hello| hello.pod_uid == self.copy.pod_uid) {
                return Ok(());
            }
            // An attempt in a pod before this one.
            self.end(&record).await?;
            record.ordered = false;
        }
        record.criu = self.criu.version().await?.to_string();
        record.containers.clear();
        // kubelet makes the others when this one runs.
        if let Some(first) = self.copy.containers.first() {
            let left = job.deadline.saturating_sub(begun.elapsed());
            record.containers.push(self.gate.awaits(&job.migration, first, &self.copy.pod_uid, left).await?);
            if let Some(network) = self.network(&record)? {
                // Better known before anything is frozen.
                blocking(move || network.has_lock()).await?;
            }
        }
        record.store(&self.work_dir, &job.migration)?;
        self.launch(&record, &job.migration)
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.arrivals(&job.migration).stage(receipt, &*transfer).await?;
        self.launch(&self.record(&job.migration)?, &job.migration)
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        let mut record = self.record(&job.migration)?;
        if record.ordered {
            if self.is_complete(&record)? {
                self.unlock(&record).await?;
                return Ok(Restored { copy: job.copy.clone(), restore: Duration::ZERO });
            }
            // Who was at it when the agent before this one ended. Its pod's containers are not made a second time.
            self.end(&record).await?;
            let message = "an earlier attempt to restore the copy was interrupted; migrate again";
            return Err(Error::undo(ErrorKind::Other, message).with("migration", &job.migration));
        }
        let criu = match Version::parse(&record.criu) {
            Some(version) => version,
            None => self.criu.version().await?,
        };
        let features = crate::facts::cpu_features();
        let machine = Machine { flavor: self.flavor, criu: &criu, architecture: std::env::consts::ARCH, cpu_features: &features };
        let names: Vec<_> = self.copy.containers.iter().map(String::as_str).collect();
        let arrivals = self.arrivals(&job.migration);
        let span = tracing::info_span!("unpack", migration = %job.migration);
        let arrived = arrivals.gather(receipts, &*transfer, &machine, &names).instrument(span).await?;
        record.ordered = true;
        record.store(&self.work_dir, &job.migration)?;
        let left = job.deadline.saturating_sub(begun.elapsed());
        let span = tracing::info_span!("make", migration = %job.migration);
        if let Err(error) = self.make(&job.migration, &mut record, arrived, left).instrument(span).await {
            // No half-made copy may live on.
            self.end(&record).await?;
            return Err(error);
        }
        if !self.is_complete(&record)? {
            self.end(&record).await?;
            return Err(Error::undo(ErrorKind::Other, "a container of the copy has ended as soon as it was restored"));
        }
        Ok(Restored { copy: job.copy.clone(), restore: begun.elapsed() })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let record = self.record(migration)?;
        // Before the order, what is in its cgroup is a runtime that waits.
        Ok(if record.ordered && lives(&record)? { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        let Some(mut record) = Record::load(&self.work_dir, migration)? else { return Ok(()) };
        record.containers.iter().try_for_each(|hello| mark(&hello.marker))?;
        record.promoted = true;
        record.store(&self.work_dir, migration)?;
        // The record stays: whether the copy lives is asked until the source is retired.
        remove_directory(&self.arrivals(migration).directory)
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let record = self.record(migration)?;
        if !record.promoted {
            self.gate.refuse(migration, &self.copy.pod_uid, "the migration was rolled back");
            self.end(&record).await?;
        }
        remove(&self.work_dir, migration)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Hello;
    use super::*;

    fn hello(cgroup: &str) -> Hello {
        let (migration, container) = (MigrationId::new("m-1").unwrap(), "main".to_owned());
        Hello {
            migration,
            container,
            id: "c".into(),
            pod_uid: "u".into(),
            cgroup: cgroup.into(),
            marker: "/nowhere".into(),
            network: None,
            launches: true,
        }
    }

    #[test]
    fn only_what_was_promoted_and_has_ended_or_is_a_day_old_is_forgotten() {
        let work = tempfile::tempdir().unwrap();
        let stored = |name: &str, promoted: bool| {
            let migration = MigrationId::new(name).unwrap();
            let record = Record { containers: vec![hello("ms2m-no-such-cgroup")], ordered: true, promoted, ..Record::default() };
            record.store(work.path(), &migration).unwrap();
            migration
        };
        let (ended, pending) = (stored("m-1", true), stored("m-2", false));
        assert_eq!(forget_ended(work.path()).unwrap(), 1);
        assert_eq!(Record::load(work.path(), &ended).unwrap(), None);
        assert!(Record::load(work.path(), &pending).unwrap().is_some());
        assert!(!record::directory(work.path(), &ended).parent().unwrap().exists(), "nothing is left of it");
        assert_eq!(forget_ended(&work.path().join("nowhere")).unwrap(), 0);
        let record = std::fs::File::open(Record::path(work.path(), &pending)).unwrap();
        record.set_modified(std::time::SystemTime::now() - ABANDONED - Duration::from_secs(60)).unwrap();
        assert_eq!(forget_ended(work.path()).unwrap(), 1);
        assert_eq!(Record::load(work.path(), &pending).unwrap(), None);
    }
}
