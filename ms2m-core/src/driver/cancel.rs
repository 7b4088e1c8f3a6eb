//! [`Cancel`]: how to ask a running migration to turn round.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle shared by whoever may cancel and the driver. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Cancel {
    reason: Arc<watch::Sender<Option<String>>>,
}

impl Cancel {
    /// A handle with which nothing is cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }

    /// Asks to turn round; the first reason counts. Whether it came in time the report's outcome says.
    pub fn cancel(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.reason.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(reason);
            first
        });
    }

    /// Waits until somebody has asked, and says why.
    pub async fn cancelled(&self) -> String {
        let mut reason = self.reason.subscribe();
        match reason.wait_for(Option::is_some).await.map(|asked| asked.clone()) {
            Ok(Some(asked)) => asked,
            // The sender is part of `self`, so it cannot be gone while somebody waits.
            _ => std::future::pending().await,
        }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}
