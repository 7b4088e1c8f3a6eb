//! Snapshots that another process writes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{CheckpointJob, CheckpointSource, ErrorKind, MigrationId, SourceStatus};
use ms2m_testkit::conformance::{self, CheckpointSubject};
use ms2m_testkit::snapshot::{ChildProcess, DirectoryOrigin, SnapshotSource, write_snapshot};
use tokio::process::{Child, Command};

fn process() -> Child {
    Command::new("sleep").arg("60").stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

fn source(directory: &tempfile::TempDir, bytes_max: u64) -> SnapshotSource {
    let origin = DirectoryOrigin::new(directory.path(), bytes_max, Box::new(ChildProcess::new(process())));
    SnapshotSource::new(Arc::new(origin), bytes_max)
}

fn job(name: &str, deadline_ms: u64) -> CheckpointJob {
    CheckpointJob {
        migration: MigrationId::new(name).unwrap(),
        parent: None,
        leave_running: true,
        deadline: Duration::from_millis(deadline_ms),
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        for name in ["yield", "repeat", "pre-dump", "forget", "retire"] {
            write_snapshot(directory.path(), &MigrationId::new(name).unwrap(), Duration::ZERO, &[5; 1_000_000]).unwrap();
        }
        let child = process();
        let id = child.id().unwrap();
        let origin = DirectoryOrigin::new(directory.path(), 1 << 20, Box::new(ChildProcess::new(child)));
        let source = Arc::new(SnapshotSource::new(Arc::new(origin), 1 << 20));
        // The process is reaped as soon as it is ended, so its entry tells whether it lives.
        let alive = move || std::path::Path::new(&format!("/proc/{id}")).exists();
        CheckpointSubject { source, alive: Box::new(alive), keep: Box::new(directory) }
    };
    conformance::checkpoint(async || make()).await;
}

#[tokio::test]
async fn waits_for_the_file_and_takes_the_measured_freeze() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory, 1 << 20);
    let path = directory.path().to_owned();
    let writer = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(60));
        write_snapshot(&path, &MigrationId::new("m").unwrap(), Duration::from_micros(1_234), b"state").unwrap();
    });
    let checkpoint = source.checkpoint(&job("m", 5_000)).await.unwrap();
    writer.await.unwrap();
    assert_eq!((checkpoint.archive_bytes, checkpoint.freeze), (5, Duration::from_micros(1_234)));
    source.discard(&checkpoint.migration).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left over");
}

#[tokio::test]
async fn errs_on_silence_size_rubbish_and_a_dead_process() {
    let directory = tempfile::tempdir().unwrap();
    let source = source(&directory, 100);
    assert_eq!(source.checkpoint(&job("silent", 50)).await.unwrap_err().kind(), ErrorKind::Timeout);
    write_snapshot(directory.path(), &MigrationId::new("large").unwrap(), Duration::ZERO, &[0; 101]).unwrap();
    assert_eq!(source.checkpoint(&job("large", 5_000)).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    std::fs::write(directory.path().join("rubbish.snapshot"), b"something else altogether").unwrap();
    assert_eq!(source.checkpoint(&job("rubbish", 5_000)).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(source.status().await.unwrap(), SourceStatus::Present);
    source.retire(&MigrationId::new("m").unwrap()).await.unwrap();
    assert_eq!(source.status().await.unwrap(), SourceStatus::Gone);
    assert_eq!(source.checkpoint(&job("dead", 5_000)).await.unwrap_err().kind(), ErrorKind::NotFound);
}
