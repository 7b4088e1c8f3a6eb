//! Memory that is at hand when a container stands still.
//!
//! Where a hypervisor takes free memory back (a balloon, free page reporting), the first write to a page waits for the host. So a file is written beforehand
//! and removed when memory is needed: what was freed last is handed out first.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use procfs::Current as _;
use tokio::task::spawn_blocking;

/// In a migration's directory, and removed with it.
const NAME: &str = "reserve";
const PIECE_BYTES: usize = 1 << 20;
/// More than this part of what memory and disk have left is not taken from others.
const PART_MAX: u64 = 4;

/// Holds this much, in place of what was held before. Where that cannot be, nothing is held, and all goes on.
pub(crate) async fn hold(directory: &Path, bytes: u64) {
    let directory = directory.to_owned();
    let held = spawn_blocking(move || {
        let file = directory.join(NAME);
        if !is_plenty(&directory, bytes) || write(&file, bytes).is_err() {
            let _ = std::fs::remove_file(file);
        }
    });
    drop(held.await);
}

/// Begins to give back what is held.
pub(crate) fn release(directory: &Path) {
    let file = directory.join(NAME);
    drop(spawn_blocking(move || std::fs::remove_file(file)));
}

fn is_plenty(directory: &Path, bytes: u64) -> bool {
    let memory = procfs::Meminfo::current().ok().and_then(|memory| memory.mem_available);
    let disk = rustix::fs::statvfs(directory).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    [memory, disk].into_iter().all(|available| available.is_some_and(|available| bytes <= available / PART_MAX))
}

fn write(file: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(file)?;
    let (piece, mut left) = (vec![0; PIECE_BYTES], bytes);
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64);
        file.write_all(&piece[..now as usize])?;
        left -= now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_given_back_and_nobodys_last_memory_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let held = || std::fs::metadata(directory.path().join(NAME)).map(|file| file.len()).ok();
        for bytes in [3 * PIECE_BYTES as u64 + 5, 10] {
            hold(directory.path(), bytes).await;
            assert_eq!(held(), Some(bytes));
        }
        hold(directory.path(), u64::MAX).await;
        assert_eq!(held(), None);
        hold(directory.path(), 10).await;
        release(directory.path());
        while held().is_some() {
            tokio::task::yield_now().await;
        }
        release(directory.path());
        hold(&directory.path().join("missing"), 10).await;
    }
}
