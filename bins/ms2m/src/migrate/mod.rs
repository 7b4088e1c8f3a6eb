//! `ms2m migrate`: one container, from the command line to the exit status.

mod args;
mod local;
mod output;

use std::sync::Arc;

use ms2m_core::{Cancel, Driver, MigrationReport, Outcome, Protocol, Result};

pub(crate) use self::args::{MigrateArgs, RuntimeChoice};
use crate::exit::Exit;
use crate::interrupt;

/// Moves it.
pub(crate) fn run(args: &MigrateArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m: no threads to run on: {error}");
            return Exit::Failed;
        }
    };
    match runtime.block_on(migrate(args)) {
        Ok(report) => {
            if let Err(error) = output::print(args, &report) {
                eprintln!("ms2m: the report cannot be printed: {error}");
            }
            exit(&report)
        }
        Err(error) => {
            eprintln!("ms2m: {error}");
            Exit::Failed
        }
    }
}

async fn migrate(args: &MigrateArgs) -> Result<MigrationReport> {
    let plan = local::Plan::make(args).await?;
    let cancel = Cancel::new();
    let told = interrupt::listen(cancel.clone());
    let driver = Driver::new(plan.drivers, Arc::new(plan.store)).with_cancel(cancel).with_observer(output::live());
    let run = async {
        match plan.begun {
            Some(state) => {
                eprintln!("ms2m: going on with migration {}", state.spec().migration);
                driver.resume(state).await
            }
            None => {
                eprintln!(
                    "ms2m: migration {}; should this process die, the same command with --migration {} goes on",
                    plan.spec.migration, plan.spec.migration
                );
                driver.run(plan.spec).await
            }
        }
    };
    let report = tokio::select! {
        report = run => report?,
        () = interrupt::at_once(told) => return Err(interrupt::interrupted()),
    };
    local::clear(args, &report).await?;
    Ok(report)
}

/// Without an auditor the proof is that both sides had the same digest at the cut.
fn exit(report: &MigrationReport) -> Exit {
    let journal = &report.ledger.journal;
    match report.outcome {
        // There was nothing to apply while nobody ran.
        Outcome::Completed if report.protocol == Some(Protocol::Standstill) => Exit::Done,
        Outcome::Completed if journal.digest_source.is_some() && journal.digest_source == journal.digest_target => Exit::Done,
        Outcome::Completed => Exit::NotExact,
        Outcome::RolledBack | Outcome::Cancelled => Exit::RolledBack,
        Outcome::Failed => Exit::Failed,
    }
}
