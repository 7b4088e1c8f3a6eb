//! Snapshots in files, as a controller finds them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_broker::link::QueueKind;
use ms2m_broker::protocol::Record;
use ms2m_consumer::{Consumer, DirectorySnapshots, Outcome, Snapshot};
use ms2m_core::{ErrorKind, SourceStatus};
use ms2m_testkit::snapshot::{DirectoryOrigin, SnapshotOrigin as _, SourceProcess};
use tokio::time::sleep;

use crate::support::{World, instance, migration};

#[derive(Debug)]
struct Lives;

#[async_trait]
impl SourceProcess for Lives {
    async fn status(&self) -> ms2m_core::Result<SourceStatus> {
        Ok(SourceStatus::Present)
    }

    async fn end(&self) -> ms2m_core::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_file_is_what_a_checkpoint_source_reads() {
    let world = World::new(QueueKind::Quorum, false).await;
    let directory = tempfile::tempdir().unwrap();
    let ledger = world.ledger();
    let seen = ledger.seen.clone();
    let builder = Consumer::builder(Arc::new(world.broker.clone()), world.spec.clone(), ledger).identity(instance("source"));
    let consumer = builder.snapshots(DirectorySnapshots::new(directory.path())).build().unwrap();
    let stop = consumer.stop_handle();
    let task = tokio::spawn(consumer.run());
    world.publish(1..=25).await;
    while seen.lock().unwrap().len() < 25 {
        sleep(Duration::from_millis(1)).await;
    }
    let mut journal = world.raw_journal().await;
    journal.invite("source").await;
    journal.append(Record::Park).await;
    journal.until(|view| view.parked.is_some()).await;

    let origin = DirectoryOrigin::new(directory.path(), 1 << 20, Box::new(Lives));
    let found = origin.snapshot(&migration()).await.unwrap();
    let file = directory.path().join("m1.snapshot");
    assert_eq!(DirectorySnapshots::read(&file).unwrap(), found.bytes);
    let snapshot = Snapshot::decode(&found.bytes).unwrap();
    assert_eq!(snapshot.image.chain.n(), 25);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing unfinished is left");
    assert_eq!(DirectorySnapshots::read(&directory.path().join("none")).unwrap_err().kind(), ErrorKind::Unavailable);
    std::fs::write(&file, "something else").unwrap();
    assert_eq!(DirectorySnapshots::read(&file).unwrap_err().kind(), ErrorKind::Corrupt);
    stop.stop();
    assert_eq!(task.await.unwrap().unwrap(), Outcome::Stopped);
}
