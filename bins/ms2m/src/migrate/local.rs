//! The drivers of a migration on one machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::engine::{Deadlines, PreDumpPolicy};
use ms2m_core::{
    CheckpointSource, Drivers, Error, ErrorKind, InstanceId, MigrationId, MigrationReport, MigrationSpec, MigrationState, ReplayBroker,
    RestoreTarget, Result, StateStore,
};
use ms2m_criu::standstill::Standstill;
use rand::RngExt as _;
use rand::distr::Alphanumeric;

use super::args::MigrateArgs;
use super::transfer::transfer;
use super::{container, group, process};
use crate::file_store::FileStore;

/// Everything that a driver needs.
pub(super) struct Plan {
    pub(super) drivers: Drivers,
    pub(super) store: FileStore,
    pub(super) spec: MigrationSpec,
    /// Where an earlier driver has left it.
    pub(super) begun: Option<MigrationState>,
}

impl Plan {
    /// `begun` is where an earlier driver has left it. Nothing is left behind after an error.
    pub(super) async fn make(args: &MigrateArgs, begun: Option<MigrationState>) -> Result<Self> {
        let migration = match &begun {
            Some(state) => state.spec().migration.clone(),
            None => MigrationId::new(args.migration.clone().unwrap_or_else(|| format!("m-{}", random(8))))?,
        };
        let parties = match args.runtime.runtime() {
            Some(flavor) => container::parties(args, flavor, &migration, begun.is_some()).await?,
            None => process::parties(args, &migration, begun.is_some()).await?,
        };
        let spec = match &begun {
            Some(state) => state.spec().clone(),
            None => spec(args, migration, &parties)?,
        };
        let capability = parties.source.capability();
        if spec.pre_dump.is_some() && !capability.pre_dump {
            let rounds =
                if capability.freezing_round { "one pre-dump round is made, and only in hold mode" } else { "no pre-dump rounds are made" };
            eprintln!("ms2m: {rounds}: this kernel does not track changed memory (CONFIG_MEM_SOFT_DIRTY)");
        }
        let broker = match &args.broker {
            Some(url) => broker(args, url, &spec)?,
            None => Arc::new(parties.standstill),
        };
        let transfer = transfer(args, &spec.migration)?;
        let drivers = Drivers { source: parties.source, transfer, target: parties.target, broker };
        Ok(Self { drivers, store: store(args)?, spec, begun })
    }
}

/// Both ends of a migration.
pub(super) struct Parties {
    pub(super) source: Arc<dyn CheckpointSource>,
    pub(super) target: Arc<dyn RestoreTarget>,
    /// Who decides when there is no queue.
    pub(super) standstill: Standstill,
    /// Who the source is, by its own file when it serves a queue.
    pub(super) instance: InstanceId,
}

/// Forgets what a finished migration needed to go on after a crash.
pub(super) async fn clear(args: &MigrateArgs, report: &MigrationReport) -> Result<()> {
    let place = place(args, &report.id);
    match std::fs::remove_dir_all(&place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::fatal(ErrorKind::Other, "the migration's directory cannot be removed")
                .with("path", place.display())
                .caused_by(error));
        }
        _ => {}
    }
    // Last: as long as it is there, the same command goes on with what is to be removed.
    store(args)?.remove(&report.id).await
}

/// Where an earlier driver has left the migration that is asked for.
pub(super) async fn begun(args: &MigrateArgs) -> Result<Option<MigrationState>> {
    match &args.migration {
        Some(migration) => store(args)?.load(&MigrationId::new(migration.clone())?).await,
        None => Ok(None),
    }
}

/// Whether the source has ended; of several, the one that consumes.
pub(super) async fn source_is_gone(args: &MigrateArgs) -> bool {
    match args.runtime.runtime() {
        Some(flavor) => container::is_gone(args, flavor).await,
        None => process::is_gone(args),
    }
}

pub(super) fn place(args: &MigrateArgs, migration: &MigrationId) -> PathBuf {
    args.work_dir.join("migrations").join(migration.as_str())
}

fn store(args: &MigrateArgs) -> Result<FileStore> {
    let directory = args.work_dir.join("states");
    make_private(&directory)?;
    Ok(FileStore::new(directory))
}

pub(super) fn make_private(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        let message = "the work directory cannot be made; name another one with --work-dir";
        Error::fatal(ErrorKind::Other, message).with("path", directory.display()).caused_by(error)
    })
}

fn spec(args: &MigrateArgs, migration: MigrationId, parties: &Parties) -> Result<MigrationSpec> {
    let copy = InstanceId::new(args.copy.clone().unwrap_or_else(|| format!("{}-{}", group::stem(args), random(5))))?;
    let queue = args.queue.clone().unwrap_or_default();
    let pre_dump = (args.pre_dump > 0).then(|| PreDumpPolicy { rounds_max: args.pre_dump, ..PreDumpPolicy::default() });
    let deadlines = Deadlines { restoring: Duration::from_secs(args.restore_within), ..Deadlines::default() };
    let instance = parties.instance.clone();
    Ok(MigrationSpec {
        mode: args.mode.into(),
        pre_dump,
        bytes_per_s_max: args.way.bytes_per_second,
        deadlines,
        ..MigrationSpec::new(migration, queue, instance, copy)
    })
}

/// Who the consumer says it is, from where it reads that itself. `root` is its root directory.
pub(super) fn instance(args: &MigrateArgs, root: &Path) -> Result<InstanceId> {
    if args.broker.is_none() {
        return InstanceId::new(args.source());
    }
    let file = &args.identity_file;
    let text = std::fs::read_to_string(root.join(file.strip_prefix("/").unwrap_or(file))).map_err(|error| {
        let message = "the source has no file that says which instance it is; name it with --identity-file";
        Error::fatal(ErrorKind::NotFound, message).with("file", file.display()).with("source", args.source()).caused_by(error)
    })?;
    InstanceId::new(text.trim())
}

fn broker(args: &MigrateArgs, url: &str, spec: &MigrationSpec) -> Result<Arc<dyn ReplayBroker>> {
    let broker = RabbitMq::new(RabbitMqConfig::new(url)?.with_management_or_default(args.management.as_deref())?)?;
    let options = JournalOptions::new(args.queue_type.into(), args.single_active_consumer);
    Ok(Arc::new(JournalBroker::new(Arc::new(broker), spec.queue.clone(), options)))
}

fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(|byte| char::from(byte).to_ascii_lowercase()).collect()
}
