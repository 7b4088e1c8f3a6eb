//! [`OperatorObserver`]: how the controller itself does.

use std::fmt;
use std::time::Duration;

/// Looks on at the controller, as [`Observer`](ms2m_core::Observer) does at each migration. Both are called in between, so they must be quick.
pub trait OperatorObserver: fmt::Debug + Send + Sync + 'static {
    /// A resource was looked at, which took so long, whoever was asked meanwhile included. `failed` is it when it is tried again.
    fn on_reconcile(&self, took: Duration, failed: bool) {
        let _ = (took, failed);
    }

    /// So many migrations are under way.
    fn on_running(&self, migrations: usize) {
        let _ = migrations;
    }
}

/// Looks away.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoOperatorObserver;

impl OperatorObserver for NoOperatorObserver {}
