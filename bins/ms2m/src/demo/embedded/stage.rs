//! [`Stage`] inside this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::Broker;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Connection, QueueOptions};
use ms2m_consumer::{ChannelSink, QueueSpec};
use ms2m_core::{Clock, Deadlines, Drivers, Error, ErrorKind, InstanceId, MemoryStore, Result, RetryPolicy, StateStore, SystemClock};
use ms2m_testkit::snapshot::SnapshotTarget;
use ms2m_testkit::{MemoryBroker, MemoryTransfer, Profile, SimulatedClock};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::node::Node;
use super::publishers::Publishers;
use crate::demo::args::DemoArgs;
use crate::demo::durable::DurableSnapshots;
use crate::demo::faults::{Fault, Menu};
use crate::demo::judge::Judge;
use crate::demo::leg::{Leg, consumer};
use crate::demo::limits;
use crate::demo::stage::Stage;
use crate::demo::workload;

/// Effects on their way to the auditor.
const EFFECTS_MAX: usize = 1024;

/// A demo inside this process.
#[derive(Debug)]
pub(crate) struct Embedded {
    args: DemoArgs,
    clock: Arc<dyn Clock>,
    node: Arc<Node>,
    publishers: Publishers,
    transfer: Arc<MemoryTransfer>,
    store: Arc<MemoryStore>,
    auditing: JoinHandle<()>,
    /// Keeps the queue's connection of this side.
    _admin: Arc<dyn Connection>,
}

/// The clock of an embedded demo.
pub(crate) fn clocks(simulated: bool) -> (Arc<dyn Clock>, Option<SimulatedClock>) {
    if simulated {
        let clock = SimulatedClock::default();
        (Arc::new(clock), Some(clock))
    } else {
        (Arc::new(SystemClock), None)
    }
}

impl Embedded {
    /// Declares the queue, starts the first consumer and the publishers.
    pub(crate) async fn open(
        args: DemoArgs,
        id: &str,
        judge: Arc<Judge>,
        clocks: (Arc<dyn Clock>, Option<SimulatedClock>),
    ) -> Result<Self> {
        let (clock, simulated) = clocks;
        let broker = MemoryBroker::new(Profile::rabbitmq());
        let kind = args.queue_type.into();
        let mut queue = QueueSpec::new(workload::QUEUE, kind);
        queue.single_active_consumer = args.single_active_consumer;
        let admin = broker.connect("ms2m-demo").await?;
        let options = QueueOptions { kind, single_active_consumer: args.single_active_consumer, bytes_max: None };
        admin.declare(&queue.name, &options).await?;
        let (effects, mut received) = ChannelSink::new(EFFECTS_MAX);
        let listener = Arc::clone(&judge);
        let auditing = tokio::spawn(async move {
            while let Some(effect) = received.recv().await {
                listener.effect(&effect.payload);
            }
        });
        let node = Arc::new(Node::new(broker.clone(), queue, Duration::from_micros(args.service_us), effects, simulated));
        node.launch(&consumer(id, 0)?, None)?;
        let shared: Arc<dyn Broker> = Arc::new(broker);
        let log: Arc<dyn ms2m_testkit::workload::SendLog> = judge;
        let publishers = Publishers::start(&shared, &clock, &log, workload::publishers(&args, id, workload::QUEUE, ""));
        let (transfer, store) = (Arc::default(), Arc::default());
        Ok(Self { args, clock, node, publishers, transfer, store, auditing, _admin: admin })
    }

    /// Ends everything.
    pub(crate) async fn shut(&self) {
        self.node.clear_but(None).await;
        self.auditing.abort();
    }

    fn drop_connection(&self, name: &str) {
        self.node.broker.drop_connection(name);
    }

    async fn pause(&self, id: &InstanceId, pause: Duration) -> Result<()> {
        let instance = self.node.find(id)?;
        instance.gate.close();
        sleep(pause).await;
        instance.gate.open();
        Ok(())
    }
}

#[async_trait]
impl Stage for Embedded {
    fn queue(&self) -> String {
        workload::QUEUE.to_owned()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn store(&self) -> Arc<dyn StateStore> {
        Arc::clone(&self.store) as _
    }

    fn deadlines(&self) -> (Deadlines, RetryPolicy) {
        if self.args.has_faults() { limits::impatient() } else { Default::default() }
    }

    fn menu(&self) -> Menu {
        Menu {
            restart_broker: true,
            drop_connections: true,
            crash_driver: true,
            pause_max: Duration::from_secs(3),
            after_max: Duration::from_millis(30),
        }
    }

    fn drivers(&self, leg: &Leg) -> Result<Drivers> {
        let source = DurableSnapshots::new(self.node.find(&leg.source)?);
        let options = JournalOptions::new(self.args.queue_type.into(), self.args.single_active_consumer);
        let options = if self.args.has_faults() { limits::impatient_journal(&options) } else { options };
        Ok(Drivers {
            source: Arc::new(source),
            transfer: leg.transfer(Arc::clone(&self.transfer) as _),
            target: Arc::new(SnapshotTarget::new("task", Arc::clone(&self.node) as _, limits::SNAPSHOT_BYTES_MAX)),
            broker: Arc::new(JournalBroker::new(Arc::new(self.node.broker.clone()), workload::QUEUE, options)),
        })
    }

    async fn strike(&self, leg: &Leg, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillSource => self.node.find(&leg.source)?.kill().await,
            Fault::KillCopy => self.node.find(&leg.copy)?.kill().await,
            Fault::PauseSource(pause) => self.pause(&leg.source, pause).await?,
            Fault::PauseCopy(pause) => self.pause(&leg.copy, pause).await?,
            Fault::DropSource => self.drop_connection(&format!("ms2m-{}", leg.source)),
            Fault::DropCopy => self.drop_connection(&format!("ms2m-{}", leg.copy)),
            Fault::DropController => self.drop_connection(&format!("ms2m-controller-{}", leg.migration)),
            Fault::RestartBroker => {
                let broker = &self.node.broker;
                broker.set_faults(|faults| faults.unavailable = true);
                broker.restart();
                sleep(limits::BROKER_DOWN).await;
                broker.set_faults(|faults| faults.unavailable = false);
            }
            // Part of the drivers, or of whoever runs them.
            Fault::TransferFails(_) | Fault::TransferHesitates(_) | Fault::CrashDriver => {}
        }
        Ok(())
    }

    async fn settle(&self, leg: &Leg, owner: &InstanceId) -> Result<()> {
        // A stream's source keeps its promise and ends by itself; whatever else is left serves nobody.
        self.node.clear_but(Some(owner)).await;
        if !self.node.find(owner)?.lives() {
            let text = "the consumer that owns the queue has ended, and its state with it";
            return Err(Error::fatal(ErrorKind::Invariant, text).with("consumer", owner).with("migration", &leg.migration));
        }
        Ok(())
    }

    async fn publishers_done(&self) -> Result<bool> {
        Ok(self.publishers.are_done().await)
    }

    async fn stop_publishers(&self, now: bool) -> Result<()> {
        self.publishers.stop(now).await
    }

    async fn catch_up(&self) -> Result<()> {
        // Effects come by themselves.
        tokio::task::yield_now().await;
        Ok(())
    }
}
