//! What is expected here, and from whom: the file by which the agent admits checkpoints, so that it survives a restart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Migrations that may be expected at a time.
const EXPECTED_MAX: usize = 4096;

/// As [`LiveFile`](ms2m_transfer_direct::agent::LiveFile) reads it.
#[derive(Debug)]
pub(super) struct Live {
    path: PathBuf,
    controllers: Vec<String>,
    expected: Mutex<BTreeMap<MigrationId, String>>,
}

impl Live {
    /// Goes on with what an earlier agent has written.
    pub(super) async fn open(path: PathBuf, controllers: Vec<String>) -> Result<Self> {
        let text = std::fs::read(&path).unwrap_or_default();
        let known: Value = serde_json::from_slice(&text).unwrap_or_default();
        let expected = known["migrations"].as_array().into_iter().flatten().filter_map(|one| {
            let migration = MigrationId::new(one["migration"].as_str()?).ok()?;
            Some((migration, one["peers"][0].as_str()?.to_owned()))
        });
        let live = Self { path, controllers, expected: Mutex::new(expected.collect()) };
        let expected = live.expected.lock().await;
        live.write(&expected)?;
        drop(expected);
        Ok(live)
    }

    pub(super) async fn expect(&self, migration: &MigrationId, peer: &str) -> Result<()> {
        let mut expected = self.expected.lock().await;
        if expected.get(migration).is_some_and(|known| known == peer) {
            return Ok(());
        }
        if expected.len() >= EXPECTED_MAX {
            let message = "this node expects as many migrations as it can; try again when some of them have ended";
            return Err(Error::retry(ErrorKind::LimitExceeded, message).with("migrations_max", EXPECTED_MAX));
        }
        expected.insert(migration.clone(), peer.to_owned());
        self.write(&expected)
    }

    pub(super) async fn forget(&self, migration: &MigrationId) -> Result<()> {
        let mut expected = self.expected.lock().await;
        if expected.remove(migration).is_some() { self.write(&expected) } else { Ok(()) }
    }

    fn write(&self, expected: &BTreeMap<MigrationId, String>) -> Result<()> {
        let migrations: Vec<_> = expected.iter().map(|(migration, peer)| json!({"migration": migration, "peers": [peer]})).collect();
        let text = json!({"operators": self.controllers, "migrations": migrations}).to_string();
        let unfinished = self.path.with_extension("unfinished");
        let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, &self.path));
        written.map_err(|error| {
            let message = "the agent cannot note what it expects; is its work directory writable, and has its disk room?";
            Error::retry(ErrorKind::Other, message).with("path", self.path.display()).caused_by(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use ms2m_core::Part;
    use ms2m_transfer_direct::Peer;
    use ms2m_transfer_direct::agent::{Action, Admission as _, LiveFile};

    use super::*;

    #[tokio::test]
    async fn what_is_expected_is_admitted_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("live.json");
        let (ours, other) = (MigrationId::new("m-1").unwrap(), MigrationId::new("m-2").unwrap());
        let live = Live::open(path.clone(), vec!["controller".into()]).await.unwrap();
        live.expect(&ours, "n1").await.unwrap();
        live.expect(&other, "n3").await.unwrap();
        drop(live);
        let again = Live::open(path.clone(), vec!["controller".into()]).await.unwrap();
        let (file, n1, controller) = (LiveFile::new(&path), Peer::new(["n1"]), Peer::new(["controller"]));
        let send = Action::Send { part: Part::Final, archive_bytes: Some(1) };
        file.admit(&n1, Some(&ours), send).await.unwrap();
        assert_eq!(file.admit(&n1, Some(&other), send).await.unwrap_err().kind(), ErrorKind::NotFound);
        file.admit(&controller, Some(&ours), Action::Discard).await.unwrap();
        again.forget(&ours).await.unwrap();
        again.forget(&ours).await.unwrap();
        assert_eq!(file.admit(&n1, Some(&ours), send).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
}
