//! `cargo xtask check`: what needs no test to run.

use clap::ValueEnum;

use crate::cargo::cargo;
use crate::provide;
use crate::rules;
use crate::steps::{Outcome, Steps, execute};

/// One part of the checks.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Part {
    /// The format of all sources
    Fmt,
    /// Clippy with all features and with none
    Clippy,
    /// The documentation builds without a warning
    Docs,
    /// Dependencies, licences and the other rules of the workspace
    Rules,
}

/// Every part.
pub(crate) fn run(steps: &mut Steps) {
    Part::value_variants().iter().for_each(|part| part.run(steps));
}

impl Part {
    pub(crate) fn run(self, steps: &mut Steps) {
        match self {
            Self::Fmt => steps.run("fmt", || with_component("rustfmt", &["fmt"], &["--all", "--check"])),
            Self::Clippy => {
                // What has the default features is built by the tests.
                for (name, features) in [("clippy, all features", "--all-features"), ("clippy, no features", "--no-default-features")] {
                    let args = ["--workspace", "--all-targets", features, "--", "-D", "warnings"];
                    steps.run(name, || with_component("clippy", &["clippy"], &args));
                }
            }
            Self::Docs => {
                let args = ["doc", "--workspace", "--no-deps", "--all-features"];
                steps.cargo("docs", cargo().args(args).env("RUSTDOCFLAGS", "-D warnings"));
            }
            Self::Rules => rules::run(steps),
        }
    }
}

/// A cargo command that needs a component of the toolchain.
fn with_component(component: &str, command: &[&str], args: &[&str]) -> anyhow::Result<Outcome> {
    match provide::component(component, command) {
        Outcome::Passed => execute(cargo().args(command).args(args)),
        missing => Ok(missing),
    }
}
