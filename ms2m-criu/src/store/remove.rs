//! Removing a directory, for certain.

use std::io;
use std::path::Path;

use ms2m_core::Result;

use super::failed;

/// Somebody who is just ending may still write a file.
const ATTEMPTS: u32 = 5;

/// Removes a directory with everything in it. Missing is `Ok`.
pub(super) fn tree(path: &Path) -> Result<()> {
    for attempt in 1.. {
        match std::fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(error) if attempt >= ATTEMPTS => return Err(failed("removing a directory", path, error)),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    unreachable!("the attempts end")
}
