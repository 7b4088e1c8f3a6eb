//! [`RuntimeSource`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::{try_join, try_join_all};
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, Part, PreDump, Result,
    SourceStatus,
};
use tokio::sync::Mutex;

use super::dump::{self, What, Wish};
use super::freezer::{Freezer, Frozen};
use super::{Container, Flavor, Runtime, is_empty_dir, quiet};
use crate::archive::{Manifest, RuntimeFact, TarPlan, image_directory};
use crate::criu::Criu;
use crate::{facts, reserve};

/// How long processes that were killed may take to end.
const END: Duration = Duration::from_secs(20);

/// One container of a checkpoint.
#[derive(Debug)]
struct Member {
    /// Its name within the checkpoint.
    name: String,
    id: String,
    /// Absent when it had ended before this driver began.
    container: Option<Container>,
}

/// Takes checkpoints of containers of runc or crun: of one, or of several that are frozen together.
#[derive(Debug)]
pub struct RuntimeSource {
    runtime: Runtime,
    criu: Criu,
    work_dir: PathBuf,
    members: Vec<Member>,
    /// A container engine removes what has ended.
    engine: bool,
    /// A container engine restores, from an image.
    for_image: bool,
    mem_track: bool,
    /// The facts that every manifest begins with.
    facts: Manifest,
    /// One dump at a time: a container can have one tracer only. Guarded by it is the last dump, from which on the kernel tracks changes;
    /// known to this very driver only: another one writes everything. Where it tracks nothing, contents are compared, and any round that is still here is a parent.
    turn: Mutex<Option<(MigrationId, u32)>>,
}

impl RuntimeSource {
    /// A driver for these containers: the name within the checkpoint, and the runtime's id. Checkpoints are kept below `work_dir`.
    ///
    /// A container that does not exist (any more) is no error: [`status`](CheckpointSource::status) says so.
    ///
    /// # Errors
    /// When a container cannot be checkpointed at all, or CRIU or the runtime do not answer.
    pub async fn open(runtime: Runtime, criu: Criu, work_dir: impl Into<PathBuf>, containers: &[(String, String)]) -> Result<Self> {
        let inspected = try_join_all(containers.iter().map(|(_, id)| async {
            match Container::inspect(&runtime, id).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                inspected => inspected.map(Some),
            }
        }));
        let inspected = inspected.await?;
        let member = |((name, id), container): (&(String, String), _)| Member { name: name.clone(), id: id.clone(), container };
        let members = containers.iter().zip(inspected).map(member).collect();
        Self::make(runtime, criu, work_dir.into(), members).await
    }

    /// The same for containers that were looked at already, each with its name within the checkpoint.
    ///
    /// # Errors
    /// When CRIU or the runtime do not answer.
    pub async fn of(runtime: Runtime, criu: Criu, work_dir: impl Into<PathBuf>, containers: Vec<(String, Container)>) -> Result<Self> {
        let member = |(name, container): (_, Container)| Member { name, id: container.id().to_owned(), container: Some(container) };
        Self::make(runtime, criu, work_dir.into(), containers.into_iter().map(member).collect()).await
    }

    async fn make(runtime: Runtime, criu: Criu, work_dir: PathBuf, members: Vec<Member>) -> Result<Self> {
        let asked = async { Ok(try_join(criu.version(), criu.features()).await?) };
        let ((criu_version, features), runtime_version) = try_join(asked, runtime.version()).await?;
        let mut facts = Manifest::new(Vec::new());
        facts.criu_version = criu_version.to_string();
        facts.runtime = Some(RuntimeFact { name: runtime.flavor().to_string(), version: runtime_version });
        facts.cpu_features = facts::cpu_features();
        Ok(Self {
            runtime,
            criu: criu.apart(),
            work_dir,
            members,
            engine: false,
            for_image: false,
            mem_track: features.mem_track,
            facts,
            turn: Mutex::default(),
        })
    }

    /// For containers of an engine, such as those of a pod: they are ended, and their engine, which sees that, removes them.
    #[must_use]
    pub fn of_an_engine(mut self) -> Self {
        self.engine = true;
        self
    }

    /// For a copy that a container engine restores from an image of the checkpoint, by runc and without ms2m. What is known to runc is named as runc names it,
    /// and there are no pre-dump rounds.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for crun, for more than one container, and for one with an emptyDir.
    pub fn for_an_image(mut self) -> Result<Self> {
        let refuse = |message: &str| Err(Error::fatal(ErrorKind::Unsupported, message.to_owned()));
        if self.runtime.flavor() != Flavor::Runc {
            return refuse(
                "a checkpoint of crun cannot become an image by ms2m; write checkpointDriver: Kubelet, or restoreDriver: Runtime",
            );
        }
        if self.members.len() > 1 {
            return refuse("an image holds one container only; write restoreDriver: Runtime");
        }
        self.has_no_empty_dir()?;
        self.for_image = true;
        self.facts.for_image = true;
        Ok(self)
    }

    /// What a container engine restores from an image brings no content of volumes along.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when one of the containers has an emptyDir.
    pub fn has_no_empty_dir(&self) -> Result<()> {
        let mounts = self.containers().flat_map(|(_, container)| container.spec().mounts().iter().flatten());
        let Some(mount) = mounts.into_iter().find(|mount| mount.source().as_deref().is_some_and(is_empty_dir)) else { return Ok(()) };
        let message = "the content of an emptyDir does not travel in an image; write restoreDriver: Runtime";
        Err(Error::fatal(ErrorKind::Unsupported, message).with("path", mount.destination().display()))
    }

    /// The containers that run.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &Container)> {
        self.members.iter().filter_map(|member| Some((member.name.as_str(), member.container.as_ref()?)))
    }

    fn directory(&self, migration: &MigrationId) -> PathBuf {
        self.work_dir.join("migrations").join(migration.as_str()).join("source")
    }

    fn part(&self, migration: &MigrationId, part: Part) -> PathBuf {
        self.directory(migration).join(part.to_string())
    }

    /// CRIU's images of a container.
    fn images(&self, migration: &MigrationId, part: Part, name: &str) -> PathBuf {
        self.part(migration, part).join("containers").join(name).join(image_directory(part))
    }

    /// What [`open`](CheckpointSource::open) yields; it is written down, so that a driver after this one finds it.
    fn plan(&self, migration: &MigrationId, part: Part) -> Result<TarPlan> {
        let directory = self.part(migration, part);
        let json = std::fs::read(directory.join(crate::archive::MANIFEST)).map_err(|error| {
            let message = "there is no checkpoint of this migration";
            Error::undo(ErrorKind::NotFound, message).with("migration", migration).with("part", part).caused_by(error)
        })?;
        Ok(TarPlan::scan(&directory, Manifest::parse(&json)?)?)
    }

    /// A directory for one part, empty, with the images' directories in it.
    fn fresh(&self, migration: &MigrationId, part: Part) -> Result<PathBuf> {
        let directory = self.part(migration, part);
        remove(&directory)?;
        for member in &self.members {
            make(&directory.join("containers").join(&member.name).join(image_directory(part)))?;
        }
        Ok(directory)
    }

    async fn take(&self, job: &CheckpointJob, part: Part) -> Result<(Checkpoint, dump::Figures)> {
        let mut tracked = self.turn.lock().await;
        // Until it has succeeded, nobody knows since when changes are tracked.
        let since = tracked.take();
        let is_usable = |round: &u32| match self.mem_track {
            true => since.is_some_and(|since| since == (job.migration.clone(), *round)),
            false => self.part(&job.migration, Part::Round(*round)).join(crate::archive::MANIFEST).exists(),
        };
        let parent = job.parent.filter(is_usable);
        let directory = self.fresh(&job.migration, part)?;
        reserve::release(&self.directory(&job.migration));
        let taken = self.dump(job, part, parent, &directory).await.and_then(|(containers, freeze, figures)| {
            let mut manifest = Manifest { containers, taken_at_ms: now_ms(), ..self.facts.clone() };
            manifest.part = part;
            let json = serde_json::to_vec(&manifest)
                .map_err(|error| Error::fatal(ErrorKind::Invalid, "the manifest cannot be written").caused_by(error))?;
            write(&directory.join(crate::archive::MANIFEST), &json)?;
            Ok((manifest, freeze, figures))
        });
        let (manifest, freeze, figures) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                remove(&directory)?;
                return Err(error);
            }
        };
        if let Part::Round(round) = part
            && self.mem_track
        {
            *tracked = Some((job.migration.clone(), round));
        }
        let archive_bytes = self.plan(&job.migration, part)?.bytes();
        let checkpoint =
            Checkpoint { migration: job.migration.clone(), part, parent, archive_bytes, freeze, manifest: facts::summary(&manifest) };
        Ok((checkpoint, figures))
    }

    /// Removes what the runtime still knows of a container that ended by itself. One of its name that was made since is another one.
    async fn remove_ended(&self, member: &Member) -> Result<()> {
        let Some(state) = self.runtime.state(&member.id).await? else { return Ok(()) };
        let same = member.container.as_ref().is_none_or(|known| known.process().pid() == state.pid || state.pid == 0);
        if same { self.runtime.remove(&member.id).await } else { Ok(()) }
    }

    async fn dump(&self, job: &CheckpointJob, part: Part, parent: Option<u32>, directory: &Path) -> Result<dump::Dumped> {
        let mut together = None;
        let shares_network = self.members.len() > 1 && Container::share_network(self.containers().map(|(_, container)| container))?;
        let what = match part {
            Part::Final => What::Everything,
            Part::Round(_) if self.mem_track => What::Changes,
            Part::Round(_) => What::Memory,
        };
        if self.members.len() > 1 && what != What::Changes {
            let freezers = self.containers().map(|(_, container)| Freezer::of(container.process().pid())).collect::<Result<Vec<_>>>()?;
            // Those that stand still already shall not be thawed here.
            if !freezers.iter().all(Freezer::is_frozen) {
                together = Some(Frozen::freeze(&freezers).await?);
            }
            if shares_network {
                quiet::wait(&freezers).await?;
            }
        }
        let mut carried = HashSet::new();
        let mut dumped: dump::Dumped = (Vec::new(), Duration::ZERO, dump::Figures::default());
        for member in &self.members {
            let gone = || Error::undo(ErrorKind::NotFound, "the container has ended").with("container", &member.id);
            let container = member.container.as_ref().ok_or_else(gone)?;
            // CRIU must be told of a freezer, also of one that somebody else has closed.
            let freezer = Freezer::of(container.process().pid()).ok().filter(Freezer::is_frozen);
            let wish = Wish {
                criu: &self.criu,
                container,
                name: &member.name,
                directory: &directory.join("containers").join(&member.name),
                images: &image_directory(part),
                shares_network,
                carried: &carried,
                parent: parent.map(|round| self.images(&job.migration, Part::Round(round), &member.name)),
                freezer: freezer.map(|freezer| freezer.cgroup),
                what,
                track: self.mem_track,
                leave_running: job.leave_running,
                for_image: self.for_image,
                deadline: job.deadline,
            };
            let (manifest, freeze, figures) = dump::dump(wish).await?;
            dumped.0.push(manifest);
            dumped.1 = dumped.1.max(freeze);
            dumped.2.add(figures);
            carried.extend(dump::of_the_pod(container));
        }
        if let Some(together) = together {
            dumped.1 = together.thaw()?;
        }
        // Nobody is frozen for that.
        if let Some(round) = parent.filter(|_| !self.mem_track) {
            dumped.2 = dump::Figures::default();
            for member in &self.members {
                let of = |part| self.images(&job.migration, part, &member.name);
                dumped.2.add(dump::leave_out(of(part), of(Part::Round(round))).await?);
            }
        }
        Ok(dumped)
    }
}

#[async_trait]
impl CheckpointSource for RuntimeSource {
    fn name(&self) -> &'static str {
        "runtime"
    }

    fn capability(&self) -> CheckpointCapability {
        let (rounds, tracked) = (!self.for_image, self.mem_track);
        CheckpointCapability { pre_dump: rounds && tracked, freezing_round: rounds && !tracked, leave_running: true }
    }

    async fn status(&self) -> Result<SourceStatus> {
        for member in &self.members {
            match &member.container {
                Some(container) if !container.process().is_alive()? => {}
                None if self.runtime.state(&member.id).await?.is_none_or(|state| state.pid == 0) => {}
                _ => return Ok(SourceStatus::Present),
            }
        }
        Ok(SourceStatus::Gone)
    }

    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        if self.for_image {
            let message = "a checkpoint that becomes an image travels whole, without pre-dump rounds";
            return Err(Error::fatal(ErrorKind::Unsupported, message));
        }
        let (checkpoint, figures) = self.take(job, Part::Round(round)).await?;
        // The next dump is the one for which nobody may wait.
        reserve::hold(&self.directory(&job.migration), figures.written_bytes).await;
        self.criu.stand_by();
        Ok(PreDump { checkpoint, dirty_bytes: figures.written_bytes, memory_bytes: figures.written_bytes + figures.in_parents_bytes })
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        Ok(self.take(job, Part::Final).await?.0)
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        Ok(self.plan(&checkpoint.migration, checkpoint.part)?.stream(offset_bytes))
    }

    async fn retire(&self, _migration: &MigrationId) -> Result<()> {
        for member in &self.members {
            let mut lived = false;
            if let Some(container) = &member.container {
                lived = container.process().is_alive()?;
                container.process().kill()?;
                // In a freezer of cgroup version 1 nobody dies. Behind the kill, nothing of it runs.
                if let Ok(freezer) = Freezer::of(container.process().pid()) {
                    freezer.thaw()?;
                }
                container.process().ended(END).await?;
            }
            if self.engine {
                continue;
            }
            if lived {
                self.runtime.delete(&member.id).await?;
            } else {
                self.remove_ended(member).await?;
            }
            crate::local::remove_bundle(&self.work_dir, &member.id)?;
        }
        Ok(())
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.criu.stand_down();
        let directory = self.directory(migration);
        remove(&directory)?;
        // The migration's own, unless a target of it is here, too.
        let _ = directory.parent().map(std::fs::remove_dir);
        Ok(())
    }
}

fn now_ms() -> Option<u64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis().try_into().ok()
}

fn make(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("made", directory))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).map_err(failed("written", file))
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("removed", directory)(error)),
        _ => Ok(()),
    }
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::LimitExceeded } else { ErrorKind::Other };
        Error::undo(kind, format!("a file of the checkpoint cannot be {what}")).with("path", path).caused_by(error)
    }
}
