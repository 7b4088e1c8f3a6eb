//! Consumers as tasks of this process, and a [`RestoreTarget`] that starts them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use ms2m_broker::Broker;
use ms2m_consumer::{ChannelSnapshots, Consumer, QueueSpec, Snapshot, Snapshotted};
use ms2m_core::{
    CopyStatus, Error, ErrorKind, InstanceId, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, SourceStatus,
    TransferBackend,
};
use ms2m_testkit::snapshot::{self, SnapshotOrigin};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::QUEUE;
use crate::consumer::Sum;

/// What runs, by name.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<HashMap<InstanceId, Arc<Instance>>>);

/// One consumer.
#[derive(Debug)]
struct Instance {
    task: AbortHandle,
    snapshots: tokio::sync::Mutex<mpsc::Receiver<Snapshotted>>,
}

impl Tasks {
    /// Starts a consumer, as a copy if there is something to start from.
    pub(crate) fn start(&self, broker: Arc<dyn Broker>, name: InstanceId, from: Option<Snapshot>) -> Result<()> {
        let (sink, snapshots) = ChannelSnapshots::new(1);
        let builder = Consumer::builder(broker, QueueSpec::classic(QUEUE), Sum::default()).identity(name.clone()).snapshots(sink);
        let consumer = match from {
            Some(snapshot) => builder.restored(snapshot),
            None => builder,
        }
        .build()?;
        let task = tokio::spawn(consumer.run()).abort_handle();
        let instance = Instance { task, snapshots: tokio::sync::Mutex::new(snapshots) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(instance));
        Ok(())
    }

    /// Ends a consumer. A task ends at its next await: there is no other thread that could go on.
    fn end(&self, name: &InstanceId) {
        if let Some(instance) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            instance.task.abort();
        }
    }

    /// What the snapshot driver needs to know of a consumer.
    pub(crate) fn origin(self: &Arc<Self>, name: &InstanceId) -> Arc<dyn SnapshotOrigin> {
        Arc::new(Origin { tasks: Arc::clone(self), name: name.clone() })
    }

    fn get(&self, name: &InstanceId) -> Option<Arc<Instance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[derive(Debug)]
struct Origin {
    tasks: Arc<Tasks>,
    name: InstanceId,
}

#[async_trait]
impl SnapshotOrigin for Origin {
    async fn snapshot(&self, _: &MigrationId) -> Result<snapshot::Snapshot> {
        let gone = || Error::undo(ErrorKind::NotFound, "the consumer has ended");
        let instance = self.tasks.get(&self.name).ok_or_else(gone)?;
        let written = instance.snapshots.lock().await.recv().await.ok_or_else(gone)?;
        Ok(snapshot::Snapshot { bytes: written.bytes, freeze: written.freeze })
    }

    async fn status(&self) -> Result<SourceStatus> {
        let alive = self.tasks.get(&self.name).is_some_and(|instance| !instance.task.is_finished());
        Ok(if alive { SourceStatus::Present } else { SourceStatus::Gone })
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.tasks.end(&self.name);
        Ok(())
    }
}

/// Starts copies.
pub(crate) struct Starter {
    tasks: Arc<Tasks>,
    broker: Arc<dyn Broker>,
    copies: Mutex<HashMap<MigrationId, InstanceId>>,
}

impl Starter {
    pub(crate) fn new(tasks: Arc<Tasks>, broker: Arc<dyn Broker>) -> Self {
        Self { tasks, broker, copies: Mutex::default() }
    }
}

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Starter").finish_non_exhaustive()
    }
}

#[async_trait]
impl RestoreTarget for Starter {
    fn name(&self) -> &'static str {
        "task"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).insert(job.migration.clone(), job.copy.clone());
        Ok(())
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        let alive = self.tasks.get(&job.copy).is_some_and(|copy| !copy.task.is_finished());
        if !alive {
            // Without pre-dump a checkpoint is one part.
            let [receipt] = receipts else { return Err(Error::fatal(ErrorKind::Invalid, "a snapshot comes as one part")) };
            let pieces: Vec<_> = transfer.open(receipt, 0).await?.try_collect().await?;
            let snapshot = Snapshot::decode(&pieces.concat())?;
            self.tasks.start(Arc::clone(&self.broker), job.copy.clone(), Some(snapshot))?;
        }
        Ok(Restored { copy: job.copy.clone(), restore: begun.elapsed() })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let name = self.copies.lock().unwrap_or_else(PoisonError::into_inner).get(migration).cloned();
        let copy = name.and_then(|name| self.tasks.get(&name));
        Ok(if copy.is_some_and(|copy| !copy.task.is_finished()) { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn promote(&self, _: &MigrationId) -> Result<()> {
        // Nobody else has to be told where the consumer is.
        Ok(())
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let copy = self.copies.lock().unwrap_or_else(PoisonError::into_inner).remove(migration);
        if let Some(copy) = copy {
            self.tasks.end(&copy);
        }
        Ok(())
    }
}
