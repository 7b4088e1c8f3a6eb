//! Where consumers are started and ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_consumer::{ChannelSink, Consumer, QueueSpec, Snapshot};
use ms2m_core::{CopyStatus, Error, ErrorKind, InstanceId, MigrationId, RestoreJob, Result, SystemClock};
use ms2m_testkit::snapshot::SnapshotHost;
use ms2m_testkit::{MemoryBroker, SimulatedClock};

use super::instance::{Instance, Shelf};
use crate::demo::handler::Bookkeeper;

/// Starts consumers, and knows those that live.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) broker: MemoryBroker,
    pub(super) queue: QueueSpec,
    pub(super) service: Duration,
    pub(super) effects: ChannelSink,
    /// `None`: the machine's clock.
    pub(super) simulated: Option<SimulatedClock>,
    instances: Mutex<HashMap<InstanceId, Arc<Instance>>>,
    copies: Mutex<HashMap<MigrationId, Arc<Instance>>>,
}

impl Node {
    pub(super) fn new(
        broker: MemoryBroker,
        queue: QueueSpec,
        service: Duration,
        effects: ChannelSink,
        simulated: Option<SimulatedClock>,
    ) -> Self {
        Self { broker, queue, service, effects, simulated, instances: Mutex::default(), copies: Mutex::default() }
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<InstanceId, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copies(&self) -> MutexGuard<'_, HashMap<MigrationId, Arc<Instance>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &InstanceId) -> Result<Arc<Instance>> {
        let found = self.instances().get(id).cloned();
        found.ok_or_else(|| Error::fatal(ErrorKind::NotFound, "there is no such consumer").with("consumer", id))
    }

    /// Starts a consumer, with empty books or those of a snapshot.
    pub(super) fn launch(&self, id: &InstanceId, restored: Option<Snapshot>) -> Result<Arc<Instance>> {
        let broker = Arc::new(self.broker.clone());
        let shelf = Shelf::default();
        let mut builder = Consumer::builder(broker, self.queue.clone(), Bookkeeper::new(self.service))
            .identity(id.clone())
            .effects(self.effects.clone())
            .snapshots(shelf.clone());
        builder = match self.simulated {
            Some(clock) => builder.clock(clock),
            None => builder.clock(SystemClock),
        };
        if let Some(snapshot) = restored {
            builder = builder.restored(snapshot);
        }
        let consumer = builder.build()?;
        let name = id.clone();
        let instance = Instance::spawn(id.clone(), shelf, async move {
            match consumer.run().await {
                Ok(outcome) => tracing::debug!(consumer = %name, ?outcome, "a consumer has ended"),
                Err(error) => tracing::warn!(consumer = %name, %error, "a consumer has failed"),
            }
        });
        self.instances().insert(id.clone(), Arc::clone(&instance));
        Ok(instance)
    }

    /// Forgets everybody who has ended, and ends everybody but `owner`.
    pub(super) async fn clear_but(&self, owner: Option<&InstanceId>) {
        let others: Vec<_> = self.instances().values().filter(|instance| Some(&instance.id) != owner).cloned().collect();
        for other in others {
            other.kill().await;
            self.instances().remove(&other.id);
        }
        self.copies().clear();
    }
}

#[async_trait]
impl SnapshotHost for Node {
    async fn start(&self, job: &RestoreJob, state: Bytes) -> Result<()> {
        let living = self.copies().get(&job.migration).cloned();
        if living.is_some_and(|copy| copy.lives()) {
            return Ok(());
        }
        let copy = self.launch(&job.copy, Some(Snapshot::decode(&state)?))?;
        self.copies().insert(job.migration.clone(), copy);
        Ok(())
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let lives = self.copies().get(migration).is_some_and(|copy| copy.lives());
        Ok(if lives { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn end(&self, migration: &MigrationId) -> Result<()> {
        let copy = self.copies().get(migration).cloned();
        if let Some(copy) = copy {
            copy.kill().await;
        }
        Ok(())
    }
}
