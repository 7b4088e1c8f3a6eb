//! The agent of a node that is lost does not refuse: it does not answer.

use std::future::Future;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

/// How long an agent may take before the API server is asked what it knows.
const WITHIN: Duration = Duration::from_secs(2);

/// What an agent says to a question that the API server may answer as well.
pub(crate) async fn answer<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = || Error::retry(ErrorKind::Timeout, format!("the node's agent has not answered within {} s", WITHIN.as_secs()));
    timeout(WITHIN, asked).await.unwrap_or_else(|_| Err(silent()))
}
