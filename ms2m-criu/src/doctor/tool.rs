//! Asks a program, with a deadline.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use thiserror::Error;
use tokio::process::Command;
use tokio::time::timeout;

/// The longest that any question here takes in earnest is `criu check`, about half a second.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a program has answered.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Whether it ended with status 0.
    pub(super) success: bool,
    /// Its standard output.
    pub(super) out: String,
    /// Its standard error.
    pub(super) err: String,
}

impl Said {
    /// The first line of what it complained about, or of what it said.
    pub(super) fn complaint(&self) -> &str {
        [&self.err, &self.out]
            .into_iter()
            .flat_map(|text| text.lines())
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or("it said nothing")
    }
}

/// Why there is no answer.
#[derive(Error, Debug)]
pub(super) enum ToolError {
    #[error("not found")]
    NotFound,
    #[error("did not answer within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("could not be started: {0}")]
    Io(io::Error),
}

/// Runs `program` and returns what it said, whatever its status.
pub(super) async fn ask<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Result<Said, ToolError> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.map_err(|_| ToolError::Deadline)?.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ToolError::NotFound,
        _ => ToolError::Io(error),
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) })
}

#[cfg(test)]
pub(super) fn said(success: bool, out: &str) -> Result<Said, ToolError> {
    Ok(Said { success, out: out.to_owned(), err: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_answer_is_returned_whatever_the_status() {
        let said = ask("sh", ["-c", "echo no such luck >&2; exit 3"]).await.expect("an answer");
        assert!(!said.success);
        assert_eq!(said.complaint(), "no such luck");
        assert!(matches!(ask("/nonexistent/tool", ["x"]).await, Err(ToolError::NotFound)));
    }
}
