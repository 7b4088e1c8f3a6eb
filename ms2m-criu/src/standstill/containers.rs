//! Containers stand still by their freezer cgroups. Their copies wake running.

use async_trait::async_trait;
use ms2m_core::{MigrationId, Result};

use super::Source;
use crate::runtime::{Container, Freezer, Runtime};

#[derive(Debug)]
pub(super) struct Containers {
    pub(super) runtime: Runtime,
    pub(super) names: Vec<String>,
}

impl Containers {
    async fn freezers(&self) -> Result<Vec<Freezer>> {
        let mut freezers = Vec::new();
        for name in &self.names {
            freezers.push(Freezer::of(Container::inspect(&self.runtime, name).await?.process().pid())?);
        }
        Ok(freezers)
    }
}

#[async_trait]
impl Source for Containers {
    async fn check(&self) -> Result<()> {
        self.freezers().await.map(drop)
    }

    async fn freeze(&self) -> Result<()> {
        Freezer::freeze_all(&self.freezers().await?).await
    }

    async fn thaw(&self) -> Result<()> {
        for name in &self.names {
            if let Ok(container) = Container::inspect(&self.runtime, name).await {
                Freezer::of(container.process().pid())?.thaw()?;
            }
        }
        Ok(())
    }

    async fn release(&self, _migration: &MigrationId) -> Result<()> {
        Ok(())
    }
}
