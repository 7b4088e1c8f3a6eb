//! A process tree has no freezer of its own: it is stopped. CRIU keeps that in the images, so its copy wakes stopped.

use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{MigrationId, Result};

use super::Source;
use crate::process::{ProcessSource, ProcessTarget};

#[derive(Debug)]
pub(super) struct Process {
    pub(super) source: Arc<ProcessSource>,
    pub(super) target: Arc<ProcessTarget>,
}

#[async_trait]
impl Source for Process {
    async fn check(&self) -> Result<()> {
        self.source.stoppable()
    }

    async fn freeze(&self) -> Result<()> {
        self.source.stop().await
    }

    async fn thaw(&self) -> Result<()> {
        self.source.go_on()
    }

    async fn release(&self, migration: &MigrationId) -> Result<()> {
        self.target.go_on(migration)
    }
}
