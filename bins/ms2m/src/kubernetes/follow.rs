//! A migration as it goes on, and its end.

use std::io::{self, IsTerminal as _};
use std::pin::pin;

use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource as _};
use ms2m_core::{Error, ErrorKind, MigrationReport, Result};
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationStatus};

use super::report::finished;
use crate::demo::Output;
use crate::exit::Exit;
use crate::migrate::{exit, print_report};

/// Shows what it does, and prints its report.
pub(super) async fn to_the_end(migrations: Api<StatefulMigration>, name: &str, output: Output) -> Result<Exit> {
    let shown = Shown::new();
    let mut watch = pin!(watch_object(migrations, name).default_backoff());
    while let Some(seen) = watch.next().await {
        let Some(migration) = seen.map_err(|error| unwatched(name, error))? else {
            shown.bar.finish_and_clear();
            let message = "the migration was deleted, and so rolled back unless its queue had changed hands";
            return Err(Error::fatal(ErrorKind::Cancelled, message).with("migration", name));
        };
        let status = migration.status.clone().unwrap_or_default();
        shown.show(&status, migration.meta().deletion_timestamp.is_some());
        if let Some(report) = finished(&migration)? {
            shown.bar.finish_and_clear();
            return end(&report, output);
        }
    }
    Err(Error::retry(ErrorKind::Unavailable, "the API server has ended the watch; `ms2m describe` says how it stands")
        .with("migration", name))
}

fn unwatched(name: &str, error: kube::runtime::watcher::Error) -> Error {
    let message = "the migration cannot be watched any more, and goes on; `ms2m describe` says how it stands";
    Error::retry(ErrorKind::Unavailable, message).with("migration", name).caused_by(error)
}

pub(super) fn end(report: &MigrationReport, output: Output) -> Result<Exit> {
    print_report(report, output).map_err(|error| Error::fatal(ErrorKind::Other, "the report cannot be printed").caused_by(error))?;
    Ok(exit(report))
}

/// A line on the terminal; a line for each phase elsewhere.
struct Shown {
    bar: ProgressBar,
    phase: std::cell::RefCell<String>,
}

impl Shown {
    fn new() -> Self {
        let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        Self { bar, phase: std::cell::RefCell::default() }
    }

    fn show(&self, status: &StatefulMigrationStatus, deleted: bool) {
        let phase = status.phase.map_or_else(|| "waits for the controller".to_owned(), |phase| phase.to_string());
        let phase = if deleted { format!("{phase}, rolling back") } else { phase };
        let more = status
            .message
            .as_deref()
            .or(status.progress.as_ref().and_then(|progress| Some(progress.summary.as_str()).filter(|summary| !summary.is_empty())));
        let line = more.map_or_else(|| phase.clone(), |more| format!("{phase}: {more}"));
        self.bar.set_message(line.clone());
        if self.bar.is_hidden() && *self.phase.borrow() != phase {
            eprintln!("ms2m: {line}");
            self.phase.replace(phase);
        }
    }
}
