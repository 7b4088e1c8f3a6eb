//! [`Store`]: where an agent keeps what arrives.

mod boot;
mod collect;
mod incomplete;
mod lease;
mod names;
mod room;

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ms2m_core::{Digest, DigestAlgorithm, Error, ErrorKind, MigrationId, Part, Result};
use rustix::fs::{FlockOperation, flock};

pub use collect::Collected;
pub(crate) use incomplete::Incomplete;
pub(crate) use lease::{Call, Lease};

use crate::wire::Stored;
use lease::Slot;

/// How an agent keeps what arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// Where. Made when missing, for its owner only.
    pub directory: PathBuf,
    /// Largest part, in bytes.
    pub archive_bytes_max: u64,
    /// Room on the disk that is left to others, in bytes.
    pub free_bytes_min: u64,
    /// What broke off and was not taken up again for so long is removed.
    pub incomplete_age_max: Duration,
    /// What has arrived and was not discarded for so long is removed: its migration is over, or nobody knows of it.
    pub age_max: Duration,
}

impl StoreOptions {
    /// 64 GiB for a part at most, 1 GiB left to others; an hour for what broke off, a day for what arrived.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            archive_bytes_max: 64 << 30,
            free_bytes_min: 1 << 30,
            incomplete_age_max: Duration::from_secs(3600),
            age_max: Duration::from_secs(24 * 3600),
        }
    }
}

/// A part that has become visible.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) stored: Stored,
    /// What this part was before, which is to be removed.
    pub(crate) former: Vec<Stored>,
}

/// A directory of checkpoints, used by one agent at a time.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    slots: Mutex<HashMap<(MigrationId, Part), Arc<Slot>>>,
    unnamed: AtomicU64,
    /// Held as long as this lives.
    _lock: File,
}

impl Store {
    /// Opens the directory, for this process alone, and removes what has become too old, and what a crash of the machine has damaged.
    ///
    /// # Errors
    /// When it cannot be made or written, or another agent uses it.
    pub fn open(options: StoreOptions) -> Result<Arc<Self>> {
        let directory = &options.directory;
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("made", directory))?;
        let path = directory.join(names::LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed("made", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let message = "another agent uses this directory; end it, or give this one a directory of its own";
            Error::fatal(ErrorKind::AlreadyExists, message).with("path", directory.display()).caused_by(io::Error::from(error))
        })?;
        let store = Arc::new(Self { options, slots: Mutex::default(), unnamed: AtomicU64::new(0), _lock: lock });
        store.remove_unnamed()?;
        let collected = store.collect()?;
        if collected != Collected::default() {
            tracing::info!(?collected, "removed what has become too old");
        }
        store.check_after_boot()?;
        Ok(store)
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Bytes that are left for checkpoints. Blocks.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        Ok(room::free_bytes(&self.options.directory)?.saturating_sub(self.options.free_bytes_min))
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<(MigrationId, Part), Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self, migration: &MigrationId) -> PathBuf {
        self.options.directory.join(migration.as_str())
    }

    /// The file of a part that has arrived.
    pub(crate) fn file(&self, migration: &MigrationId, part: Part, digest: Digest) -> PathBuf {
        self.directory(migration).join(names::arrived(part, digest))
    }

    /// Too large is said before anything else is done.
    pub(crate) fn check_size(&self, archive_bytes: u64) -> Result<()> {
        if archive_bytes <= self.options.archive_bytes_max {
            return Ok(());
        }
        let message = "the checkpoint is larger than the agent takes; raise its limit, or make the process smaller";
        Err(Error::fatal(ErrorKind::LimitExceeded, message)
            .with("archive_bytes", archive_bytes)
            .with("archive_bytes_max", self.options.archive_bytes_max))
    }

    /// A file for an upload of which it is not known yet whose it is. `None`: its size is not known either. Blocks.
    pub(crate) fn unnamed(&self, archive_bytes: Option<u64>, algorithm: DigestAlgorithm) -> Result<Incomplete> {
        let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
        let path = self.options.directory.join(format!("{}{number}.part", names::UNNAMED));
        let mut incomplete = Incomplete::open(path, archive_bytes.unwrap_or(0), algorithm, None, self.options.free_bytes_min)?;
        incomplete.back_to(0)?;
        Ok(incomplete)
    }

    /// Makes a checked part visible. Blocks.
    pub(crate) fn publish(&self, migration: &MigrationId, part: Part, digest: Digest, incomplete: Incomplete) -> Result<Published> {
        let archive_bytes = incomplete.bytes();
        let path = self.file(migration, part, digest);
        incomplete.publish(&path)?;
        let mut former = self.arrived(migration)?;
        former.retain(|other| other.part == part && other.digest != digest);
        Ok(Published { stored: Stored::new(migration, part, digest, archive_bytes, &path), former })
    }

    /// This part, if it has arrived. Blocks.
    pub(crate) fn find(&self, migration: &MigrationId, part: Part, digest: Digest) -> Result<Option<Stored>> {
        let path = self.file(migration, part, digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Stored::new(migration, part, digest, metadata.len(), &path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// What has arrived of a migration. Blocks.
    pub(crate) fn arrived(&self, migration: &MigrationId) -> Result<Vec<Stored>> {
        let directory = self.directory(migration);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("listed", &directory))?,
        };
        let mut arrived = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("listed", &directory))?;
            let Some(names::Entry::Arrived(part, digest)) = entry.file_name().to_str().and_then(names::parse) else { continue };
            // Replaced just now: nothing has arrived under this name any more.
            let Ok(metadata) = entry.metadata() else { continue };
            arrived.push(Stored::new(migration, part, digest, metadata.len(), &entry.path()));
        }
        arrived.sort_by_key(|stored| stored.part);
        Ok(arrived)
    }

    /// Everything that has arrived. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        for migration in self.migrations()? {
            all.extend(self.arrived(&migration)?);
        }
        Ok(all)
    }

    fn migrations(&self) -> Result<Vec<MigrationId>> {
        let directory = &self.options.directory;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed("listed", directory))? {
            let entry = entry.map_err(failed("listed", directory))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.extend(names::migration(&entry.path()));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// An error of a file, with what to do about a full disk.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let error = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                let message = "the target's disk has no room for the checkpoint; make room there, or move to another node";
                Error::undo(ErrorKind::LimitExceeded, message).caused_by(error)
            }
            io::ErrorKind::NotFound => Error::undo(ErrorKind::NotFound, "there is no such part of a checkpoint").caused_by(error),
            _ => Error::retry(ErrorKind::Unavailable, format!("a file of the agent cannot be {what}")).caused_by(error),
        };
        error.with("path", path)
    }
}

/// Runs what blocks in a thread of its own.
pub(crate) async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
    tokio::task::spawn_blocking(work).await.map_err(died)?
}
