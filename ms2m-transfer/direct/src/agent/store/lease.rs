//! [`Lease`]: one connection at a time writes a part.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ms2m_core::{Digest, Error, ErrorKind, MigrationId, Part, Result};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::incomplete::Progress;
use super::{Incomplete, Published, Store, names};
use crate::wire::DIGEST_OF_UPLOADS;

/// How long a connection that was told to stop may take for it: it ends at its next piece.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// Digests of broken-off uploads that are kept, with some 2 kB for each mark; those of others are computed again from their files.
const KNOWN_MAX: usize = 64;

/// Who sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// Names one call of `send`, over all its connections.
    pub(crate) name: String,
    /// Which of its connections it is, from 0.
    pub(crate) attempt: u32,
}

/// Calls that have begun closer together than this are of one clock. A request is not on its way for so long.
const ONE_CLOCK_US: u64 = 60_000_000;

impl Call {
    /// When it began, by its client's clock, if the name says so.
    fn begun_us(&self) -> Option<u64> {
        u64::from_str_radix(self.name.split_once('-')?.0, 16).ok()
    }

    /// Whether it is later than who has the part. A request can be overtaken on its way: its client has given it up since, for another connection or
    /// another call. And the first connection of a later call may never have come.
    fn may_take_from(&self, owner: &Self) -> bool {
        if self.name == owner.name {
            return self.attempt >= owner.attempt;
        }
        match (self.begun_us(), owner.begun_us()) {
            (Some(ours), Some(theirs)) if ours.abs_diff(theirs) < ONE_CLOCK_US => ours >= theirs,
            _ => self.attempt == 0,
        }
    }
}

/// One part that is on its way.
#[derive(Debug)]
pub(super) struct Slot {
    owner: Mutex<Owner>,
    /// What the last connection knew. Locked by the one that writes.
    known: Arc<AsyncMutex<Option<Progress>>>,
}

#[derive(Debug)]
struct Owner {
    call: Call,
    stop: CancellationToken,
}

impl Slot {
    fn owner(&self) -> MutexGuard<'_, Owner> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write a part. Given back by [`Lease::keep`] for the next connection to go on, or else without anything left.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    migration: MigrationId,
    part: Part,
    slot: Arc<Slot>,
    /// Cancelled when this connection has lost the part to another.
    pub(crate) stop: CancellationToken,
    known: OwnedMutexGuard<Option<Progress>>,
    path: PathBuf,
}

impl Store {
    /// Takes a part over. The later call stops the one before it, and the later connection of a call the earlier one.
    pub(crate) async fn lease(self: &Arc<Self>, migration: &MigrationId, part: Part, call: &Call) -> Result<Lease> {
        let taken = || {
            let message = "a later call sends this part now; this one has ended";
            Error::undo(ErrorKind::AlreadyExists, message).with("migration", migration).with("part", part)
        };
        let stop = CancellationToken::new();
        let slot = {
            let mut slots = self.slots();
            let key = (migration.clone(), part);
            let new = || Owner { call: call.clone(), stop: stop.clone() };
            if let Some(slot) = slots.get(&key) {
                let mut owner = slot.owner();
                if !call.may_take_from(&owner.call) {
                    return Err(taken());
                }
                owner.stop.cancel();
                *owner = new();
                Arc::clone(slot)
            } else {
                let slot = Arc::new(Slot { owner: Mutex::new(new()), known: Arc::default() });
                slots.insert(key, Arc::clone(&slot));
                slot
            }
        };
        let known = tokio::time::timeout(STOPS_WITHIN, Arc::clone(&slot.known).lock_owned()).await.map_err(|_| {
            Error::retry(ErrorKind::Unavailable, "an earlier connection still writes this part").with("migration", migration)
        })?;
        // Meanwhile it may have been taken over in turn.
        if stop.is_cancelled() {
            return Err(taken());
        }
        let path = self.directory(migration).join(names::incomplete(part));
        Ok(Lease { store: Arc::clone(self), migration: migration.clone(), part, slot, stop, known, path })
    }

    /// Ends this call's upload and removes what has arrived of it. Of another call's nothing.
    pub(crate) async fn abandon(self: &Arc<Self>, migration: &MigrationId, part: Part, call: &str) -> Result<()> {
        let known = self.slots().contains_key(&(migration.clone(), part));
        if !known {
            return Ok(());
        }
        match self.lease(migration, part, &Call { name: call.to_owned(), attempt: u32::MAX }).await {
            Ok(lease) => lease.remove().await,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes all parts of a migration, finished or not. Missing is fine.
    ///
    /// # Errors
    /// When something may be left over.
    pub async fn discard(self: &Arc<Self>, migration: &MigrationId) -> Result<()> {
        let parts: Vec<Part> = self.slots().keys().filter(|(of, _)| of == migration).map(|(_, part)| *part).collect();
        for part in parts {
            match self.lease(migration, part, &Call { name: String::new(), attempt: 0 }).await {
                Ok(lease) => lease.remove().await?,
                // A later call has come: it sends what it sends after this discard.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let directory = self.directory(migration);
        super::blocking(move || match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(super::failed("removed", &directory)(error)),
            _ => Ok(()),
        })
        .await
    }

    /// Takes a part that nobody writes now, for as long as it takes to remove it.
    pub(super) fn lease_if_idle(self: &Arc<Self>, migration: &MigrationId, part: Part) -> Option<Lease> {
        let stop = CancellationToken::new();
        let mut slots = self.slots();
        let owner = || Mutex::new(Owner { call: Call { name: String::new(), attempt: 0 }, stop: stop.clone() });
        let slot = slots.entry((migration.clone(), part)).or_insert_with(|| Arc::new(Slot { owner: owner(), known: Arc::default() }));
        let slot = Arc::clone(slot);
        drop(slots);
        let known = Arc::clone(&slot.known).try_lock_owned().ok()?;
        let path = self.directory(migration).join(names::incomplete(part));
        Some(Lease { store: Arc::clone(self), migration: migration.clone(), part, slot, stop, known, path })
    }

    /// Forgets parts that nobody writes and of which nothing is known.
    pub(super) fn forget_idle(&self) {
        self.slots().retain(|_, slot| Arc::strong_count(slot) > 1 || slot.known.try_lock().is_ok_and(|known| known.is_some()));
    }
}

impl Lease {
    /// The file of what is on its way.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of a file that was removed.
    pub(super) fn forget(mut self) {
        *self.known = None;
    }

    /// Opens the file and reserves its room.
    pub(crate) async fn open(&mut self, archive_bytes: u64) -> Result<Incomplete> {
        let (known, path, free_bytes_min) = (self.known.take(), self.path.clone(), self.store.options.free_bytes_min);
        let directory = self.store.directory(&self.migration);
        super::blocking(move || {
            Incomplete::open(path, archive_bytes, DIGEST_OF_UPLOADS, known, free_bytes_min).inspect_err(|_| remove_if_empty(&directory))
        })
        .await
    }

    /// Leaves what has arrived for the next connection of this call or a later one.
    pub(crate) fn keep(mut self, incomplete: Incomplete) {
        if self.store.slots().len() <= KNOWN_MAX {
            *self.known = Some(incomplete.into_progress());
        }
    }

    /// Checks the digest and makes the part visible; removes it if it is wrong.
    pub(crate) async fn publish(self, incomplete: Incomplete, expected: Digest) -> Result<Published> {
        // In one piece: whoever drops this future does not get half of it, and the lease ends after it.
        super::blocking(move || {
            let digest = incomplete.check(Some(expected)).inspect_err(|_| {
                incomplete.remove();
                remove_if_empty(&self.store.directory(&self.migration));
            })?;
            self.store.publish(&self.migration, self.part, digest, incomplete)
        })
        .await
    }

    /// Removes what has arrived.
    pub(crate) async fn remove(self) -> Result<()> {
        super::blocking(move || {
            match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(super::failed("removed", &self.path)(error)),
                _ => {}
            }
            remove_if_empty(&self.store.directory(&self.migration));
            Ok(())
        })
        .await
    }
}

/// The last file takes the directory along.
fn remove_if_empty(directory: &Path) {
    // Fails when it is not.
    let _ = std::fs::remove_dir(directory);
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slots = self.store.slots();
        // Known by the table and by this lease only, with nothing to go on from: nobody needs it any more.
        if self.known.is_none() && Arc::strong_count(&self.slot) <= 2 {
            let key = (self.migration.clone(), self.part);
            if slots.get(&key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
                slots.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(begun_s: u64, attempt: u32) -> Call {
        Call { name: format!("{:016x}-0000000a", begun_s * 1_000_000), attempt }
    }

    #[test]
    fn the_later_one_takes_the_part_and_no_other() {
        for (late, owner) in [(call(7, 0), call(7, 1)), (call(7, 2), call(7, 3)), (call(7, 0), call(8, 0)), (call(7, 5), call(60, 0))] {
            assert!(!late.may_take_from(&owner), "{late:?} {owner:?}");
            assert!(owner.may_take_from(&late), "{owner:?} {late:?}");
        }
        // Its first connection has never come.
        assert!(call(8, 3).may_take_from(&call(7, 1)));
        // Without a clock in common, a new call is later, and one that comes again has been stopped.
        let named = |name: &str, attempt| Call { name: name.to_owned(), attempt };
        for (one, other) in [(call(7, 0), call(600, 0)), (named("", 0), call(7, 0)), (named("old", 0), named("new", 0))] {
            assert!(one.may_take_from(&other), "{one:?} {other:?}");
            assert!(!Call { attempt: 1, ..one.clone() }.may_take_from(&other), "{one:?} {other:?}");
        }
    }
}
