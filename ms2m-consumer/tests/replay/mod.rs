//! A source, a copy and a publisher over any broker: what the suite of `ReplayBroker` is run on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Broker, QueueKind, QueueOptions};
use ms2m_broker::protocol::MigrationTag;
use ms2m_consumer::{ChannelSnapshots, Consumer, Context, Determinism, Effects, Handler, Message, QueueSpec, Snapshot, Snapshotted};
use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, ReplayBroker, Result, SystemClock};
use ms2m_testkit::conformance::ReplaySubject;
use ms2m_testkit::workload;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

#[derive(Debug)]
struct Count {
    n: u64,
    everywhere: Arc<AtomicU64>,
}

impl Handler for Count {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, _: &Message, cx: &mut Context<'_>) -> Effects {
        self.n += 1;
        if cx.is_live() {
            self.everywhere.fetch_add(1, Ordering::Relaxed);
        }
        Effects::none()
    }

    fn snapshot(&self) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(&self.n.to_be_bytes()))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes = bytes.try_into().map_err(|_| Error::undo(ErrorKind::Corrupt, "a count has 8 bytes"))?;
        self.n = u64::from_be_bytes(bytes);
        Ok(())
    }
}

/// One queue and everybody on it.
#[derive(Debug)]
pub(crate) struct Subject {
    broker: Arc<dyn Broker>,
    queue: QueueSpec,
    applied: Arc<AtomicU64>,
    snapshots: tokio::sync::Mutex<mpsc::Receiver<Snapshotted>>,
    copy: Mutex<Option<JoinHandle<()>>>,
    source: JoinHandle<()>,
    publisher: JoinHandle<()>,
}

impl Subject {
    /// On a queue of its own.
    pub(crate) async fn new(broker: Arc<dyn Broker>, name: String, kind: QueueKind, single_active_consumer: bool) -> Self {
        let setup = broker.connect("setup").await.unwrap();
        setup.declare(&name, &QueueOptions { kind, single_active_consumer, bytes_max: None }).await.unwrap();
        setup.close().await;
        let queue = match kind {
            QueueKind::Classic => QueueSpec::classic(&name),
            QueueKind::Quorum => QueueSpec::quorum(&name),
            QueueKind::Stream => QueueSpec::stream(&name),
        };
        let queue = if single_active_consumer { queue.with_single_active_consumer() } else { queue };
        let applied = Arc::new(AtomicU64::new(0));
        let (sink, snapshots) = ChannelSnapshots::new(4);
        let source = InstanceId::new(format!("source-{name}")).unwrap();
        let handler = Count { n: 0, everywhere: Arc::clone(&applied) };
        let consumer = Consumer::builder(Arc::clone(&broker), queue.clone(), handler).identity(source).snapshots(sink).build().unwrap();
        let publisher = workload::Publisher { rate_per_s: 200.0, ..workload::Publisher::new(format!("shop-{name}"), &name) };
        let its_broker = Arc::clone(&broker);
        let publishing = async move {
            let (_keep, stop) = watch::channel(false);
            workload::run(&publisher, its_broker, Arc::new(SystemClock), Arc::new(()), stop).await.unwrap();
        };
        let subject = Self {
            broker,
            queue,
            applied,
            snapshots: tokio::sync::Mutex::new(snapshots),
            copy: Mutex::default(),
            source: tokio::spawn(async move { drop(consumer.run().await.unwrap()) }),
            publisher: tokio::spawn(publishing),
        };
        while subject.applied() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        subject
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.publisher.abort();
        self.source.abort();
        if let Some(copy) = self.copy.lock().unwrap().take() {
            copy.abort();
        }
    }
}

#[async_trait]
impl ReplaySubject for Subject {
    fn backend(&self) -> Arc<dyn ReplayBroker> {
        let options = JournalOptions::new(self.queue.kind, self.queue.single_active_consumer);
        Arc::new(JournalBroker::new(Arc::clone(&self.broker), &self.queue.name, options))
    }

    fn queue(&self) -> String {
        self.queue.name.clone()
    }

    fn source(&self) -> InstanceId {
        InstanceId::new(format!("source-{}", self.queue.name)).unwrap()
    }

    async fn start_copy(&self, copy: &InstanceId, migration: &MigrationId) -> Result<()> {
        let snapshot = self.snapshot().await;
        assert_eq!(snapshot.migration(), Some(MigrationTag::of(migration)));
        self.start_from(snapshot, copy)
    }

    async fn end_copy(&self) {
        let copy = self.copy.lock().unwrap().take();
        if let Some(copy) = copy {
            copy.abort();
            let _ = copy.await;
        }
    }

    fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }
}

impl Subject {
    /// What the source has written when it parked.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let written = self.snapshots.lock().await.recv().await.unwrap();
        Snapshot::decode(&written.bytes).unwrap()
    }

    pub(crate) fn start_from(&self, snapshot: Snapshot, copy: &InstanceId) -> Result<()> {
        let handler = Count { n: 0, everywhere: Arc::clone(&self.applied) };
        let consumer =
            Consumer::builder(Arc::clone(&self.broker), self.queue.clone(), handler).identity(copy.clone()).restored(snapshot).build()?;
        *self.copy.lock().unwrap() = Some(tokio::spawn(async move { drop(consumer.run().await.unwrap()) }));
        Ok(())
    }
}
