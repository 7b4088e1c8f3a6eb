//! What can go wrong at a broker.

use ms2m_core::{Error, ErrorKind};

/// An error of a broker operation.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The connection or channel is gone.
    #[error("the connection to the broker is lost: {0}")]
    Lost(String),
    /// The broker does not answer, or not in time.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// Wrong credentials or missing permissions.
    #[error("the broker refuses these credentials: {0}; check user, password, virtual host and permissions")]
    Unauthorized(String),
    /// No such queue.
    #[error("queue {0:?} does not exist")]
    NotFound(String),
    /// The broker has understood and says no: a policy, an argument, a limit.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// What arrived cannot be understood.
    #[error("unreadable data from the broker: {0}")]
    Corrupt(String),
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        let text = error.to_string();
        match error {
            LinkError::Lost(_) | LinkError::Unavailable(_) => Self::retry(ErrorKind::Unavailable, text),
            LinkError::Unauthorized(_) => Self::fatal(ErrorKind::Unauthorized, text),
            LinkError::NotFound(_) => Self::fatal(ErrorKind::NotFound, text),
            LinkError::Refused(_) => Self::fatal(ErrorKind::Unsupported, text),
            LinkError::Corrupt(_) => Self::undo(ErrorKind::Corrupt, text),
        }
    }
}
