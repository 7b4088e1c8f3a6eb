//! [`Stage`]: what differs between a demo inside one process and one with processes on a real broker.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{Clock, Deadlines, Drivers, InstanceId, MigrationReport, Result, RetryPolicy, StateStore};

use super::faults::{Fault, Menu};
use super::leg::Leg;

/// Where consumers and publishers live.
#[async_trait]
pub(crate) trait Stage: fmt::Debug + Send + Sync + 'static {
    /// The queue.
    fn queue(&self) -> String;

    /// The time that consumers, publishers and drivers go by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Where the driver's state survives it.
    fn store(&self) -> Arc<dyn StateStore>;

    /// Limits for migrations here.
    fn deadlines(&self) -> (Deadlines, RetryPolicy);

    /// What can go wrong here.
    fn menu(&self) -> Menu;

    /// The drivers of a migration; made anew when it goes on after a crash.
    fn drivers(&self, leg: &Leg) -> Result<Drivers>;

    /// Moves the consumer in a way of its own, without drivers: the negative control. `None`: there is none here.
    async fn baseline(&self, leg: &Leg) -> Option<Result<MigrationReport>> {
        let _ = leg;
        None
    }

    /// Lets a fault happen, and ends it again where it is one that ends.
    async fn strike(&self, leg: &Leg, fault: Fault) -> Result<()>;

    /// A migration is over: nothing of who is not `owner` is needed any more. Errs when the owner does not live.
    async fn settle(&self, leg: &Leg, owner: &InstanceId) -> Result<()>;

    /// Whether all publishers have sent what they were to send.
    async fn publishers_done(&self) -> Result<bool>;

    /// Waits until the publishers have ended; `now`: does not let them send all they were to send.
    async fn stop_publishers(&self, now: bool) -> Result<()>;

    /// Looks at whatever the auditor has not seen yet.
    async fn catch_up(&self) -> Result<()>;
}
