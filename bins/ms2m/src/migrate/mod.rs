//! `ms2m migrate`: one container or several, or a process, from the command line to the exit status.

mod args;
mod container;
mod group;
mod local;
mod output;
mod process;
mod transfer;

use std::sync::Arc;

use ms2m_core::{Cancel, Driver, MigrationReport, MigrationState, Outcome, Protocol, Result};

use self::args::SourceKind;
pub(crate) use self::args::{MigrateArgs, RuntimeChoice, TransferChoice};
pub(crate) use self::output::{print_report, text as report_text};
use crate::exit::Exit;
use crate::interrupt;

/// Moves it.
pub(crate) fn run(args: &MigrateArgs) -> Exit {
    if let Some(pod) = &args.pod {
        return crate::kubernetes::migrate(args, pod);
    }
    if args.broker.is_some() && args.queue.is_none() {
        eprintln!("ms2m: which queue does the source consume from the broker? Name it with --queue");
        return Exit::BadUsage;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m: no threads to run on: {error}");
            return Exit::Failed;
        }
    };
    match runtime.block_on(migrate(args)) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("ms2m: {error}");
            Exit::Failed
        }
    }
}

async fn migrate(args: &MigrateArgs) -> Result<Exit> {
    let begun = local::begun(args).await?;
    let mut report = match begun.as_ref().and_then(MigrationReport::of) {
        Some(report) => report,
        None => go(args, begun).await?,
    };
    let source_lost = report.outcome != Outcome::Completed && local::source_is_gone(args).await;
    if source_lost {
        let reason = report.reason.get_or_insert_default();
        reason.push_str(
            "; the source has ended and nobody consumes: its state is lost, unless a checkpoint was left behind; its messages wait in the \
             queue: delete the journal if it was left behind, for a consumer that finds one waits, and start one from the state you trust",
        );
    }
    // Printed first: whoever is killed in between has nothing left to go on with, but may ask again.
    if let Err(error) = output::print(args.output, &report, source_lost) {
        eprintln!("ms2m: the report cannot be printed: {error}");
    }
    if args.runtime == SourceKind::Process {
        process::tell(args, &report);
    }
    local::clear(args, &report).await?;
    Ok(if source_lost { Exit::SourceLost } else { exit(&report) })
}

async fn go(args: &MigrateArgs, begun: Option<MigrationState>) -> Result<MigrationReport> {
    let plan = local::Plan::make(args, begun).await?;
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
    tokio::select! {
        report = run => report,
        () = interrupt::at_once(told) => Err(interrupt::interrupted()),
    }
}

/// Without an auditor the proof is that both sides had the same digest at the cut.
pub(crate) fn exit(report: &MigrationReport) -> Exit {
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
