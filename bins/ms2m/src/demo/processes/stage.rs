//! [`Stage`] on a real broker, with processes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Broker, Connection, QueueKind, QueueOptions};
use ms2m_broker::protocol::journal_name;
use ms2m_core::{Clock, Deadlines, Drivers, Error, ErrorKind, InstanceId, Result, RetryPolicy, StateStore, SystemClock};
use ms2m_testkit::snapshot::{DirectoryOrigin, SnapshotTarget};
use ms2m_transfer_shared_volume::SharedVolume;
use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::listener::SendFiles;
use super::node::Node;
use super::spawn::{Layout, Spawner};
use crate::demo::args::DemoArgs;
use crate::demo::durable::DurableSnapshots;
use crate::demo::faults::{Fault, Menu};
use crate::demo::judge::Judge;
use crate::demo::leg::{Leg, consumer};
use crate::demo::stage::Stage;
use crate::demo::{limits, workload};
use crate::file_store::FileStore;

const RESTART_DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);

/// A demo of processes.
#[derive(Debug)]
pub(super) struct Processes {
    args: DemoArgs,
    id: String,
    broker: Arc<dyn Broker>,
    can_fence: bool,
    layout: Layout,
    spawner: Arc<Spawner>,
    files: Arc<SendFiles>,
}

/// The queue of a demo.
fn queue(id: &str) -> String {
    format!("ms2m.demo.{id}")
}

/// Where its consumers' effects go.
pub(super) fn effects(id: &str) -> String {
    format!("ms2m.demo.effects.{id}")
}

impl Processes {
    pub(super) fn new(args: DemoArgs, id: &str, broker: (Arc<dyn Broker>, bool), layout: Layout, url: String, judge: Arc<Judge>) -> Self {
        let names = workload::publishers(&args, id, "", "").into_iter().map(|publisher| publisher.name);
        let files = Arc::new(SendFiles::new(judge, &layout, names));
        let spawner = Arc::new(Spawner::new(layout.clone(), url));
        Self { args, id: id.to_owned(), broker: broker.0, can_fence: broker.1, layout, spawner, files }
    }

    pub(super) fn files(&self) -> Arc<SendFiles> {
        Arc::clone(&self.files)
    }

    /// Declares queues and starts the first consumer and the publishers.
    pub(super) async fn begin(&self) -> Result<()> {
        let admin = self.broker.connect(&format!("ms2m-demo-{}", self.id)).await?;
        let kind: QueueKind = self.args.queue_type.into();
        let options = QueueOptions { kind, single_active_consumer: self.args.single_active_consumer, bytes_max: None };
        admin.declare(&queue(&self.id), &options).await?;
        let log = QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: None };
        admin.declare(&effects(&self.id), &log).await?;
        admin.close().await;
        self.spawner.consumer(&self.args, &queue(&self.id), &effects(&self.id), &consumer(&self.id, 0)?, None).await?;
        let publishers = workload::publishers(&self.args, &self.id, &queue(&self.id), "");
        let count = publishers.len() as f64;
        for publisher in publishers {
            self.spawner.publisher(&publisher).await?;
            sleep(Duration::from_secs_f64(1.0 / (count * publisher.rate_per_s)).min(Duration::from_millis(50))).await;
        }
        Ok(())
    }

    /// Ends whatever has a name of a consumer, but not these.
    pub(super) async fn end_consumers_but(&self, living: &[&InstanceId]) -> Result<()> {
        let prefix = format!("demo-{}-c", self.id);
        for (name, process) in self.layout.processes() {
            if name.starts_with(&prefix) && living.iter().all(|id| id.as_str() != name) {
                process.kill().await?;
                // A name that is gone: the next look need not ask for it again.
                let _ = std::fs::remove_file(process.file());
            }
        }
        self.spawner.reap();
        Ok(())
    }

    /// Ends all processes and removes all queues. Goes on after errors, and gives the first one.
    pub(super) async fn clear(&self) -> Result<()> {
        let mut first = Ok(());
        for (_, process) in self.layout.processes() {
            first = first.and(process.kill().await);
        }
        self.spawner.reap();
        first.and(self.remove_queues().await)
    }

    async fn remove_queues(&self) -> Result<()> {
        let admin: Arc<dyn Connection> = self.broker.connect(&format!("ms2m-demo-{}", self.id)).await?;
        for name in [queue(&self.id), effects(&self.id), journal_name(&queue(&self.id))] {
            admin.delete(&name).await?;
        }
        admin.close().await;
        Ok(())
    }

    async fn pause(&self, id: &InstanceId, pause: Duration) -> Result<()> {
        let process = self.layout.process(id.as_str());
        process.signal(Signal::STOP)?;
        sleep(pause).await;
        process.signal(Signal::CONT)
    }

    async fn drop_connection(&self, name: &str) -> Result<()> {
        self.broker.fence(name).await.map(drop).map_err(Error::from)
    }

    async fn restart_broker(&self) -> Result<()> {
        let Some(command) = &self.args.broker_restart_command else { return Ok(()) };
        let failed = |what: &str| Error::fatal(ErrorKind::Other, format!("the broker restart command {what}"));
        let running = Command::new("sh").arg("-c").arg(command).stdin(std::process::Stdio::null()).output();
        let output = timeout(RESTART_DEADLINE, running).await.map_err(|_| failed("does not end"))?;
        let output = output.map_err(|error| failed("cannot be run").caused_by(error))?;
        if output.status.success() { Ok(()) } else { Err(failed("has failed").with("status", output.status)) }
    }
}

#[async_trait]
impl Stage for Processes {
    fn queue(&self) -> String {
        queue(&self.id)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(FileStore::new(self.layout.directory("migrations")))
    }

    fn deadlines(&self) -> (Deadlines, RetryPolicy) {
        match (self.args.has_faults(), &self.args.broker_restart_command) {
            (false, _) => Default::default(),
            (true, None) => limits::impatient(),
            (true, Some(_)) => limits::through_restarts(),
        }
    }

    fn menu(&self) -> Menu {
        Menu {
            restart_broker: self.args.broker_restart_command.is_some(),
            drop_connections: self.can_fence,
            // The driver is this process; to crash it is up to others (SIGKILL, and the same --state-dir again).
            crash_driver: false,
            pause_max: Duration::from_secs(3),
            after_max: Duration::from_millis(60),
        }
    }

    fn drivers(&self, leg: &Leg) -> Result<Drivers> {
        let process = Box::new(self.layout.process(leg.source.as_str()));
        let origin = DirectoryOrigin::new(self.layout.directory("snapshots"), limits::SNAPSHOT_BYTES_MAX, process);
        let node = Node {
            args: self.args.clone(),
            queue: queue(&self.id),
            effects: effects(&self.id),
            layout: self.layout.clone(),
            spawner: Arc::clone(&self.spawner),
            leg: leg.clone(),
        };
        let options = JournalOptions::new(self.args.queue_type.into(), self.args.single_active_consumer);
        let restarts = self.args.broker_restart_command.is_some();
        let options = if self.args.has_faults() && !restarts { limits::impatient_journal(&options) } else { options };
        Ok(Drivers {
            source: Arc::new(DurableSnapshots::new(Arc::new(origin))),
            transfer: leg.transfer(Arc::new(SharedVolume::new(self.layout.directory("moved")))),
            target: Arc::new(SnapshotTarget::new("process", Arc::new(node), limits::SNAPSHOT_BYTES_MAX)),
            broker: Arc::new(JournalBroker::new(Arc::clone(&self.broker), queue(&self.id), options)),
        })
    }

    async fn strike(&self, leg: &Leg, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillSource => self.layout.process(leg.source.as_str()).kill().await,
            Fault::KillCopy => self.layout.process(leg.copy.as_str()).kill().await,
            Fault::PauseSource(pause) => self.pause(&leg.source, pause).await,
            Fault::PauseCopy(pause) => self.pause(&leg.copy, pause).await,
            Fault::DropSource => self.drop_connection(&format!("ms2m-{}", leg.source)).await,
            Fault::DropCopy => self.drop_connection(&format!("ms2m-{}", leg.copy)).await,
            Fault::DropController => self.drop_connection(&format!("ms2m-controller-{}", leg.migration)).await,
            Fault::RestartBroker => self.restart_broker().await,
            // Part of the drivers, or of whoever runs them.
            Fault::TransferFails(_) | Fault::TransferHesitates(_) | Fault::CrashDriver => Ok(()),
        }
    }

    async fn settle(&self, leg: &Leg, owner: &InstanceId) -> Result<()> {
        self.end_consumers_but(&[owner]).await?;
        if !self.layout.process(owner.as_str()).lives()? {
            let text = format!("the consumer that owns the queue has ended: {}", self.spawner.last_words(owner.as_str()));
            return Err(Error::fatal(ErrorKind::Invariant, text).with("consumer", owner).with("migration", &leg.migration));
        }
        Ok(())
    }

    async fn publishers_done(&self) -> Result<bool> {
        for name in self.files.busy().await {
            if !self.layout.process(&name).lives()? {
                // It may have said so with its last breath.
                self.files.follow().await?;
                if self.files.busy().await.contains(&name) {
                    let text = format!("a publisher has failed: {}", self.spawner.last_words(&name));
                    return Err(Error::fatal(ErrorKind::Unavailable, text).with("publisher", name));
                }
            }
        }
        Ok(self.files.busy().await.is_empty())
    }

    async fn stop_publishers(&self, now: bool) -> Result<()> {
        if now {
            for name in self.files.busy().await {
                self.layout.process(&name).signal(Signal::TERM)?;
            }
        }
        while !self.publishers_done().await? {
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn catch_up(&self) -> Result<()> {
        self.files.follow().await
    }
}
