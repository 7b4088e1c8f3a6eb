//! The drivers of a migration on one machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::engine::{Deadlines, PreDumpPolicy};
use ms2m_core::{
    Drivers, Error, ErrorKind, InstanceId, MigrationId, MigrationReport, MigrationSpec, MigrationState, ReplayBroker, RestoreTarget,
    Result, StateStore,
};
use ms2m_criu::criu::Criu;
use ms2m_criu::local::{LocalTarget, Template};
use ms2m_criu::runtime::{Container, ContainerState, ContainerStatus, Runtime, RuntimeSource, Standstill};
use ms2m_transfer_shared_volume::SharedVolume;
use rand::RngExt as _;
use rand::distr::Alphanumeric;

use super::args::MigrateArgs;
use crate::file_store::{FileStore, read_json, write_json};

/// The container's name within its checkpoint.
const NAME: &str = "main";

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
        let runtime = runtime(args);
        let migration = MigrationId::new(args.migration.clone().unwrap_or_else(|| format!("m-{}", random(8))))?;
        let file = place(args, &migration).join("templates.json");
        let templates: Vec<Template> = match (&begun, read_json(&file)?) {
            (Some(_), Some(templates)) => templates,
            _ => vec![template(args, &runtime).await?],
        };
        let spec = match &begun {
            Some(state) => state.spec().clone(),
            None => spec(args, &runtime, migration).await?,
        };
        let containers = [(NAME.to_owned(), args.source.clone())];
        let source = RuntimeSource::open(runtime.clone(), Criu::new(&args.criu), &args.work_dir, &containers).await?;
        let target = Arc::new(LocalTarget::new(runtime.clone(), &args.work_dir, templates.clone()));
        let broker = broker(args, &spec, &runtime, &target)?;
        let store = store(args)?;
        if begun.is_none() {
            make_private(&place(args, &spec.migration))?;
            write_json(&file, &templates)?;
        }
        let drivers =
            Drivers { source: Arc::new(source), transfer: Arc::new(SharedVolume::new(args.work_dir.join("transfer"))), target, broker };
        Ok(Self { drivers, store, spec, begun })
    }
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

/// Whether the source has ended.
pub(super) async fn source_is_gone(args: &MigrateArgs) -> bool {
    let ended = |state: ContainerState| state.status == ContainerStatus::Stopped;
    // A runtime that does not answer says nothing about it.
    runtime(args).state(&args.source).await.is_ok_and(|state| state.is_none_or(ended))
}

fn runtime(args: &MigrateArgs) -> Runtime {
    let runtime = Runtime::new(args.runtime.into());
    match &args.runtime_root {
        Some(root) => runtime.with_root(root),
        None => runtime,
    }
}

fn place(args: &MigrateArgs, migration: &MigrationId) -> PathBuf {
    args.work_dir.join("migrations").join(migration.as_str())
}

fn store(args: &MigrateArgs) -> Result<FileStore> {
    let directory = args.work_dir.join("states");
    make_private(&directory)?;
    Ok(FileStore::new(directory))
}

fn make_private(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| {
        let message = "the work directory cannot be made; name another one with --work-dir";
        Error::fatal(ErrorKind::Other, message).with("path", directory.display()).caused_by(error)
    })
}

async fn template(args: &MigrateArgs, runtime: &Runtime) -> Result<Template> {
    let container = Container::inspect(runtime, &args.source).await?;
    let template = Template::of(NAME, &container)?.with_identity_file(&args.identity_file);
    match &args.bundle {
        Some(bundle) => template.with_bundle(bundle),
        None => Ok(template),
    }
}

async fn spec(args: &MigrateArgs, runtime: &Runtime, migration: MigrationId) -> Result<MigrationSpec> {
    let container = Container::inspect(runtime, &args.source).await?;
    let copy = InstanceId::new(args.copy.clone().unwrap_or_else(|| format!("{}-{}", args.source, random(5))))?;
    let source = match &args.broker {
        Some(_) => identity(&container, &args.identity_file)?,
        None => InstanceId::new(&args.source)?,
    };
    let queue = args.queue.clone().unwrap_or_default();
    let pre_dump = (args.pre_dump > 0).then(|| PreDumpPolicy { rounds_max: args.pre_dump, ..PreDumpPolicy::default() });
    let deadlines = Deadlines { restoring: Duration::from_secs(args.restore_within), ..Deadlines::default() };
    Ok(MigrationSpec { mode: args.mode.into(), pre_dump, deadlines, ..MigrationSpec::new(migration, queue, source, copy) })
}

/// Who the consumer in the container says it is, from where it reads that itself.
fn identity(container: &Container, file: &Path) -> Result<InstanceId> {
    let inside = container.proc_root().join(file.strip_prefix("/").unwrap_or(file));
    let text = std::fs::read_to_string(&inside).map_err(|error| {
        let message = "the container has no file that says which instance it is; name it with --identity-file";
        Error::fatal(ErrorKind::NotFound, message).with("file", file.display()).with("container", container.id()).caused_by(error)
    })?;
    InstanceId::new(text.trim())
}

fn broker(args: &MigrateArgs, spec: &MigrationSpec, runtime: &Runtime, target: &Arc<LocalTarget>) -> Result<Arc<dyn ReplayBroker>> {
    let Some(url) = &args.broker else {
        let target: Arc<dyn RestoreTarget> = Arc::clone(target) as _;
        return Ok(Arc::new(Standstill::new(runtime.clone(), vec![args.source.clone()], &args.work_dir, target)));
    };
    let config = RabbitMqConfig::new(url)?;
    let config = match &args.management {
        Some(management) => config.with_management(management)?,
        None => config.with_default_management()?,
    };
    let broker = RabbitMq::new(config)?;
    let options = JournalOptions::new(args.queue_type.into(), args.single_active_consumer);
    Ok(Arc::new(JournalBroker::new(Arc::new(broker), spec.queue.clone(), options)))
}

fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(|byte| char::from(byte).to_ascii_lowercase()).collect()
}
