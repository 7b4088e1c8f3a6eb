//! The one moment in which a part becomes visible, and who may take it back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ms2m_core::{Error, ErrorKind, Part, Result};

use crate::backend::failed;

/// Two calls of this process for one part never remove each other's. What other processes do is locked by the directory, where the file
/// system can.
static PUBLISHING: Mutex<()> = Mutex::new(());

/// What has become of a call, between the thread that writes and the future that may be dropped.
#[derive(Debug, Default)]
enum Fate {
    #[default]
    Open,
    /// Nobody waits for it any more.
    GivenUp,
    Published(PathBuf),
}

/// Shared by both. Whoever drops its [`Claim`] before the call has ended takes back what was published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publication(Arc<Mutex<Fate>>);

/// Held by the future.
#[derive(Debug)]
pub(crate) struct Claim(Option<Publication>);

impl Publication {
    fn lock(&self) -> MutexGuard<'_, Fate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claim(&self) -> Claim {
        Claim(Some(self.clone()))
    }

    /// Gives a complete file its name, in place of what the part was before; when it is to be `durable`, on disk.
    pub(crate) fn publish(&self, file: &Path, directory: &Path, part: Part, name: &str, durable: bool) -> Result<()> {
        let _others = PUBLISHING.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = File::open(directory).map_err(failed("opened", directory))?;
        // A file system without locks leaves it to the check below.
        let _ = handle.lock();
        let path = directory.join(name);
        {
            let mut fate = self.lock();
            if matches!(*fate, Fate::GivenUp) {
                return Err(Error::retry(ErrorKind::Cancelled, "the transfer was given up"));
            }
            std::fs::rename(file, &path).map_err(failed("renamed", file))?;
            *fate = Fate::Published(path.clone());
        }
        remove_others(directory, part, name)?;
        if durable {
            // The name is as safe as the bytes only from here on.
            handle.sync_all().map_err(failed("written", directory))?;
        }
        if !path.exists() {
            let message = "another process has sent the same part of this checkpoint at the same time; send it once more";
            return Err(Error::retry(ErrorKind::Unavailable, message));
        }
        Ok(())
    }
}

impl Claim {
    /// The call has ended well.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(publication) = &self.0 else { return };
        let mut fate = publication.lock();
        if let Fate::Published(path) = &*fate {
            // It may have been replaced meanwhile.
            let _ = std::fs::remove_file(path);
        }
        *fate = Fate::GivenUp;
    }
}

/// This one replaces what the same part was before.
fn remove_others(directory: &Path, part: Part, name: &str) -> Result<()> {
    let prefix = format!("{part}.");
    for entry in std::fs::read_dir(directory).map_err(failed("listed", directory))?.flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(&prefix) && other != name {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removed", &entry.path())(error)),
                _ => {}
            }
        }
    }
    Ok(())
}
