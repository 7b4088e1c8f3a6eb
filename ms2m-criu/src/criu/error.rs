//! [`CriuError`]: why CRIU did not do it, in its own words, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Verdict};

use super::cause::Cause;

/// Why a call to CRIU failed. After each of them no CRIU of this call runs any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriuError {
    /// The program cannot be started.
    #[error("CRIU cannot be started as {}: install CRIU 4.x, or name its path", program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// CRIU said no.
    #[error("CRIU's {operation} failed{}", explanation(*errno, message.as_deref(), *cause, log))]
    Failed {
        /// What was asked for.
        operation: &'static str,
        /// The error number of CRIU's answer.
        errno: Option<i32>,
        /// The text of CRIU's answer.
        message: Option<String>,
        /// The reason, when it is a known one.
        cause: Option<Cause>,
        /// The last lines of the log that report errors, bounded.
        log: Vec<String>,
    },
    /// CRIU ended without an answer.
    #[error("CRIU ended in the middle of its {operation} ({how}){}: try again; see `dmesg` when it was killed", explanation(None, None, *cause, log))]
    Died {
        /// What was asked for.
        operation: &'static str,
        /// Its exit status or signal.
        how: String,
        /// The reason, when it is a known one.
        cause: Option<Cause>,
        /// As in [`Self::Failed`].
        log: Vec<String>,
    },
    /// The deadline passed; CRIU was killed.
    #[error(
        "CRIU's {operation} has not ended within {deadline:?} and was killed{}: allow more time, or look for a stuck task",
        explanation(None, None, None, log)
    )]
    Deadline {
        /// What was asked for.
        operation: &'static str,
        /// How long it might have taken.
        deadline: Duration,
        /// As in [`Self::Failed`].
        log: Vec<String>,
    },
    /// The answer is none of CRIU's; it was killed.
    #[error("CRIU's answer to {operation} makes no sense ({why}): is the program really CRIU 3.16 or newer?")]
    Answer {
        /// What was asked for.
        operation: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The caller's own work during the freeze failed: so did the dump, and the source runs.
    #[error("the work to be done while the source is frozen failed, so the dump was given up")]
    WhileFrozen(#[source] Error),
    /// A file or socket on this side.
    #[error("{what} failed ({}): is there room, and may this process write there?", path.display())]
    Io {
        /// What was done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl CriuError {
    /// The reason, when it is a known one.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Failed { cause, .. } | Self::Died { cause, .. } => *cause,
            _ => None,
        }
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { what, path: path.into(), source: source.into() }
    }

    fn judge(&self) -> (ErrorKind, Verdict) {
        let verdict = |again: bool| if again { Verdict::Retry } else { Verdict::Fatal };
        match self {
            Self::Start { .. } | Self::Answer { .. } => (ErrorKind::Unsupported, Verdict::Fatal),
            Self::Failed { cause, .. } => match cause {
                Some(cause) => (cause.kind(), verdict(cause.passes())),
                None => (ErrorKind::Other, Verdict::Undo),
            },
            Self::Died { cause: Some(cause), .. } => (cause.kind(), verdict(cause.passes())),
            Self::Died { .. } => (ErrorKind::Unavailable, Verdict::Retry),
            Self::Deadline { .. } => (ErrorKind::Timeout, Verdict::Retry),
            Self::WhileFrozen(error) => (error.kind(), error.verdict()),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::LimitExceeded, Verdict::Fatal),
                io::ErrorKind::NotFound => (ErrorKind::NotFound, Verdict::Undo),
                io::ErrorKind::PermissionDenied => (ErrorKind::Unauthorized, Verdict::Fatal),
                _ => (ErrorKind::Unavailable, Verdict::Retry),
            },
        }
    }
}

impl From<CriuError> for Error {
    fn from(error: CriuError) -> Self {
        let (kind, verdict) = error.judge();
        let shown = Error::new(kind, verdict, error.to_string());
        // The text holds everything but the sources.
        match error {
            CriuError::WhileFrozen(source) => shown.caused_by(source),
            CriuError::Start { source, .. } | CriuError::Io { source, .. } => shown.caused_by(source),
            _ => shown,
        }
    }
}

fn explanation(errno: Option<i32>, message: Option<&str>, cause: Option<Cause>, log: &[String]) -> String {
    let mut text = String::new();
    if let Some(cause) = cause {
        text += &format!(": {cause}");
    }
    if let Some(message) = message {
        text += &format!("; it says {message:?}");
    }
    if let Some(errno) = errno.filter(|errno| *errno != 0) {
        text += &format!("; {}", io::Error::from_raw_os_error(errno));
    }
    if !log.is_empty() {
        text += &format!("; its log: {}", log.join(" | "));
    }
    text
}
