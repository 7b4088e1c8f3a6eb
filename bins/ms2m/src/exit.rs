//! Exit status, the same for every command.

use std::process::ExitCode;

/// How a command has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// It failed, and nothing was changed.
    Failed,
    /// The command line makes no sense.
    BadUsage,
    /// The migration was rolled back: the source runs on.
    RolledBack,
    /// It has finished, but it is not proven that the state is exact.
    NotExact,
    /// The source has ended and there is no copy: nobody consumes.
    SourceLost,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadUsage => 2,
            Exit::RolledBack => 3,
            Exit::NotExact => 4,
            Exit::SourceLost => 5,
        })
    }
}
