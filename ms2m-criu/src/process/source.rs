//! [`ProcessSource`]: checkpoints of a bare process tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, Part, PreDump, Result,
    SourceStatus,
};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::CONTAINER;
use super::id::ProcessId;
use super::open_files::OpenFiles;
use super::options::SourceOptions;
use super::tree::{Tree, TreeId};
use crate::archive::{ContainerManifest, Manifest, TarPlan};
use crate::criu::{DumpOptions, DumpStats, Features};
use crate::store::{JobDir, Store};

/// How long it may take until all of a tree has stopped.
const STOP_MAX: Duration = Duration::from_secs(2);

/// A process and everything that it has started, dumped by CRIU.
///
/// The tree must have its stdio from `/dev/null`, files or pipes, and share the machine's namespaces. Established TCP connections are not
/// looked into: they stay the source's, and are closed in the copy. Regular files that it has open for writing travel with the
/// checkpoint, as they are at the freeze.
///
/// A repeated [`checkpoint`](CheckpointSource::checkpoint) takes a new one, also after a round that failed: it then writes everything.
#[derive(Debug)]
pub struct ProcessSource {
    tree: Arc<Tree>,
    options: SourceOptions,
    store: Store,
    criu_version: String,
    features: Features,
    /// The last dump from which on the kernel tracks changes. Known only to this very driver: another one writes everything.
    tracked: Mutex<Option<(MigrationId, u32)>>,
}

impl ProcessSource {
    /// The tree below this process.
    ///
    /// # Errors
    /// When there is no such process, CRIU does not answer, or the work directory cannot be used.
    pub async fn new(pid: u32, options: SourceOptions) -> Result<Self> {
        let tree = Tree::of(pid)?;
        if fs::read_link(format!("/proc/{pid}/ns/pid")).ok() != fs::read_link("/proc/self/ns/pid").ok() {
            let text =
                "the process has process ids of its own (a container, or a copy that was moved before): move the container by its name";
            return Err(Error::fatal(ErrorKind::Unsupported, text).with("pid", pid));
        }
        Self::of(tree, options).await
    }

    /// A tree that a driver before this one has looked at. That it has ended since is no error:
    /// [`status`](CheckpointSource::status) says so.
    ///
    /// # Errors
    /// When CRIU does not answer, or the work directory cannot be used.
    pub async fn known(tree: TreeId, options: SourceOptions) -> Result<Self> {
        Self::of(Tree::known(tree), options).await
    }

    async fn of(tree: Tree, options: SourceOptions) -> Result<Self> {
        let tree = Arc::new(tree);
        let store = Store::open(&options.work_dir)?;
        let criu_version = options.criu.version().await?.to_string();
        let features = options.criu.features().await?;
        Ok(Self { tree, options, store, criu_version, features, tracked: Mutex::default() })
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> ProcessId {
        self.tree.root()
    }

    /// By which a driver after this one knows the tree.
    #[must_use]
    pub fn tree(&self) -> TreeId {
        self.tree.id()
    }

    /// Whether it can be told to stop, and to go on afterwards.
    pub(crate) fn stoppable(&self) -> Result<()> {
        self.alive()?;
        match self.tree.members().into_iter().find(ProcessId::stopped) {
            None => Ok(()),
            Some(id) => {
                let text = "a process of the source is stopped, and nobody could tell any more by whom: continue it (kill -CONT) or end it";
                Err(Error::fatal(ErrorKind::Unsupported, text).with("pid", id))
            }
        }
    }

    /// Stops all of it until somebody lets it go on.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.tree.stop(STOP_MAX).await
    }

    /// Lets all of it go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.tree.go_on()
    }

    /// What CRIU can do here.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// The round on which the next dump of this job can build.
    fn parent(&self, job: &CheckpointJob) -> Option<u32> {
        let tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        job.parent.filter(|parent| tracked.as_ref() == Some(&(job.migration.clone(), *parent)))
    }

    fn track(&self, tracked: Option<(MigrationId, u32)>) {
        *self.tracked.lock().unwrap_or_else(PoisonError::into_inner) = tracked;
    }

    fn dump_options(&self, dir: &JobDir, part: Part, job: &CheckpointJob, parent: Option<u32>) -> Result<DumpOptions> {
        let mut dump = DumpOptions::new(self.tree.root().pid, dir.images(part, CONTAINER)?);
        dump.leave_running = job.leave_running;
        dump.tcp_close = true;
        dump.tcp_skip_in_flight = true;
        dump.ext_unix_sk = self.options.ext_unix_sk;
        dump.file_locks = self.options.file_locks;
        dump.shell_job = !self.tree.leads_session();
        dump.parent_images = parent.map(|round| dir.parent(round, CONTAINER));
        // The round before has been sent. In the final dump it would lengthen the freeze.
        dump.auto_dedup = part != Part::Final && parent.is_some();
        dump.deadline = job.deadline;
        Ok(dump)
    }

    fn alive(&self) -> Result<()> {
        if self.tree.root().lives() {
            return Ok(());
        }
        Err(Error::fatal(ErrorKind::NotFound, "the source process has ended: look at why, and start it again")
            .with("pid", self.tree.root()))
    }

    async fn dump_round(&self, dir: &JobDir, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        let (part, parent) = (Part::Round(round), self.parent(job));
        let options = self.dump_options(dir, part, job, parent)?;
        // Until it has succeeded, nobody knows since when changes are tracked.
        self.track(None);
        let stats = self.options.criu.pre_dump(&options).await?;
        self.track(Some((job.migration.clone(), round)));
        let plan = self.plan(dir, part, stats).await?;
        let page = rustix::param::page_size() as u64;
        let pages = stats.pages_written.saturating_add(stats.pages_skipped_parent);
        let dirty_bytes = stats.pages_written.saturating_mul(page);
        Ok(PreDump { checkpoint: self.described(job, part, parent, &plan, stats), dirty_bytes, memory_bytes: pages.saturating_mul(page) })
    }

    async fn dump_final(&self, dir: &JobDir, job: &CheckpointJob) -> Result<Checkpoint> {
        let parent = self.parent(job);
        let options = self.dump_options(dir, Part::Final, job, parent)?;
        let (beside, tree, bytes_max) = (dir.beside(Part::Final, CONTAINER)?, Arc::clone(&self.tree), self.options.files_bytes_max);
        self.track(None);
        let stats = self.options.criu.dump(&options, || blocking(move || save_files(&tree, &beside, bytes_max))).await?;
        let plan = self.plan(dir, Part::Final, stats).await?;
        Ok(self.described(job, Part::Final, parent, &plan, stats))
    }

    async fn plan(&self, dir: &JobDir, part: Part, stats: DumpStats) -> Result<TarPlan> {
        let container = ContainerManifest {
            name: CONTAINER.to_owned(),
            id: self.tree.root().to_string(),
            frozen_us: u64::try_from(stats.freeze().as_micros()).ok(),
            ..ContainerManifest::default()
        };
        let manifest = Manifest { criu_version: self.criu_version.clone(), ..Manifest::new(vec![container]) };
        let dir = dir.clone();
        blocking(move || dir.plan(part, manifest)).await
    }

    fn described(&self, job: &CheckpointJob, part: Part, parent: Option<u32>, plan: &TarPlan, stats: DumpStats) -> Checkpoint {
        let facts = [
            ("engine", "ms2m".to_owned()),
            ("driver", self.name().to_owned()),
            ("criu", self.criu_version.clone()),
            ("architecture", plan.manifest().architecture.clone()),
            ("kernel", plan.manifest().kernel.clone()),
            ("freezing", format!("{:?}", stats.freezing)),
            ("frozen", format!("{:?}", stats.frozen)),
        ];
        let manifest: BTreeMap<String, String> = facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Checkpoint { migration: job.migration.clone(), part, parent, archive_bytes: plan.bytes(), freeze: stats.freeze(), manifest }
    }
}

#[async_trait]
impl CheckpointSource for ProcessSource {
    fn name(&self) -> &'static str {
        "process"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { pre_dump: self.features.mem_track, leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        let tree = Arc::clone(&self.tree);
        let gone = blocking(move || Ok(tree.members().is_empty())).await?;
        Ok(if gone { SourceStatus::Gone } else { SourceStatus::Present })
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        if !self.features.mem_track {
            let text = "no pre-dump here: this kernel has no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY); go without";
            return Err(Error::fatal(ErrorKind::Unsupported, text).with("migration", &job.migration).with("round", round));
        }
        self.alive()?;
        let dir = self.store.job(&job.migration)?;
        match in_time(job, self.dump_round(&dir, job, round)).await {
            Ok(done) => Ok(done),
            Err(error) => Err(self.forget(dir, Part::Round(round), error).await),
        }
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        self.alive()?;
        let dir = self.store.job(&job.migration)?;
        match in_time(job, self.dump_final(&dir, job)).await {
            Ok(checkpoint) => Ok(checkpoint),
            Err(error) => Err(self.forget(dir, Part::Final, error).await),
        }
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        let (store, migration, part) = (self.store.clone(), checkpoint.migration.clone(), checkpoint.part);
        let plan = blocking(move || store.existing(&migration)?.map_or(Ok(None), |dir| dir.planned(part))).await?;
        let plan = plan.filter(|plan| plan.bytes() == checkpoint.archive_bytes);
        let none = || {
            Error::fatal(ErrorKind::NotFound, "there is no such checkpoint (any more): take it again")
                .with("migration", &checkpoint.migration)
        };
        Ok(plan.ok_or_else(none)?.stream(offset_bytes))
    }

    async fn retire(&self, _migration: &MigrationId) -> Result<()> {
        self.options.criu.settle(self.options.end_max).await?;
        self.tree.end(self.options.end_max).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.options.criu.settle(self.options.end_max).await?;
        let (store, migration) = (self.store.clone(), migration.clone());
        blocking(move || store.remove(&migration)).await
    }
}

impl ProcessSource {
    /// Nothing of a part that failed is left behind; of a job that has nothing else, no directory either.
    async fn forget(&self, dir: JobDir, part: Part, error: Error) -> Error {
        let settled = self.options.criu.settle(self.options.end_max).await;
        let forgotten = blocking(move || {
            dir.drop_part(part)?;
            if dir.is_empty()? { dir.remove() } else { Ok(()) }
        });
        if let Err(left) = forgotten.await.and(settled.map_err(Error::from)) {
            tracing::warn!(%left, "something of a failed checkpoint is left; discard the migration");
        }
        error
    }
}

fn save_files(tree: &Tree, beside: &Path, bytes_max: u64) -> Result<()> {
    let files = OpenFiles { foreign_session: !tree.leads_session(), ..OpenFiles::of(&tree.members())? };
    files.save(beside, bytes_max)
}

async fn in_time<T>(job: &CheckpointJob, work: impl Future<Output = Result<T>>) -> Result<T> {
    // CRIU has the same deadline, and knows better why it is late.
    let limit = job.deadline + Duration::from_millis(200);
    let late =
        |_| Error::retry(ErrorKind::Timeout, "the checkpoint was not complete in time: allow more").with("deadline", format!("{limit:?}"));
    timeout(limit, work).await.map_err(late)?
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::fatal(ErrorKind::Other, "a file operation has crashed").caused_by(error)))
}
