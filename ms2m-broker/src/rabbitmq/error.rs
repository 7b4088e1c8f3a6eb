//! lapin's errors in the seam's words.

use std::future::Future;
use std::time::Duration;

use lapin::ErrorKind;
use tokio::time::timeout;

use crate::link::{LinkError, LinkResult, OPERATION_DEADLINE};

/// Of an operation on `queue`.
pub(super) fn of_queue(error: &lapin::Error, queue: &str) -> LinkError {
    let ErrorKind::ProtocolError(said) = error.kind() else { return LinkError::Lost(error.to_string()) };
    let text = said.get_message().to_string();
    match said.get_id() {
        403 => LinkError::Unauthorized(text),
        404 if text.contains("no queue") => LinkError::NotFound(queue.into()),
        // A queue that is there and does not run also answers 404: "home node of durable queue is down or inaccessible", which
        // streams say for a moment after a restart, "has crashed and failed to restart". Nobody may take it for deleted.
        404 => LinkError::Unavailable(text),
        // Content too large, locked, precondition failed, not allowed, not implemented.
        311 | 405 | 406 | 530 | 540 => LinkError::Refused(text),
        // Resource error, internal error: now, not for ever.
        506 | 541 => LinkError::Unavailable(text),
        // Connection forced (320), and what only a broken peer says.
        _ => LinkError::Lost(text),
    }
}

/// Of a connection attempt: an unknown virtual host answers 530, like one that the user may not enter.
pub(super) fn of_connect(error: &lapin::Error) -> LinkError {
    match of_queue(error, "") {
        LinkError::Refused(text) => LinkError::Unauthorized(text),
        LinkError::Lost(text) | LinkError::NotFound(text) => LinkError::Unavailable(text),
        other => other,
    }
}

/// Waits no longer than [`OPERATION_DEADLINE`] for an operation on `queue`.
pub(super) async fn bounded<T>(what: &str, queue: &str, operation: impl Future<Output = lapin::Result<T>>) -> LinkResult<T> {
    within(OPERATION_DEADLINE, what, operation).await?.map_err(|error| of_queue(&error, queue))
}

/// Waits no longer than `deadline`.
pub(super) async fn within<T>(deadline: Duration, what: &str, operation: impl Future<Output = T>) -> LinkResult<T> {
    timeout(deadline, operation).await.map_err(|_| LinkError::Unavailable(format!("no answer to {what} within {deadline:?}")))
}
