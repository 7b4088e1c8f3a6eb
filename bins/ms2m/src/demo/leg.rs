//! One migration of a demo.

use ms2m_core::{InstanceId, MigrationId, Result};
use serde::{Deserialize, Serialize};

use super::faults::Strike;

/// From one consumer to the next.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Leg {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Its name.
    pub(crate) migration: MigrationId,
    /// Who owns the queue before.
    pub(crate) source: InstanceId,
    /// Who shall own it after.
    pub(crate) copy: InstanceId,
    /// What is to go wrong.
    pub(crate) strikes: Vec<Strike>,
}

impl Leg {
    /// Leg `number` of the demo `id`, from `source` on.
    pub(crate) fn new(id: &str, number: u64, source: InstanceId, strikes: Vec<Strike>) -> Result<Self> {
        let (migration, copy) = (MigrationId::new(format!("demo-{id}-{number}"))?, consumer(id, number)?);
        Ok(Self { number, migration, source, copy, strikes })
    }
}

/// The consumer made by leg `number`; 0 is the first one.
pub(crate) fn consumer(id: &str, number: u64) -> Result<InstanceId> {
    InstanceId::new(format!("demo-{id}-c{number}"))
}
