//! What nobody asks for any more.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ms2m_core::Result;

use super::{Store, failed, names};
use crate::wire::Stored;

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Uploads that broke off.
    pub incomplete: u64,
    /// Parts that had arrived.
    pub arrived: u64,
    /// Bytes of both.
    pub bytes: u64,
}

impl Store {
    /// Removes what is older than the options allow, but nothing that is being written. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be read. What cannot be removed stays for the next time.
    pub fn collect(self: &Arc<Self>) -> Result<Collected> {
        self.collect_if(|_| true)
    }

    /// The same, asking for each part that has arrived whether it may be removed now.
    pub(crate) fn collect_if(self: &Arc<Self>, may_go: impl Fn(&Stored) -> bool) -> Result<Collected> {
        let mut collected = Collected::default();
        for migration in self.migrations()? {
            let directory = self.directory(&migration);
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                match entry.file_name().to_str().and_then(names::parse) {
                    Some(names::Entry::Incomplete(part)) => {
                        // Nobody comes in between as long as it is held.
                        let Some(lease) = self.lease_if_idle(&migration, part) else { continue };
                        if let Some(bytes) = remove_if_older(lease.path(), self.options.incomplete_age_max) {
                            collected.incomplete += 1;
                            collected.bytes += bytes;
                            lease.forget();
                        }
                    }
                    Some(names::Entry::Arrived(part, digest)) => {
                        let stored = |archive_bytes| Stored::new(&migration, part, digest, archive_bytes, &entry.path());
                        if let Some(bytes) = older(&entry.path(), self.options.age_max)
                            && may_go(&stored(bytes))
                            && std::fs::remove_file(entry.path()).is_ok()
                        {
                            collected.arrived += 1;
                            collected.bytes += bytes;
                        }
                    }
                    None => {}
                }
            }
            // Succeeds when it is empty.
            let _ = std::fs::remove_dir(&directory);
        }
        self.forget_idle();
        Ok(collected)
    }

    /// Uploads without a name cannot be gone on with after a restart.
    pub(super) fn remove_unnamed(&self) -> Result<()> {
        let directory = &self.options.directory;
        for entry in std::fs::read_dir(directory).map_err(failed("listed", directory))?.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(names::UNNAMED)) {
                std::fs::remove_file(entry.path()).map_err(failed("removed", &entry.path()))?;
            }
        }
        Ok(())
    }
}

/// The size of what was removed.
fn remove_if_older(path: &Path, limit: Duration) -> Option<u64> {
    older(path, limit).filter(|_| std::fs::remove_file(path).is_ok())
}

/// The size of what is older.
fn older(path: &Path, limit: Duration) -> Option<u64> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    // Of the future: the clock was set back, and it will age.
    let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
    (age > limit).then_some(metadata.len())
}
