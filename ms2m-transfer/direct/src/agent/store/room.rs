//! Room on the disk, taken before the first byte.

use std::fs::File;
use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::failed;

/// Bytes that the file system of this directory has left.
pub(crate) fn free_bytes(directory: &Path) -> Result<u64> {
    let disk = statvfs(directory).map_err(|error| failed("measured", directory)(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Reserves room for a file of this size, of which `held_bytes` are there, and leaves at least `free_bytes_min` to others.
pub(super) fn reserve(file: &File, path: &Path, held_bytes: u64, archive_bytes: u64, free_bytes_min: u64) -> Result<()> {
    let directory = path.parent().unwrap_or(path);
    let free_bytes = free_bytes(directory)?;
    // What is reserved already is not free any more; asking again for it would refuse a resumption on a nearly full disk.
    let reserved_bytes = rustix::fs::fstat(file).map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512).max(held_bytes);
    let missing_bytes = archive_bytes.saturating_sub(reserved_bytes);
    if missing_bytes.saturating_add(free_bytes_min) > free_bytes {
        let message = "the target's disk has no room for the checkpoint; make room there, or move to another node";
        return Err(Error::undo(ErrorKind::LimitExceeded, message)
            .with("missing_bytes", missing_bytes)
            .with("free_bytes", free_bytes)
            .with("kept_free_bytes", free_bytes_min));
    }
    if archive_bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, archive_bytes) {
        // There the count of free bytes above must do.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(failed("reserved", path)(error.into())),
    }
}
