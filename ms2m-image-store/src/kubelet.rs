//! [`KubeletSource`]: checkpoints by the node's container runtime itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use futures_util::stream;
use ms2m_core::{
    ByteStream, Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, Error, ErrorKind, MigrationId, Part, Result,
    SourceStatus,
};
use ms2m_criu::criu::DumpStats;
use ms2m_criu::runtime::RuntimeSource;

use crate::archive::died;
use crate::cri::Cri;

/// What passes at a time.
const PIECE_BYTES: usize = 512 << 10;
/// CRIU's statistics in the archive.
const STATS: &str = "stats-dump";

/// Has the container runtime take the checkpoint, as kubelet's checkpoint call has it do: the same archive, taken by the same call of the runtime, without
/// kubelet in between, which would need a right in the cluster. The source is frozen for longer than by [`RuntimeSource`], which looks after the
/// container in every other respect.
#[derive(Debug)]
pub struct KubeletSource {
    inner: RuntimeSource,
    cri: Cri,
    container: String,
    work_dir: PathBuf,
}

impl KubeletSource {
    /// Of the container with this id, which is the only one of `inner`. Archives are kept below `work_dir` until they are discarded.
    ///
    /// # Errors
    /// See [`RuntimeSource::has_no_empty_dir`].
    pub fn new(inner: RuntimeSource, cri: Cri, container: impl Into<String>, work_dir: impl Into<PathBuf>) -> Result<Self> {
        inner.has_no_empty_dir()?;
        Ok(Self { inner, cri, container: container.into(), work_dir: work_dir.into() })
    }

    fn archive(&self, migration: &MigrationId) -> PathBuf {
        self.work_dir.join("migrations").join(migration.as_str()).join("source").join("engine.tar")
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let kind = if error.kind() == io::ErrorKind::StorageFull { ErrorKind::LimitExceeded } else { ErrorKind::Other };
        Error::undo(kind, "the archive of the checkpoint cannot be made or read").with("path", path).caused_by(error)
    }
}

/// What CRIU says in the archive of its own work.
fn stats(archive: &Path) -> Result<DumpStats> {
    let directory = tempfile::tempdir().map_err(failed(archive))?;
    let mut tar = tar::Archive::new(File::open(archive).map_err(failed(archive))?);
    for member in tar.entries_with_seek().map_err(failed(archive))? {
        let member = member.map_err(failed(archive))?;
        if member.path().is_ok_and(|path| path.file_name().is_some_and(|name| name == STATS)) {
            let mut bytes = Vec::new();
            member.take(64 << 10).read_to_end(&mut bytes).map_err(failed(archive))?;
            fs::write(directory.path().join(STATS), bytes).map_err(failed(archive))?;
            return Ok(DumpStats::read(directory.path())?);
        }
    }
    let message = "the container runtime's archive does not say for how long the container was frozen";
    Err(Error::undo(ErrorKind::Unsupported, message).with("path", archive.display()))
}

#[async_trait]
impl CheckpointSource for KubeletSource {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn capability(&self) -> CheckpointCapability {
        CheckpointCapability { leave_running: true, ..CheckpointCapability::default() }
    }

    async fn status(&self) -> Result<SourceStatus> {
        self.inner.status().await
    }

    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint> {
        let archive = self.archive(&job.migration);
        if let Some(directory) = archive.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
        }
        remove(&archive)?;
        let taken = async {
            self.cri.checkpoint(&self.container, &archive, job.deadline).await?;
            let (file, archive_bytes) = (archive.clone(), fs::metadata(&archive).map_err(failed(&archive))?.len());
            let stats = tokio::task::spawn_blocking(move || stats(&file)).await.map_err(died)??;
            Ok::<_, Error>((archive_bytes, stats.freeze()))
        };
        let (archive_bytes, freeze) = match taken.await {
            Ok(taken) => taken,
            Err(error) => {
                remove(&archive)?;
                return Err(error);
            }
        };
        let manifest = BTreeMap::from([("containers".to_owned(), self.container.clone())]);
        Ok(Checkpoint { migration: job.migration.clone(), part: Part::Final, parent: None, archive_bytes, freeze, manifest })
    }

    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream> {
        let archive = self.archive(&checkpoint.migration);
        let mut file = File::open(&archive).map_err(|error| {
            let message = "there is no checkpoint of this migration";
            Error::undo(ErrorKind::NotFound, message).with("migration", &checkpoint.migration).caused_by(error)
        })?;
        file.seek(SeekFrom::Start(offset_bytes)).map_err(failed(&archive))?;
        let next = |(file, archive): (File, PathBuf)| async move {
            let read = move || {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                let read = (&file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(failed(&archive))?;
                Ok((read > 0).then(|| (piece.into(), (file, archive))))
            };
            tokio::task::spawn_blocking(read).await.map_err(died)?
        };
        Ok(Box::pin(stream::try_unfold((file, archive), next)))
    }

    async fn retire(&self, migration: &MigrationId) -> Result<()> {
        self.inner.retire(migration).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        self.inner.discard(migration).await
    }
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(file)(error)),
        _ => Ok(()),
    }
}
