//! The tasks of this workspace. `cargo xtask help` lists them; CONTRIBUTING.md says when to use which.

mod bench;
mod cargo;
mod check;
mod image;
mod provide;
mod rules;
mod steps;
mod tiers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::check::Part;
use crate::steps::Steps;
use crate::tiers::Tier;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The tasks of this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run one tier of tests; without a tier: the checks and every tier
    Test { tier: Option<Tier> },
    /// Format, clippy, documentation and the rules of the workspace; or one of them
    Check { part: Option<Part> },
    /// Build the programs of a cluster, such as need nothing of the system, and an OCI image of them: target/image/ms2m.tar
    Image,
    /// Pack and move checkpoints side by side with other tools and with what bounds them; `bench criterion` runs `cargo bench` instead
    #[command(disable_help_flag = true)]
    Bench {
        /// Those of the comparison (`--help` lists them), or of `cargo bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    if let Err(error) = std::env::set_current_dir(cargo::workspace_root()) {
        eprintln!("xtask: the workspace's folder cannot be entered: {error}");
        return ExitCode::FAILURE;
    }
    let mut steps = Steps::new();
    match task {
        Task::Test { tier: Some(tier) } => tier.run(&mut steps),
        Task::Test { tier: None } => {
            let early = provide::Early::begin();
            check::run(&mut steps);
            tiers::run_all(&mut steps, early);
        }
        Task::Check { part: Some(part) } => part.run(&mut steps),
        Task::Check { part: None } => check::run(&mut steps),
        Task::Image => image::run(&mut steps),
        Task::Bench { options } => bench::run(&mut steps, &options),
    }
    steps.finish()
}
