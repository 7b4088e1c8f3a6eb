//! What a runtime says of a container.

use std::path::PathBuf;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::{Flavor, Runtime};

/// How long a runtime may take to answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// A container's status, as the OCI runtime specification names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Being created.
    Creating,
    /// Created, not started.
    Created,
    /// Running.
    Running,
    /// Its first process has ended.
    Stopped,
    /// Frozen.
    Paused,
}

/// The answer of `state`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ContainerState {
    /// Its name.
    pub id: String,
    /// Its first process, as this machine sees it; 0 when there is none.
    pub pid: i32,
    /// Its status.
    pub status: ContainerStatus,
    /// Its bundle.
    pub bundle: PathBuf,
}

impl Runtime {
    /// What the runtime knows of a container; `None` when it knows none of that name.
    ///
    /// # Errors
    /// When the runtime does not answer, or not what it should.
    pub async fn state(&self, id: &str) -> Result<Option<ContainerState>> {
        if self.has_forgotten(id) {
            return Ok(None);
        }
        let answer = self.ask(["state", id], ANSWER).await?;
        if !answer.success {
            // runc: "container does not exist"; crun names the state file that is missing.
            if answer.words.contains("does not exist") || answer.words.contains("No such file or directory") {
                return Ok(None);
            }
            return Err(
                Error::retry(ErrorKind::Unavailable, format!("{} does not answer: {}", self.flavor, answer.words)).with("container", id)
            );
        }
        let state = serde_json::from_slice(&answer.stdout).map_err(|error| {
            Error::fatal(ErrorKind::Corrupt, format!("the answer of {} state was not understood", self.flavor))
                .with("container", id)
                .caused_by(error)
        })?;
        Ok(Some(state))
    }

    /// Where it keeps what it knows of containers.
    fn home(&self) -> PathBuf {
        let user = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| self.flavor == Flavor::Crun && !directory.is_empty());
        self.root.clone().unwrap_or_else(|| user.map_or_else(|| "/run".into(), PathBuf::from).join(self.flavor.to_string()))
    }

    /// Where it keeps what it knows of one.
    fn directory(&self, id: &str) -> PathBuf {
        self.home().join(id)
    }

    /// Unmounts the root file system that runc binds there for CRIU, and leaves when it is killed in the middle of a restore. To be done
    /// before anything is removed: runc itself would go through it and remove what is in the root file system.
    fn unbind(&self, id: &str) -> Result<()> {
        crate::local::detach_below(&self.directory(id))
    }

    /// Removes what a runtime that was killed in the middle of a restore has left of a container. Missing is `Ok`.
    pub(crate) fn forget(&self, id: &str) -> Result<()> {
        self.unbind(id)?;
        let directory = self.directory(id);
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = "what the runtime left of the container cannot be removed";
                Err(Error::retry(ErrorKind::Other, message).with("directory", directory.display()).caused_by(error))
            }
            _ => Ok(()),
        }
    }

    /// Ends a container for good. Missing is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that no process of it is left.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let Some(state) = self.state(id).await? else { return Ok(()) };
        let process = super::Process::open(state.pid)?;
        self.unbind(id)?;
        self.ask(["delete", "--force", id], ANSWER).await?;
        if let Some(process) = process {
            process.kill()?;
            process.ended(ANSWER).await?;
        }
        self.delete(id).await
    }

    /// Has the runtime forget a container whose first process has ended. Missing is `Ok`.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        self.unbind(id)?;
        if self.has_forgotten(id) {
            return Ok(());
        }
        self.order(["delete", "--force", id], ANSWER).await.map(drop)
    }

    /// Whether its files show that it knows nothing of a container. To ask it takes longer than most other steps of a migration.
    fn has_forgotten(&self, id: &str) -> bool {
        self.home().is_dir() && !self.directory(id).exists()
    }
}

impl Runtime {
    /// Its version, as it names it itself.
    ///
    /// # Errors
    /// When it is not installed or does not answer.
    pub async fn version(&self) -> Result<String> {
        let answer = self.order(["--version"], ANSWER).await?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        Ok(text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or("unknown").to_owned())
    }
}
