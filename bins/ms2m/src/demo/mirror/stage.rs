//! [`Stage`] of the negative control: consumers and publishers are tasks of this process, on either broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::Broker;
use ms2m_broker::link::QueueOptions;
use ms2m_core::{Clock, Deadlines, Drivers, Error, ErrorKind, InstanceId, MemoryStore, MigrationReport, Result, RetryPolicy, StateStore};
use ms2m_testkit::workload::SendLog;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::consumer::Plain;
use super::fabric::Fabric;
use crate::demo::args::DemoArgs;
use crate::demo::embedded::Publishers;
use crate::demo::faults::{Fault, Menu};
use crate::demo::judge::Judge;
use crate::demo::leg::{Leg, consumer};
use crate::demo::stage::Stage;
use crate::demo::workload;

/// A demo of the published scheme.
#[derive(Debug)]
pub(crate) struct MirrorStage {
    id: String,
    broker: Arc<dyn Broker>,
    fabric: Arc<dyn Fabric>,
    clock: Arc<dyn Clock>,
    publishers: Publishers,
    running: Mutex<Option<Running>>,
}

/// A consumer at work.
pub(super) struct Running {
    pub(super) plain: Plain,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl Running {
    /// Ends it as a deleted container ends: between two instructions.
    pub(super) async fn end(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl MirrorStage {
    /// Declares queue and exchange, starts the first consumer and the publishers.
    pub(crate) async fn open(
        args: &DemoArgs,
        id: &str,
        broker: Arc<dyn Broker>,
        fabric: Arc<dyn Fabric>,
        clock: Arc<dyn Clock>,
        judge: Arc<Judge>,
    ) -> Result<Self> {
        let exchange = format!("ms2m.demo.{id}");
        let queue = format!("{exchange}.primary");
        let admin = broker.connect(&format!("ms2m-demo-{id}")).await?;
        let options = QueueOptions { kind: args.queue_type.into(), single_active_consumer: args.single_active_consumer, bytes_max: None };
        admin.declare(&queue, &options).await?;
        admin.close().await;
        fabric.bind(&exchange, &queue).await?;
        let plain = Plain::new(Arc::clone(&broker), Arc::clone(&judge), Duration::from_micros(args.service_us));
        let running = start(plain, consumer(id, 0)?.to_string(), queue.clone());
        let log: Arc<dyn SendLog> = judge;
        let publishers = Publishers::start(&broker, &clock, &log, workload::publishers(args, id, &queue, &exchange));
        Ok(Self { id: id.to_owned(), broker, fabric, clock, publishers, running: Mutex::new(Some(running)) })
    }

    pub(super) fn queue_name(&self) -> String {
        format!("{}.primary", self.exchange())
    }

    pub(super) fn exchange(&self) -> String {
        format!("ms2m.demo.{}", self.id)
    }

    pub(super) fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    pub(super) fn fabric(&self) -> &dyn Fabric {
        &*self.fabric
    }

    pub(super) fn clock_of(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(super) fn spawn(&self, plain: Plain, name: String, queue: String) -> Running {
        start(plain, name, queue)
    }

    /// Ends everything and removes queues and exchange.
    pub(crate) async fn shut(&self) -> Result<()> {
        if let Some(running) = self.running.lock().await.take() {
            running.end().await;
        }
        let admin = self.broker.connect(&format!("ms2m-demo-{}", self.id)).await?;
        admin.delete(&self.queue_name()).await?;
        admin.delete(&format!("{}.mirror", self.queue_name())).await?;
        admin.close().await;
        self.fabric.remove(&self.exchange()).await
    }
}

fn start(plain: Plain, name: String, queue: String) -> Running {
    let worker = plain.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = worker.consume(&name, &queue).await {
            tracing::debug!(%error, name, "a consumer has ended");
        }
    });
    Running { plain, task }
}

#[async_trait]
impl Stage for MirrorStage {
    fn queue(&self) -> String {
        self.queue_name()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(MemoryStore::default())
    }

    fn deadlines(&self) -> (Deadlines, RetryPolicy) {
        Default::default()
    }

    fn menu(&self) -> Menu {
        let none = Duration::ZERO;
        Menu { restart_broker: false, drop_connections: false, crash_driver: false, pause_max: none, after_max: none }
    }

    fn drivers(&self, _: &Leg) -> Result<Drivers> {
        Err(Error::fatal(ErrorKind::Unsupported, "the mirror scheme has no drivers"))
    }

    async fn baseline(&self, leg: &Leg) -> Option<Result<MigrationReport>> {
        let mut slot = self.running.lock().await;
        let source = slot.take()?;
        Some(match self.move_consumer(leg, source).await {
            Ok((copy, report)) => {
                *slot = Some(copy);
                Ok(report)
            }
            Err(error) => Err(error),
        })
    }

    async fn strike(&self, _: &Leg, _: Fault) -> Result<()> {
        Ok(())
    }

    async fn settle(&self, _: &Leg, _: &InstanceId) -> Result<()> {
        Ok(())
    }

    async fn publishers_done(&self) -> Result<bool> {
        Ok(self.publishers.are_done().await)
    }

    async fn stop_publishers(&self, now: bool) -> Result<()> {
        self.publishers.stop(now).await
    }

    async fn catch_up(&self) -> Result<()> {
        Ok(())
    }
}
