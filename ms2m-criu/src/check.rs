//! One line of a verdict: what was checked, how it stands, why, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a check came out. The order is the one of severity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// Nothing stands in the way.
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, with a consequence that somebody should know.
    Warn,
    /// It will not work before the remedy is applied.
    Fail,
}

impl CheckResult {
    /// The word shown in text and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// What was checked, in a word or two, for example `architecture`.
    pub name: String,
    /// How it came out.
    pub result: CheckResult,
    /// Why: what was found.
    pub reason: String,
    /// What to do about it. Absent when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// A line without a remedy.
    pub fn new(name: impl Into<String>, result: CheckResult, reason: impl Into<String>) -> Self {
        Self { name: name.into(), result, reason: reason.into(), remedy: None }
    }

    /// Nothing stands in the way.
    pub fn ok(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(name, CheckResult::Ok, reason)
    }

    /// It could not be found out.
    pub fn unknown(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(name, CheckResult::Unknown, reason)
    }

    /// It works, with a consequence.
    pub fn warn(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(name, CheckResult::Warn, reason)
    }

    /// It will not work.
    pub fn fail(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(name, CheckResult::Fail, reason)
    }

    /// The same line with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.result, self.name, self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(f, " -> {remedy}"),
            None => Ok(()),
        }
    }
}

/// The worst result among `checks`; [`CheckResult::Ok`] when there are none.
#[must_use]
pub fn worst(checks: &[Check]) -> CheckResult {
    checks.iter().map(|check| check.result).max().unwrap_or(CheckResult::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_is_the_verdict() {
        assert_eq!(worst(&[]), CheckResult::Ok);
        let lines = [Check::ok("a", "b"), Check::fail("c", "d").remedy("e"), Check::warn("f", "g")];
        assert_eq!(worst(&lines), CheckResult::Fail);
        assert_eq!(worst(&[Check::ok("a", "b"), Check::unknown("c", "d")]), CheckResult::Unknown);
        assert_eq!(lines[1].to_string(), "fail     c: d -> e");
    }
}
