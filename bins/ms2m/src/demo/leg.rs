//! One migration of a demo.

use std::sync::Arc;

use ms2m_core::{InstanceId, MigrationId, Result, TransferBackend};
use ms2m_testkit::wrap::{Chaos, ChaosOptions, Delayed};
use serde::{Deserialize, Serialize};

use super::faults::{Fault, Strike};

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

    /// A transfer with the faults that this leg has for it.
    pub(crate) fn transfer(&self, transfer: Arc<dyn TransferBackend>) -> Arc<dyn TransferBackend> {
        self.strikes.iter().fold(transfer, |transfer, strike| match strike.fault {
            Fault::TransferFails(times) => Arc::new(Chaos::new(transfer, ChaosOptions::always(self.number, times))),
            Fault::TransferHesitates(latency) => Arc::new(Delayed::new(transfer, latency)),
            _ => transfer,
        })
    }
}

/// The consumer made by leg `number`; 0 is the first one.
pub(crate) fn consumer(id: &str, number: u64) -> Result<InstanceId> {
    InstanceId::new(format!("demo-{id}-c{number}"))
}
