//! `ms2m-runtime`: an OCI runtime around runc or crun. A container of a pod that waits for a migrated consumer is restored from its
//! checkpoint when it is created; everything else is left to the runtime behind it.

mod call;
mod complaint;
mod config;
mod restore;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use call::{Call, Verb};
use config::Config;
use ms2m_core::Result;

fn main() -> ExitCode {
    let call = Call::parse(std::env::args_os().skip(1));
    match run(&call) {
        Ok(code) => code,
        Err(error) => {
            complaint::say(&call, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(call: &Call) -> Result<ExitCode> {
    let config = Config::load()?;
    match &call.verb {
        Verb::Create { bundle, .. } => {
            if restore::create(&config, call, bundle)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        // It runs since it was created.
        Verb::Start if ms2m_criu::pod::was_restored(&config.state, &call.id) => return Ok(ExitCode::SUCCESS),
        Verb::Delete => restore::clean(&config, call)?,
        Verb::Start | Verb::Other => {}
    }
    let error = Command::new(&config.runtime).args(&call.words).exec();
    Err(config.cannot_start(error))
}
