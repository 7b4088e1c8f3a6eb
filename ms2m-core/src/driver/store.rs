//! [`StateStore`]: where a migration's state survives the driver.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::engine::MigrationState;
use crate::error::Result;
use crate::id::MigrationId;

/// Keeps the latest state of each migration.
///
/// # Contract
/// - After `Ok` of [`save`](Self::save) a [`load`](Self::load) by anybody, also after a crash, answers with that state or a later one.
/// - A `save` that fails, or is dropped, leaves the earlier state or the new one, never half of one.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps the state, in place of an earlier one of the same migration.
    ///
    /// # Errors
    /// When it is not certain that the state is kept. The driver repeats the call; then it stops.
    async fn save(&self, state: &MigrationState) -> Result<()>;

    /// The state kept last, if there is one.
    ///
    /// # Errors
    /// When that cannot be found out, or when what is kept cannot be read.
    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>>;

    /// Forgets a migration. Missing is `Ok`. To be called by whoever got the report; the driver keeps the final state.
    ///
    /// # Errors
    /// When something may be left.
    async fn remove(&self, migration: &MigrationId) -> Result<()>;
}

/// Keeps states in memory: for simulations, and where a migration need not survive its process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    states: Mutex<BTreeMap<MigrationId, MigrationState>>,
}

impl MemoryStore {
    fn states(&self) -> std::sync::MutexGuard<'_, BTreeMap<MigrationId, MigrationState>> {
        // No call panics half-way through a change, so a poisoned map is whole.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn save(&self, state: &MigrationState) -> Result<()> {
        self.states().insert(state.spec().migration.clone(), state.clone());
        Ok(())
    }

    async fn load(&self, migration: &MigrationId) -> Result<Option<MigrationState>> {
        Ok(self.states().get(migration).cloned())
    }

    async fn remove(&self, migration: &MigrationId) -> Result<()> {
        self.states().remove(migration);
        Ok(())
    }
}
