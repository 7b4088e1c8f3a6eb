//! A migration as it goes on, and its end.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource as _};
use ms2m_core::{Error, ErrorKind, MigrationReport, Phase, Result};
use ms2m_k8s::api::{StatefulMigration, StatefulMigrationStatus};

use super::report::finished;
use super::shown::Shown;
use crate::demo::Output;
use crate::exit::Exit;
use crate::migrate::{exit, print_report};

/// How long the API server may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a migration has ended.
pub(super) enum Ended {
    /// The engine has run it.
    Run(Box<MigrationReport>),
    /// The controller has refused it, with this reason.
    Refused(String),
}

/// Shows what it does, and prints its report.
pub(super) async fn to_the_end(migrations: Api<StatefulMigration>, name: &str, output: Output) -> Result<Exit> {
    match until_ended(migrations, name, &Shown::alone()).await?.1 {
        Ended::Run(report) => end(&report, output),
        Ended::Refused(reason) => {
            let message = format!("the migration was refused, and nothing was changed: {reason}");
            Err(Error::fatal(ErrorKind::Unsupported, message).with("migration", name))
        }
    }
}

/// Shows what it does until it has ended.
pub(super) async fn until_ended(migrations: Api<StatefulMigration>, name: &str, shown: &Shown) -> Result<(StatefulMigrationStatus, Ended)> {
    let mut watch = pin!(watch_object(migrations, name).default_backoff());
    let mut disturbed = None;
    while let Some(seen) = watch.next().await {
        let seen = match seen {
            // It goes on by itself after a disturbance; what it is refused stays refused.
            Err(error) if is_final(&error) || disturbed.get_or_insert_with(Instant::now).elapsed() > PATIENCE => {
                return Err(unwatched(name, error));
            }
            Err(_) => continue,
            Ok(seen) => seen,
        };
        disturbed = None;
        let Some(migration) = seen else {
            shown.clear();
            let message = "the migration was deleted, and so rolled back unless its queue had changed hands";
            return Err(Error::fatal(ErrorKind::Cancelled, message).with("migration", name));
        };
        let status = migration.status.clone().unwrap_or_default();
        shown.show(&status, migration.meta().deletion_timestamp.is_some());
        let ended = match finished(&migration)? {
            Some(report) => Ended::Run(Box::new(report)),
            None if is_refused(&status) => Ended::Refused(status.message.clone().unwrap_or_else(|| "no reason is known".to_owned())),
            None => continue,
        };
        shown.clear();
        return Ok((status, ended));
    }
    Err(Error::retry(ErrorKind::Unavailable, "the API server has ended the watch; `ms2m describe` says how it stands")
        .with("migration", name))
}

/// It has ended before the engine has begun, so there is no report.
pub(super) fn is_refused(status: &StatefulMigrationStatus) -> bool {
    status.phase.is_some_and(Phase::is_final) && status.completion_time.is_some() && status.report.is_none()
}

fn is_final(error: &kube::runtime::watcher::Error) -> bool {
    use kube::runtime::watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let (InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error)) = error else { return false };
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}

fn unwatched(name: &str, error: kube::runtime::watcher::Error) -> Error {
    let message = "the migration cannot be watched any more, and goes on; `ms2m describe` says how it stands";
    Error::retry(ErrorKind::Unavailable, message).with("migration", name).caused_by(error)
}

pub(super) fn end(report: &MigrationReport, output: Output) -> Result<Exit> {
    print_report(report, output).map_err(|error| Error::fatal(ErrorKind::Other, "the report cannot be printed").caused_by(error))?;
    Ok(exit(report))
}
