//! [`LiveFile`]: admits what a file names, which somebody else keeps up to date.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde::Deserialize;

use super::admission::{Action, Admission, stranger};
use crate::identity::Peer;

/// Admits what a live migration names, and no more. The file is JSON, and is read again when it changes:
///
/// ```json
/// { "operators": ["controller"],
///   "migrations": [ { "migration": "orders-7", "peers": ["node-a"], "archive_bytes_max": 1073741824 } ] }
/// ```
///
/// Operators may list, read and discard everything, and send nothing. As long as the file is missing or cannot be read, nothing is
/// admitted.
#[derive(Debug)]
pub struct LiveFile {
    path: PathBuf,
    read: Mutex<Option<(SystemTime, u64, Arc<Live>)>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Live {
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    migrations: Vec<Admitted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admitted {
    migration: MigrationId,
    peers: Vec<String>,
    #[serde(default)]
    archive_bytes_max: Option<u64>,
}

impl LiveFile {
    /// Of this file, which need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), read: Mutex::default() }
    }

    fn live(&self) -> Result<Arc<Live>> {
        let unreadable = || {
            let message = "the agent cannot read the file that names the live migrations, and admits nobody until it can";
            Error::retry(ErrorKind::Unavailable, message).with("path", self.path.display())
        };
        let metadata = std::fs::metadata(&self.path).map_err(|error| unreadable().caused_by(error))?;
        let (modified, bytes) = (metadata.modified().map_err(|error| unreadable().caused_by(error))?, metadata.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, length, live)) = &*read
            && (*at, *length) == (modified, bytes)
        {
            return Ok(Arc::clone(live));
        }
        let text = std::fs::read(&self.path).map_err(|error| unreadable().caused_by(error))?;
        let live = Arc::new(serde_json::from_slice::<Live>(&text).map_err(|error| unreadable().caused_by(error))?);
        *read = Some((modified, bytes, Arc::clone(&live)));
        Ok(live)
    }
}

fn too_large(bytes: u64, max: u64) -> Error {
    let message = "the checkpoint is larger than its migration allows; raise that limit";
    Error::fatal(ErrorKind::LimitExceeded, message).with("archive_bytes", bytes).with("archive_bytes_max", max)
}

#[async_trait]
impl Admission for LiveFile {
    async fn admit(&self, peer: &Peer, migration: Option<&MigrationId>, action: Action) -> Result<()> {
        let live = self.live()?;
        let of = |names: &[String]| names.iter().any(|name| peer.is(name));
        let sends = matches!(action, Action::Send { .. } | Action::SendUnnamed { .. });
        if !sends && of(&live.operators) {
            return Ok(());
        }
        // A stranger does not learn which migrations there are.
        if !live.migrations.iter().any(|admitted| of(&admitted.peers)) {
            return Err(stranger(peer));
        }
        let Some(migration) = migration else {
            let listing = || Error::fatal(ErrorKind::Unauthorized, "only operators may list what is here").with("peer", peer);
            return if sends { Ok(()) } else { Err(listing()) };
        };
        let named = |admitted: &&Admitted| admitted.migration == *migration && of(&admitted.peers);
        let admitted = live.migrations.iter().find(named).ok_or_else(|| {
            let message = "no live migration of this name expects anything from this peer; it may have ended";
            Error::undo(ErrorKind::NotFound, message).with("migration", migration).with("peer", peer)
        })?;
        match (action, admitted.archive_bytes_max) {
            (Action::Send { archive_bytes: Some(bytes), .. }, Some(max)) if bytes > max => Err(too_large(bytes, max)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ms2m_core::Part;

    use super::*;

    fn send(bytes: u64) -> Action {
        Action::Send { part: Part::Final, archive_bytes: Some(bytes) }
    }

    #[tokio::test]
    async fn it_admits_what_the_file_names_today() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.json");
        let file = LiveFile::new(&path);
        let (source, other, operator) = (Peer::new(["node-a"]), Peer::new(["node-b"]), Peer::new(["controller"]));
        let (ours, theirs) = (MigrationId::new("m-1").unwrap(), MigrationId::new("m-2").unwrap());
        assert_eq!(file.admit(&source, Some(&ours), send(1)).await.unwrap_err().kind(), ErrorKind::Unavailable, "without a file nobody");

        let text = r#"{"operators": ["controller"], "migrations": [{"migration": "m-1", "peers": ["node-a"], "archive_bytes_max": 10}]}"#;
        std::fs::write(&path, text).unwrap();
        file.admit(&source, Some(&ours), send(10)).await.unwrap();
        file.admit(&source, Some(&ours), Action::Discard).await.unwrap();
        file.admit(&operator, Some(&theirs), Action::Discard).await.unwrap();
        file.admit(&operator, None, Action::List).await.unwrap();
        for (peer, migration, action, kind) in [
            (&source, Some(&ours), send(11), ErrorKind::LimitExceeded),
            (&source, Some(&theirs), send(1), ErrorKind::NotFound),
            (&source, None, Action::List, ErrorKind::Unauthorized),
            (&other, Some(&ours), send(1), ErrorKind::Unauthorized),
            (&operator, Some(&ours), send(1), ErrorKind::Unauthorized),
        ] {
            assert_eq!(file.admit(peer, migration, action).await.unwrap_err().kind(), kind, "{peer} {migration:?} {action:?}");
        }

        std::fs::write(&path, r#"{"migrations": []}"#).unwrap();
        assert_eq!(file.admit(&source, Some(&ours), send(1)).await.unwrap_err().kind(), ErrorKind::Unauthorized, "it has ended");
        std::fs::write(&path, "{").unwrap();
        assert_eq!(file.admit(&source, Some(&ours), send(1)).await.unwrap_err().kind(), ErrorKind::Unavailable, "half a file is none");
    }
}
