//! Copies as processes.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_core::{CopyStatus, Error, ErrorKind, MigrationId, RestoreJob, Result};
use ms2m_testkit::snapshot::SnapshotHost;

use super::spawn::{Layout, Spawner};
use crate::demo::args::DemoArgs;
use crate::demo::leg::Leg;

/// Starts and ends the copy of one migration.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) args: DemoArgs,
    pub(super) queue: String,
    pub(super) effects: String,
    pub(super) layout: Layout,
    pub(super) spawner: Arc<Spawner>,
    pub(super) leg: Leg,
}

fn write(path: &Path, state: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, state)?;
    std::fs::rename(unfinished, path)
}

#[async_trait]
impl SnapshotHost for Node {
    async fn start(&self, job: &RestoreJob, state: Bytes) -> Result<()> {
        // Of an earlier call, maybe by a driver that is gone.
        if self.layout.process(job.copy.as_str()).lives()? {
            return Ok(());
        }
        let path = self.layout.directory("restored").join(job.copy.as_str());
        write(&path, &state)
            .map_err(|error| Error::retry(ErrorKind::Unavailable, "the copy's snapshot cannot be written").caused_by(error))?;
        self.spawner.consumer(&self.args, &self.queue, &self.effects, &job.copy, Some(&path)).await
    }

    async fn status(&self, _: &MigrationId) -> Result<CopyStatus> {
        let lives = self.layout.process(self.leg.copy.as_str()).lives()?;
        Ok(if lives { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn end(&self, _: &MigrationId) -> Result<()> {
        self.layout.process(self.leg.copy.as_str()).kill().await
    }
}
