//! What is kept for a container that is restored, and how it goes: with the container, or when nobody is at it any more.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ms2m_core::Result;

use crate::local::bundle::{io, make_directory, remove_directory, write};
use crate::local::cgroup::Cgroup;
use crate::local::detach_below;
use crate::local::launch::launch_cgroup;

/// How long processes that were killed may take to end.
pub(super) const END: Duration = Duration::from_secs(20);
/// There when the container was restored: it runs already when its engine starts it.
pub(super) const RESTORED: &str = "restored";
const LOCK: &str = "lock";

/// Holds what is kept for a container that is not restored yet, for as long as the file is open. It comes before everything else of it, and goes behind everything else.
pub(super) fn hold(own: &Path) -> Result<File> {
    make_directory(own.parent().unwrap_or(own), 0o700)?;
    let path = lock(own);
    let file = File::options().create(true).append(true).open(&path).map_err(io("the lock", &path))?;
    file.lock().map_err(io("the lock", &path))?;
    Ok(file)
}

fn lock(own: &Path) -> PathBuf {
    own.with_added_extension(LOCK)
}

/// Removes what restores of a container have left, also one that was interrupted. Missing is fine.
///
/// # Errors
/// When something of it may still run.
pub async fn remove_leftovers(own: &Path, id: &str) -> Result<()> {
    let own = own.join(id);
    if own.exists() { end(&own, id).await } else { Ok(()) }
}

/// The same for all containers whose restore was killed before its end, which their engine does not know of.
///
/// # Errors
/// As with [`remove_leftovers`].
pub async fn remove_abandoned(own: &Path) -> Result<()> {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let lock = entry.path();
        let own = lock.with_extension("");
        let Some(id) = own.file_name().and_then(OsStr::to_str).filter(|_| lock.extension() == Some(OsStr::new(LOCK))) else { continue };
        let Ok(file) = File::open(&lock) else { continue };
        // In this order: whoever has restored it says so before the lock is free.
        if file.try_lock().is_ok() && !own.join(RESTORED).exists() {
            end(&own, id).await?;
        }
    }
    Ok(())
}

async fn end(own: &Path, id: &str) -> Result<()> {
    Cgroup::named(&launch_cgroup(id)).kill(END).await?;
    remove_own(own, id)
}

pub(super) fn remove_own(own: &Path, id: &str) -> Result<()> {
    detach_below(own)?;
    Cgroup::named(&launch_cgroup(id)).remove()?;
    remove_directory(own)?;
    remove_lock(own)
}

/// The container is its engine's from now on.
pub(super) fn restored(own: &Path) -> Result<()> {
    write(&own.join(RESTORED), "")?;
    remove_lock(own)
}

fn remove_lock(own: &Path) -> Result<()> {
    match std::fs::remove_file(lock(own)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("the lock", own)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_or_restored_stays() {
        let state = tempfile::tempdir().unwrap();
        let own = |id: &str| state.path().join(id);
        let mut held = Vec::new();
        for id in ["works", "restored", "nearly", "killed", "killed.at.once"] {
            held.push(hold(&own(id)).unwrap());
            make_directory(&own(id), 0o700).unwrap();
        }
        std::fs::remove_dir(own("killed.at.once")).unwrap();
        restored(&own("restored")).unwrap();
        std::fs::write(own("nearly").join(RESTORED), "").unwrap();
        held.truncate(1);
        remove_abandoned(state.path()).await.unwrap();
        let there = |id: &str| (own(id).exists(), lock(&own(id)).exists());
        assert_eq!([there("works"), there("killed"), there("killed.at.once")], [(true, true), (false, false), (false, false)]);
        assert_eq!([there("restored"), there("nearly")], [(true, false), (true, true)]);
        for id in ["restored", "nearly", "nearly"] {
            remove_leftovers(state.path(), id).await.unwrap();
            assert_eq!(there(id), (false, false));
        }
        remove_abandoned(&state.path().join("nowhere")).await.unwrap();
    }
}
