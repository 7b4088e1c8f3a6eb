//! What a registry does wrong, and what to do about it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use ms2m_core::{Digest, Error, ErrorKind};
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};

/// Of what a registry says about an error, in bytes.
const SAID_BYTES_MAX: usize = 500;

/// Why a request has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// An answer that was not hoped for.
    #[error("it answers {status}{}", quoted(said))]
    Refused { status: StatusCode, said: String, retry_after: Option<Duration> },
    /// Nobody there, or gone in the middle.
    #[error("{0}")]
    Lost(String),
    #[error("no answer in time")]
    TimedOut,
    /// Its certificate is not trusted.
    #[error("{0}")]
    Untrusted(String),
    /// No credentials where some are needed, or none that can be used.
    #[error("{0}")]
    Login(String),
    /// Against the specification.
    #[error("{0}")]
    Absurd(String),
    #[error("expected {expected}, found {found}")]
    Corrupt { expected: Digest, found: String },
    /// The upload stands where we cannot go back to.
    #[error("{0}")]
    Unresumable(String),
    /// Not to be removed.
    #[error("it refuses to delete {what}{}", quoted(said))]
    Kept { what: String, said: String },
    /// Not the registry's: told as it is.
    #[error("{0}")]
    Ours(Error),
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl Fault {
    /// What a response with an unwanted status says.
    pub(crate) async fn of(mut response: Response) -> Self {
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut said = Vec::new();
        // The words are a help only, so an answer that breaks off or drags on is cut short.
        let read = async {
            while said.len() < SAID_BYTES_MAX {
                match response.chunk().await {
                    Ok(Some(piece)) => said.extend_from_slice(&piece),
                    _ => break,
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), read).await;
        let said = String::from_utf8_lossy(&said);
        let said: String = said.chars().take(SAID_BYTES_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self::Refused { status, said: said.trim().to_owned(), retry_after: seconds.map(Duration::from_secs) }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
                    || (status.is_server_error() && !matches!(*status, StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE))
            }
            Self::Lost(_) | Self::TimedOut => true,
            _ => false,
        }
    }

    /// For the caller of the backend: says what to do.
    pub(crate) fn told(self, repository: &str) -> Error {
        let cause = self.to_string();
        let error = match self {
            Self::Ours(error) => return error,
            Self::Refused { status, .. } => of_status(status),
            Self::Lost(_) => Error::retry(
                ErrorKind::Unavailable,
                "the registry cannot be reached, or its connections break; is it up, are name and port right, and is the network sound?",
            ),
            Self::TimedOut => Error::retry(ErrorKind::Timeout, "the registry does not answer in time; look at its load and its log"),
            Self::Untrusted(_) => Error::fatal(
                ErrorKind::Unauthorized,
                "the registry's certificate is not trusted; name the certificate of its CA, or mend the registry's certificate",
            ),
            Self::Login(_) => Error::fatal(ErrorKind::Unauthorized, LOGIN),
            Self::Absurd(_) => Error::undo(
                ErrorKind::Unavailable,
                "the registry's answer is not one of a registry; does the name lead to a registry, and does a proxy before it pass everything on?",
            ),
            Self::Corrupt { .. } => Error::retry(
                ErrorKind::Corrupt,
                "the registry's bytes are not the checkpoint's; nothing of it is used. Look for a broken disk or proxy, then migrate again",
            ),
            Self::Kept { .. } => Error::undo(
                ErrorKind::Unsupported,
                "the registry does not let the checkpoint be deleted, and it is left there; allow it (docker-registry: storage.delete.enabled), or delete it by hand",
            ),
            Self::Unresumable(_) => Error::retry(
                ErrorKind::Unavailable,
                "the connection to the registry broke, and the registry cannot go on with this upload; it is sent again from its start",
            ),
        };
        error.caused_by(cause).with("repository", repository)
    }
}

const LOGIN: &str =
    "the registry does not accept these credentials; log in (`docker login`), or give a pull secret that may push, pull and delete there";

fn of_status(status: StatusCode) -> Error {
    match status {
        StatusCode::UNAUTHORIZED => Error::fatal(ErrorKind::Unauthorized, LOGIN),
        StatusCode::FORBIDDEN => Error::fatal(
            ErrorKind::Unauthorized,
            "the registry forbids this; give the account the right to push, pull and delete in this repository",
        ),
        StatusCode::NOT_FOUND => {
            Error::fatal(ErrorKind::NotFound, "the registry does not know this repository; create it there, or name another one")
        }
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LENGTH_REQUIRED => Error::fatal(
            ErrorKind::LimitExceeded,
            "the registry, or a proxy before it, takes no requests of this size, not even small pieces; raise its limit (nginx: client_max_body_size)",
        ),
        StatusCode::TOO_MANY_REQUESTS => Error::retry(
            ErrorKind::LimitExceeded,
            "the registry takes no more requests from this account for now; try again later, or have its rate limit raised",
        ),
        StatusCode::INSUFFICIENT_STORAGE => Error::undo(
            ErrorKind::LimitExceeded,
            "the registry has no room for the checkpoint; collect its garbage or give it a larger disk",
        ),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Error::fatal(
            ErrorKind::Unsupported,
            "the registry does not do this; is it read-only, or a mirror? Name one that can be pushed to",
        ),
        status if status.is_server_error() => {
            Error::retry(ErrorKind::Unavailable, "the registry fails; its log tells why (a full disk, often)")
        }
        _ => Error::undo(ErrorKind::Other, "the registry refuses what it should take; its words tell why"),
    }
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        // The URL may hold a token of the upload.
        let error = error.without_url();
        let text = chain(&error);
        if untrusted(&error) {
            Self::Untrusted(text)
        } else if error.is_timeout() {
            Self::TimedOut
        } else if error.is_builder() || error.is_redirect() {
            Self::Absurd(text)
        } else {
            Self::Lost(text)
        }
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether a certificate is the matter: it does not get better by itself.
fn untrusted(error: &(dyn StdError + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    // An I/O error hides what it wraps from `source`.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|wrapped| wrapped as &(dyn StdError + 'static));
    wrapped.or_else(|| error.source()).is_some_and(untrusted)
}
