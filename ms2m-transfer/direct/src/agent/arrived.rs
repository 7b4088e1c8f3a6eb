//! A part becomes visible, and what it replaces is removed.

use std::path::Path;
use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, MigrationId, Result};

use super::Agent;
use super::store::{Published, blocking, failed};
use crate::wire::Stored;

impl Agent {
    /// Tells whoever waits for it; a part that cannot be used is not kept. What this part was before goes.
    pub(super) async fn arrived(&self, published: Published) -> Result<Stored> {
        let (agent, Published { stored, former }) = (self.clone(), published);
        // A client that goes away does not end it: it will ask again, and then the most is done.
        let done = self.0.uploads.spawn(async move {
            if let Err(error) = agent.0.arrival.arrived(&stored).await {
                remove(&stored).await?;
                return Err(error);
            }
            for former in &former {
                agent.0.arrival.removed(former).await?;
                remove(former).await?;
            }
            Ok(stored)
        });
        done.await.map_err(died)?
    }

    /// Removes all of a migration. Goes on when who has asked for it goes away.
    pub(super) async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let (agent, migration) = (self.clone(), migration.clone());
        let done = self.0.uploads.spawn(async move {
            let (store, of) = (Arc::clone(&agent.0.store), migration.clone());
            for stored in blocking(move || store.arrived(&of)).await? {
                agent.0.arrival.removed(&stored).await?;
            }
            agent.0.store.discard(&migration).await
        });
        done.await.map_err(died)?
    }
}

fn died(error: tokio::task::JoinError) -> Error {
    Error::undo(ErrorKind::Other, "a task has died").caused_by(error)
}

async fn remove(stored: &Stored) -> Result<()> {
    let file = stored.location.clone();
    blocking(move || match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("removed", Path::new(&file))(error)),
        _ => Ok(()),
    })
    .await
}
