//! Steps that run one after the other, and the summary at the end.

use std::fmt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cargo::describe;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Something is missing that could not be installed; says what, and how to get it.
    LeftOut(String),
}

#[derive(Debug)]
struct Done {
    name: String,
    outcome: Outcome,
    took: Duration,
}

/// The steps so far. A failed step does not stop the next ones: one run tells everything.
#[derive(Debug)]
pub(crate) struct Steps {
    must_be_complete: bool,
    done: Vec<Done>,
}

impl Steps {
    /// With `CI=true` leaving something out counts as a failure.
    pub(crate) fn new() -> Self {
        Self::with_ci(std::env::var_os("CI").is_some_and(|ci| ci == "true"))
    }

    fn with_ci(must_be_complete: bool) -> Self {
        Self { must_be_complete, done: Vec::new() }
    }

    /// Runs one step.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) {
        println!("==> {name}");
        let start = Instant::now();
        let outcome = match step() {
            Ok(Outcome::LeftOut(what)) if self.must_be_complete => Outcome::Failed(format!("CI may leave nothing out: {what}")),
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        match &outcome {
            Outcome::Passed => {}
            Outcome::Failed(why) => println!("{name} failed: {why}"),
            Outcome::LeftOut(what) => println!("{name} left out: {what}"),
        }
        self.done.push(Done { name: name.to_owned(), outcome, took: start.elapsed() });
    }

    /// Runs a command as a step, its output shown as it comes.
    pub(crate) fn cargo(&mut self, name: &str, command: &mut Command) {
        self.run(name, || execute(command));
    }

    /// Prints the summary; failure if a step failed.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{self}");
        if self.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.done.iter().filter(|done| which(&done.outcome)).count()
    }
}

/// Runs a command to its end, its output shown as it comes.
pub(crate) fn execute(command: &mut Command) -> Result<Outcome> {
    let line = describe(command);
    println!("    {line}");
    let status = command.status().with_context(|| format!("`{line}` cannot be started"))?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed(format!("`{line}` ended with {status}")) })
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Done { name, outcome, took } in &self.done {
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed(why) => ("FAILED", why.lines().next()),
                Outcome::LeftOut(what) => ("left out", what.lines().next()),
            };
            write!(f, "{word:8}  {name:31} {:7.1} s", took.as_secs_f64())?;
            why.map_or(Ok(()), |why| write!(f, "  {why}"))?;
            writeln!(f)?;
        }
        write!(f, "{} passed, {} failed", self.count(|outcome| *outcome == Outcome::Passed), self.failed())?;
        match self.count(|outcome| matches!(outcome, Outcome::LeftOut(_))) {
            0 => Ok(()),
            left_out => write!(f, ", {left_out} left out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn sample(ci: bool) -> Steps {
        let mut steps = Steps::with_ci(ci);
        steps.run("good", || Ok(Outcome::Passed));
        steps.run("bad", || Err(anyhow!("broken\nin detail")));
        steps.run("missing", || Ok(Outcome::LeftOut("get it".to_owned())));
        steps
    }

    #[test]
    fn summary_has_a_line_per_step_and_totals() {
        let text = sample(false).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].starts_with("passed    good") && lines[0].ends_with(" s"), "{text}");
        assert!(lines[1].starts_with("FAILED    bad") && lines[1].ends_with("  broken"), "{text}");
        assert!(lines[2].starts_with("left out  missing") && lines[2].ends_with("  get it"), "{text}");
        assert_eq!(lines[3], "1 passed, 1 failed, 1 left out");
    }

    #[test]
    fn ci_turns_what_is_left_out_into_a_failure() {
        assert_eq!(sample(false).failed(), 1);
        assert_eq!(sample(true).failed(), 2);
        assert!(sample(true).to_string().ends_with("\n1 passed, 2 failed"));
    }

    #[test]
    fn a_failing_command_is_a_failed_step() {
        assert!(matches!(execute(&mut Command::new("false")), Ok(Outcome::Failed(_))));
        assert!(matches!(execute(&mut Command::new("true")), Ok(Outcome::Passed)));
        assert!(execute(&mut Command::new("/nonexistent/command")).is_err());
    }
}
