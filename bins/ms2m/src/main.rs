//! `ms2m`: moves stateful message consumers while they serve, and proves that nothing was lost, doubled or reordered.

mod agent;
mod backend;
mod cli;
mod demo;
mod doctor;
mod exit;
mod file_store;
mod inspect;
mod interrupt;
mod kubernetes;
mod migrate;
mod pack;
mod progress;
mod transfer;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use exit::Exit;

fn main() -> ExitCode {
    // An installed provider is the only error, and then one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::BadUsage.into() } else { Exit::Done.into() };
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.command.log_filter()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    let exit = match cli.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Transfer(arguments) => transfer::run(&arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Pack(arguments) => pack::run(arguments),
        Command::Drain(arguments) => kubernetes::drain(&arguments),
        Command::List(arguments) => kubernetes::list(&arguments),
        Command::Describe(arguments) => kubernetes::describe(&arguments),
        Command::Cancel(arguments) => kubernetes::cancel(&arguments),
        Command::Report(arguments) => kubernetes::report(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ms2m", &mut io::stdout());
            Exit::Done
        }
        Command::DemoConsumer(arguments) => demo::processes::consumer::run(arguments),
        Command::DemoPublisher(arguments) => demo::processes::publisher::run(&arguments),
    };
    exit.into()
}
