//! `ms2m transfer`: one checkpoint archive to where it is wanted.

mod args;
mod body;
mod output;
mod target;

use std::time::{Duration, Instant};

use ms2m_core::{Cancel, Error, ErrorKind, MigrationId, Part, Receipt, Result, RetryPolicy, TransferBackend, TransferJob, Verdict, paced};

pub(crate) use self::args::TransferArgs;
use self::body::Archive;
use crate::exit::Exit;
use crate::interrupt;
use crate::progress::bytes_bar;

/// Sends it.
pub(crate) fn run(args: &TransferArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ms2m: no threads to run on: {error}");
            return Exit::Failed;
        }
    };
    let begun = Instant::now();
    match runtime.block_on(transfer(args)) {
        Ok(receipt) => match output::print(args.output, &receipt, begun.elapsed()) {
            Ok(()) => Exit::Done,
            Err(error) => {
                eprintln!("ms2m: the receipt cannot be printed: {error}");
                Exit::Failed
            }
        },
        Err(error) => {
            eprintln!("ms2m: {error}");
            Exit::Failed
        }
    }
}

async fn transfer(args: &TransferArgs) -> Result<Receipt> {
    let archive = Archive::find(&args.archive)?;
    let migration = migration(args)?;
    let backend = target::backend(args)?;
    let cancel = Cancel::new();
    let _told = interrupt::listen(cancel.clone());
    tokio::select! {
        sent = send(args, &archive, &migration, &*backend) => sent,
        reason = cancel.cancelled() => {
            Err(Error::fatal(ErrorKind::Cancelled, format!("{reason}; the same command with --migration {migration} begins again")))
        }
    }
}

/// Repeats what is worth repeating until the time is up.
async fn send(args: &TransferArgs, archive: &Archive, migration: &MigrationId, backend: &dyn TransferBackend) -> Result<Receipt> {
    let (begun, within) = (Instant::now(), Duration::from_secs(args.within));
    let retry = RetryPolicy { base: Duration::from_millis(200), max: Duration::from_secs(10), ..RetryPolicy::default() };
    let mut attempt = 1;
    loop {
        let deadline = within.saturating_sub(begun.elapsed());
        let job = TransferJob { migration: migration.clone(), part: Part::Final, archive_bytes: archive.bytes, deadline };
        let bar = bytes_bar(migration.as_str(), archive.bytes);
        let body = archive.stream(bar.clone())?;
        let body = match args.way.bytes_per_second {
            Some(limit) => paced(body, limit),
            None => body,
        };
        let sent = backend.send(&job, body).await;
        bar.finish_and_clear();
        let pause = retry.pause_after(attempt);
        match sent {
            Err(error) if error.verdict() == Verdict::Retry && begun.elapsed() + pause < within => {
                eprintln!("ms2m: {error}; trying again");
                tokio::time::sleep(pause).await;
                attempt += 1;
            }
            sent => return sent,
        }
    }
}

/// A name that the user has given, or one made of the archive's.
fn migration(args: &TransferArgs) -> Result<MigrationId> {
    if let Some(name) = args.migration.as_ref().or(args.container.as_ref()) {
        return MigrationId::new(name);
    }
    let stem = args.archive.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    MigrationId::new(name.trim_start_matches(['.', '-', '_'])).map_err(|error| {
        Error::fatal(ErrorKind::Invalid, "no name can be made of the archive's; give one with --migration").caused_by(error)
    })
}
