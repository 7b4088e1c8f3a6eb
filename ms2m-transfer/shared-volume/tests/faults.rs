//! What goes wrong in a shared directory: a clear error with what to do, and nothing left. Prints a table.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use ms2m_core::{ByteStream, Error, ErrorKind, MigrationId, Part, TransferBackend as _, TransferJob};
use ms2m_transfer_shared_volume::SharedVolume;

/// Says that this process sees a full disk, and where.
const SMALL_DISK: &str = "MS2M_TEST_SMALL_DISK";

fn job(bytes: usize, deadline: Duration) -> TransferJob {
    TransferJob { migration: MigrationId::new("m").unwrap(), part: Part::Final, archive_bytes: bytes as u64, deadline }
}

fn body(byte: u8, bytes: usize) -> ByteStream {
    let piece = Bytes::from(vec![byte; 1 << 20]);
    Box::pin(stream::iter((0..bytes).step_by(1 << 20).map(move |at| Ok(piece.slice(..(bytes - at).min(1 << 20))))))
}

fn row(what: &str, error: &Error, left: &[PathBuf]) {
    println!("| {what} | {:?}, {:?}: {} | {} files left |", error.kind(), error.verdict(), error.message(), left.len());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The thread that writes ends a moment after its caller has gone.
async fn empty(folder: &Path) -> bool {
    for _ in 0..100 {
        if files(folder).is_empty() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn what_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let volume = SharedVolume::new(folder.path()).limited_to(64 << 20);
    let minute = Duration::from_secs(60);
    let broken = || Err(Error::retry(ErrorKind::Unavailable, "the source broke off"));
    let stalls = body(1, 4 << 20).chain(std::future::pending().into_stream());
    let cases: [(&str, TransferJob, ByteStream, ErrorKind); 5] = [
        ("larger than allowed", job(65 << 20, minute), body(1, 65 << 20), ErrorKind::LimitExceeded),
        ("shorter than announced", job(5 << 20, minute), body(1, 4 << 20), ErrorKind::Corrupt),
        ("longer than announced", job(3 << 20, minute), body(1, 4 << 20), ErrorKind::Corrupt),
        ("breaks off", job(8 << 20, minute), Box::pin(body(1, 4 << 20).chain(stream::iter([broken()]))), ErrorKind::Unavailable),
        ("stalls", job(8 << 20, Duration::from_millis(200)), Box::pin(stalls), ErrorKind::Timeout),
    ];
    for (what, job, body, kind) in cases {
        let error = volume.send(&job, body).await.unwrap_err();
        assert!(empty(folder.path()).await, "{what}");
        row(what, &error, &files(folder.path()));
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let volume = SharedVolume::new(folder.path());
    // At every moment from the first write to after the last: what is not finished must not become visible behind the caller's back.
    for micros in (0..40_000).step_by(1_000) {
        let job = job(8 << 20, Duration::from_secs(60));
        let sent = tokio::time::timeout(Duration::from_micros(micros), volume.send(&job, body(1, 8 << 20))).await;
        if let Ok(receipt) = sent {
            drop(volume.open(&receipt.unwrap(), 0).await.unwrap());
            volume.discard(&job.migration).await.unwrap();
        }
        assert!(empty(folder.path()).await, "dropped after {micros} us: {:?}", files(folder.path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_for_one_part() {
    let folder = tempfile::tempdir().unwrap();
    let volume = SharedVolume::new(folder.path());
    let job = job(3 << 20, Duration::from_secs(60));
    for _ in 0..20 {
        let sent = futures_util::future::join(volume.send(&job, body(1, 3 << 20)), volume.send(&job, body(2, 3 << 20))).await;
        let receipts = [sent.0.unwrap(), sent.1.unwrap()];
        let mut readable = 0;
        for (receipt, byte) in receipts.iter().zip([1, 2]) {
            // One has replaced the other; what can be read is never a mixture.
            if let Ok(stream) = volume.open(receipt, 0).await {
                let read = stream.map(|piece| piece.unwrap()).collect::<Vec<_>>().await.concat();
                assert!(read == vec![byte; 3 << 20]);
                readable += 1;
            }
        }
        assert_eq!(readable, 1);
        assert_eq!(files(folder.path()).len(), 1);
    }
}

#[tokio::test]
async fn a_full_disk() {
    if let Some(folder) = std::env::var_os(SMALL_DISK) {
        return on_a_small_disk(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    // In namespaces of its own, where a small disk can be mounted; also by somebody who is not root, where the kernel lets him.
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(folder.path());
        command
    };
    const MOUNT: &str = "mount -t tmpfs -o size=8m tmpfs \"$1\"";
    if !unshare(MOUNT).output().is_ok_and(|output| output.status.success()) {
        println!("left out: no small disk can be mounted here (unshare --user --mount)");
        return;
    }
    let run = unshare(&format!("{MOUNT} && exec \"$2\" --exact a_full_disk --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .env(SMALL_DISK, folder.path())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&run.stdout).lines().filter(|line| line.contains('|')).collect::<Vec<_>>().join("\n"));
    println!();
    assert!(run.status.success(), "{run:?}");
}

async fn on_a_small_disk(folder: &Path) {
    let volume = SharedVolume::new(folder.join("shared"));
    let large = job(20 << 20, Duration::from_secs(60));
    let error = volume.send(&large, body(1, 20 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.message().contains("make room"), "{error}");
    assert!(empty(folder).await);
    row("the disk is full in the middle", &error, &files(folder));
    // Zeroes take no room.
    volume.send(&large, body(0, 20 << 20)).await.unwrap();
    volume.discard(&large.migration).await.unwrap();
    volume.send(&job(4 << 20, Duration::from_secs(60)), body(1, 4 << 20)).await.unwrap();
}
