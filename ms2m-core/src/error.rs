//! One error type whose verdict tells the engine what to do; backends keep their own enums and convert at the boundary.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the caller's terms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A queue, container, checkpoint or file that should exist does not.
    NotFound,
    /// Something that must be new exists, or a queue is migrating already.
    AlreadyExists,
    /// Credentials are missing, wrong or insufficient.
    Unauthorized,
    /// The other side cannot be reached or is not ready now.
    Unavailable,
    /// Bytes, digests or records contradict each other.
    Corrupt,
    /// What was asked for cannot be done here.
    Unsupported,
    /// A deadline passed.
    Timeout,
    /// A limit on size, count or rate was reached.
    LimitExceeded,
    /// The user asked to stop.
    Cancelled,
    /// Input is malformed or contradicts itself.
    Invalid,
    /// An assumption of the protocol was found violated; nothing was carried on.
    Invariant,
    /// None of the above.
    Other,
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same call may succeed later.
    Retry,
    /// It was retried up to the policy's limit. Treated as [`Verdict::Undo`].
    GaveUpRetrying,
    /// This migration cannot go on: roll it back. Another one may succeed.
    Undo,
    /// No repetition will help before somebody changes something. Rolled back as well.
    Fatal,
}

/// An error with its kind, its verdict, where it happened and why.
///
/// The message says what to do next wherever something can be done.
pub struct Error {
    kind: ErrorKind,
    verdict: Verdict,
    phase: Option<Phase>,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with an explicit verdict.
    #[must_use]
    pub fn new(kind: ErrorKind, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { kind, verdict, phase: None, message: message.into(), context: Vec::new(), source: None }
    }

    /// An error after which the same call may succeed later.
    #[must_use]
    pub fn retry(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Retry, message)
    }

    /// An error that ends this migration with a roll-back.
    #[must_use]
    pub fn undo(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Undo, message)
    }

    /// An error that no repetition mends.
    #[must_use]
    pub fn fatal(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Verdict::Fatal, message)
    }

    /// Names the phase in which it happened; the first one named stays.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.phase.get_or_insert(phase);
        self
    }

    /// Adds a fact, for example `("queue", "orders")`. Never a secret.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((name, value.to_string()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, judged again (a retry loop that gives up).
    #[must_use]
    pub fn judged(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Where it happened, if known.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// The message with its context, without the chain of causes.
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.context {
            text.push_str(&format!(" [{name}: {value}]"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(phase) = self.phase {
            write!(f, "{phase}: ")?;
        }
        f.write_str(&self.message())?;
        let mut cause: Option<&dyn StdError> = self.source.as_deref().map(|s| s as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}: {self}", self.kind, self.verdict)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}
