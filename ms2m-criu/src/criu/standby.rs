//! A CRIU that waits for its request.

use std::sync::{Arc, Mutex, PoisonError};

use super::session::Session;

/// At most one. It has done nothing yet, so when it is let go it ends at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Standby(Arc<Mutex<Option<Session>>>);

impl Standby {
    pub(super) fn put(&self, session: Option<Session>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }

    /// The one that waits, unless somebody has killed it.
    pub(super) fn take(&self) -> Option<Session> {
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        session.runs().then_some(session)
    }
}
