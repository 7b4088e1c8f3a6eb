//! The migration engine in a program of one's own.
//!
//! Two of the four traits are this program's: a transfer that copies through a directory, and a restore target that starts the
//! copy as a task. The other two come from the libraries. Run it: `cargo run -p embed`.

mod consumer;
mod folder;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::Broker;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{QueueKind, QueueOptions};
use ms2m_core::driver::{Driver, Drivers, MemoryStore};
use ms2m_core::engine::MigrationSpec;
use ms2m_core::{Error, ErrorKind, InstanceId, MigrationId, MigrationReport, Result, SystemClock};
use ms2m_testkit::MemoryBroker;
use ms2m_testkit::snapshot::SnapshotSource;
use ms2m_testkit::workload;
use tokio::sync::watch;

use crate::folder::Folder;
use crate::tasks::Tasks;

const QUEUE: &str = "orders";
const SNAPSHOT_BYTES_MAX: u64 = 1 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let report = migrate().await?;
    let text = serde_json::to_string_pretty(&report);
    println!("{}", text.map_err(|error| Error::fatal(ErrorKind::Other, "the report cannot be written").caused_by(error))?);
    Ok(())
}

async fn migrate() -> Result<MigrationReport> {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::default());
    let queue = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
    let setup = broker.connect("setup").await?;
    setup.declare(QUEUE, &queue).await?;

    // A consumer, and somebody who keeps it busy.
    let (source, copy) = (InstanceId::new("a")?, InstanceId::new("b")?);
    let running = Arc::new(Tasks::default());
    running.start(Arc::clone(&broker), source.clone(), None)?;
    let shop = workload::Publisher { rate_per_s: 200.0, ..workload::Publisher::new("shop", QUEUE) };
    let (closing_time, is_closed) = watch::channel(false);
    let their_broker = Arc::clone(&broker);
    let publishing = tokio::spawn(async move { workload::run(&shop, their_broker, Arc::new(SystemClock), Arc::new(()), is_closed).await });
    tokio::time::sleep(Duration::from_millis(500)).await;

    // The migration: four drivers, one call.
    let directory = tempfile::tempdir().map_err(folder::failed)?;
    let drivers = Drivers {
        source: Arc::new(SnapshotSource::new(running.origin(&source), SNAPSHOT_BYTES_MAX)),
        transfer: Arc::new(Folder::new(directory.path())),
        target: Arc::new(tasks::Starter::new(Arc::clone(&running), Arc::clone(&broker))),
        broker: Arc::new(JournalBroker::new(broker, QUEUE, JournalOptions::new(QueueKind::Classic, false))),
    };
    let driver = Driver::new(drivers, Arc::new(MemoryStore::default()));
    let report = driver.run(MigrationSpec::new(MigrationId::new("move-1")?, QUEUE, source, copy)).await?;
    closing_time.send_replace(true);
    publishing.await.map_err(|error| Error::fatal(ErrorKind::Other, "the publisher ended badly").caused_by(error))??;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use ms2m_core::report::Outcome;

    #[tokio::test]
    async fn a_consumer_moves_through_two_traits_of_our_own() {
        let report = super::migrate().await.unwrap();
        assert_eq!(report.outcome, Outcome::Completed, "{report:?}");
        assert_eq!((report.transfer_backend.as_str(), report.restore_target.as_str()), ("folder", "task"));
        assert_eq!(report.ledger.journal.digest_source, report.ledger.journal.digest_target);
        assert!(report.ledger.journal.digest_source.is_some());
    }
}
