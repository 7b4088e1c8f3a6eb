//! One running consumer as a task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ms2m_consumer::{SnapshotSink, Snapshotted};
use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, Result, SourceStatus};
use ms2m_testkit::snapshot::{Snapshot, SnapshotOrigin};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::gate::{Gate, Gated};

/// A consumer and the snapshots it has written.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) gate: Arc<Gate>,
    shelf: Shelf,
    task: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<bool>,
}

impl Instance {
    /// Starts a task that runs `consumer`.
    pub(super) fn spawn<F>(id: InstanceId, shelf: Shelf, consumer: F) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let gate = Arc::new(Gate::default());
        let (sender, ended) = watch::channel(false);
        let ends = EndsLoudly(sender);
        let consumer = async move {
            consumer.await;
            drop(ends);
        };
        let task = Mutex::new(Some(tokio::spawn(Gated::new(Arc::clone(&gate), consumer))));
        Arc::new(Self { id, gate, shelf, task, ended })
    }

    pub(super) fn lives(&self) -> bool {
        !*self.ended.borrow()
    }

    /// A crash. Returns when nothing of it is left.
    pub(super) async fn kill(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = &task {
            task.abort();
        }
        if let Some(task) = task {
            // Its result says only that it was aborted.
            let _ = task.await;
        }
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Tells the end of a task however it ends.
struct EndsLoudly(watch::Sender<bool>);

impl Drop for EndsLoudly {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Where an instance puts its snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf(Arc<watch::Sender<u64>>, Arc<Mutex<HashMap<MigrationId, Snapshotted>>>);

impl Shelf {
    fn snapshots(&self) -> MutexGuard<'_, HashMap<MigrationId, Snapshotted>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SnapshotSink for Shelf {
    async fn put(&mut self, snapshot: Snapshotted) -> Result<()> {
        self.snapshots().insert(snapshot.migration.clone(), snapshot);
        self.0.send_modify(|count| *count += 1);
        Ok(())
    }
}

#[async_trait]
impl SnapshotOrigin for Instance {
    async fn snapshot(&self, migration: &MigrationId) -> Result<Snapshot> {
        let mut arrivals = self.shelf.0.subscribe();
        let mut ended = self.ended.clone();
        loop {
            if let Some(Snapshotted { bytes, freeze, .. }) = self.shelf.snapshots().get(migration) {
                return Ok(Snapshot { bytes: bytes.clone(), freeze: *freeze });
            }
            if *ended.borrow() {
                return Err(Error::undo(ErrorKind::NotFound, "the consumer has ended without a snapshot").with("consumer", &self.id));
            }
            tokio::select! {
                _ = arrivals.changed() => {}
                _ = ended.changed() => {}
            }
        }
    }

    async fn status(&self) -> Result<SourceStatus> {
        Ok(if self.lives() { SourceStatus::Present } else { SourceStatus::Gone })
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.kill().await;
        Ok(())
    }

    async fn forget(&self, migration: &MigrationId) -> Result<()> {
        self.shelf.snapshots().remove(migration);
        Ok(())
    }
}
