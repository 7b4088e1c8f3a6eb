//! [`ImageTarget`]: copies from images, by a container runtime that knows nothing of ms2m.
//!
//! ```text
//! prepare   the pod waits: kubelet has its sandbox, and no image for it (ErrImageNeverPull); the application's own image is looked for
//! stage     the checkpoint becomes the image of that name; whoever drives tells kubelet to look again
//! restore   the container runs; the name is taken away before anything else happens
//! promote   the name is given to the application's own image
//! ```
//!
//! **A checkpoint is never restored twice.** kubelet makes a container anew only after it has seen that the one before has ended. So when the container still runs
//! after its image has gone, nobody can have begun to make another one of it, and nobody can any more. A copy of which that is not certain is ended. A copy that
//! crashes before it is the owner's own finds no image; after that, it starts from the application's.

mod archive;
mod load;
mod record;
mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ms2m_core::{CopyStatus, Error, ErrorKind, MigrationId, Part, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use ms2m_criu::criu::Criu;

use crate::ImageStore;
use crate::cri::{Cri, CriContainer, CriState, CriVersion};
use crate::name::{application_image_name, arrival_image_name, copy_image_name};
use record::Record;

/// The pod that was made for a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub pod_uid: String,
    /// The container that is restored. Others of the pod start fresh.
    pub container: String,
    /// The application's own image, as `NAME@DIGEST`.
    pub base_image: String,
}

/// Makes the copy in a pod of this node whose container's image is called [`copy_image_name`], to be used only if it is here (`imagePullPolicy: Never`).
#[derive(Debug)]
pub struct ImageTarget {
    store: Arc<dyn ImageStore>,
    cri: Cri,
    criu: Criu,
    work_dir: PathBuf,
    copy: Copy,
}

impl ImageTarget {
    /// In this pod. What arrives is made ready below `work_dir`; `criu` is what the node's runtime restores with.
    #[must_use]
    pub fn new((store, cri): (Arc<dyn ImageStore>, Cri), criu: Criu, work_dir: impl Into<PathBuf>, copy: Copy) -> Self {
        Self { store, cri, criu, work_dir: work_dir.into(), copy }
    }

    fn record(&self, migration: &MigrationId) -> Result<Record> {
        Ok(Record::load(&self.work_dir, migration)?.unwrap_or_default())
    }

    async fn containers(&self, record: &Record) -> Result<Vec<CriContainer>> {
        self.cri.containers(&record.pod_uid, &record.container).await
    }
}

fn can_restore(version: &CriVersion) -> Result<()> {
    if version.restores_from_images() {
        return Ok(());
    }
    let CriVersion { name, version } = version;
    let message = format!(
        "{name} {version} does not restore a container from an image, as containerd 2.1 to 2.3 and CRI-O do; write restoreDriver: Runtime"
    );
    Err(Error::fatal(ErrorKind::Unsupported, message))
}

/// Nobody finds the image of this name after this. Missing is fine.
async fn remove_image(store: &dyn ImageStore, cri: &Cri, name: &str, base_image: &str) -> Result<()> {
    let Some(id) = cri.image(name).await? else { return Ok(()) };
    // The runtime takes all its names away from an image, which must not be the application's own.
    if cri.image(base_image).await? == Some(id) { store.remove(name).await } else { cri.remove_image(name).await }
}

/// Whether something is known of copies here, which [`forget_gone`] may have to remove.
#[must_use]
pub fn knows_copies(work_dir: &Path) -> bool {
    record::migrations(work_dir).iter().any(|migration| record::directory(work_dir, migration).exists())
}

/// Removes what is still known of copies that have become the owner's own and whose pods have gone since, and the names of their images. How many there were.
///
/// # Errors
/// When the runtime does not say whether a pod is there, or something cannot be removed.
pub async fn forget_gone(work_dir: &Path, store: &dyn ImageStore, cri: &Cri) -> Result<usize> {
    let mut forgotten = 0;
    for migration in record::migrations(work_dir) {
        let Some(record) = Record::load(work_dir, &migration)?.filter(|record| record.promoted) else { continue };
        if !cri.pod_exists(&record.pod_uid).await? {
            for name in [copy_image_name(&migration), application_image_name(&migration)] {
                remove_image(store, cri, &name, &record.base_image).await?;
            }
            record::remove(work_dir, &migration)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[async_trait]
impl RestoreTarget for ImageTarget {
    fn name(&self) -> &'static str {
        "image"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        can_restore(&self.cri.version().await?)?;
        let known = self.record(&job.migration)?;
        if known.promoted || known.loaded && known.pod_uid == self.copy.pod_uid {
            return Ok(());
        }
        let Copy { pod_uid, container, base_image, .. } = self.copy.clone();
        Record { pod_uid, container, base_image, ..Record::default() }.store(&self.work_dir, &job.migration)?;
        tokio::try_join!(self.store.resolve(&self.copy.base_image), self.pod_waits(job.deadline))?;
        self.keep_ahead(&job.migration);
        Ok(())
    }

    /// Of the final part: whoever drives tells kubelet to look again after that.
    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        if receipt.part != Part::Final {
            let message = "a checkpoint that becomes an image travels whole, without pre-dump rounds";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("part", receipt.part));
        }
        self.load(job, receipt, &*transfer).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        let [receipt] = receipts else {
            let message = "a checkpoint that becomes an image is one part";
            return Err(Error::fatal(ErrorKind::Invalid, message).with("parts", receipts.len()));
        };
        let record = self.record(&job.migration)?;
        if let Some(id) = &record.started {
            let lives = self.containers(&record).await?.iter().any(|one| one.id == *id && one.state == CriState::Running);
            let ended = || Error::undo(ErrorKind::NotFound, "the copy has ended, and is not restored a second time");
            return if lives { Ok(Restored { copy: job.copy.clone(), restore: Duration::ZERO }) } else { Err(ended()) };
        }
        self.load(job, receipt, &*transfer).await?;
        let mut record = self.record(&job.migration)?;
        let left = job.deadline.saturating_sub(begun.elapsed());
        // Without what a crash starts from, no copy may become the owner.
        let kept = self.store.keep(&record.base_image, &job.migration);
        match tokio::try_join!(self.runs(&job.migration, &record, left), kept) {
            Ok((id, ())) => record.started = Some(id),
            Err(error) => {
                // What is not certain here, is asked for again by the discard.
                if let Err(left) = self.end(&job.migration, &record).await {
                    tracing::info!(migration = %job.migration, %left, "a copy that could not be restored may be left for now");
                }
                return Err(error);
            }
        }
        record.store(&self.work_dir, &job.migration)?;
        Ok(Restored { copy: job.copy.clone(), restore: begun.elapsed() })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let Some(record) = Record::load(&self.work_dir, migration)? else { return Ok(CopyStatus::Gone) };
        let lives = self.containers(&record).await?.iter().any(|container| container.state != CriState::Exited);
        // One that was never seen may still come.
        let comes = record.loaded && record.started.is_none();
        Ok(if lives || comes { CopyStatus::Present } else { CopyStatus::Gone })
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        let Some(mut record) = Record::load(&self.work_dir, migration)? else { return Ok(()) };
        let name = copy_image_name(migration);
        self.store.tag(&application_image_name(migration), &name).await?;
        self.is_known(&name).await?;
        record.promoted = true;
        // The record stays: whether the copy lives is asked until the source is retired, and later whose name that was.
        record.store(&self.work_dir, migration)
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let Some(record) = Record::load(&self.work_dir, migration)? else { return Ok(()) };
        if record.promoted {
            return Ok(());
        }
        self.end(migration, &record).await?;
        for name in [arrival_image_name(migration), application_image_name(migration)] {
            remove_image(&*self.store, &self.cri, &name, &record.base_image).await?;
        }
        record::remove(&self.work_dir, migration)
    }
}
