//! [`SharedVolume`].

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use ms2m_core::{
    ByteStream, Digest, Error, ErrorKind, MigrationId, Part, Receipt, Result, TransferBackend, TransferCapability, TransferJob,
};

use crate::{receive, send};

/// Moves checkpoints into a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedVolume {
    directory: PathBuf,
    bytes_max: Option<u64>,
    between_machines: bool,
}

impl SharedVolume {
    /// A backend over this directory, which is made when it is first needed, for its owner only: a checkpoint is all of a process's
    /// memory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), bytes_max: None, between_machines: true }
    }

    /// Refuses parts of more bytes than this.
    #[must_use]
    pub fn limited_to(self, bytes_max: u64) -> Self {
        Self { bytes_max: Some(bytes_max), ..self }
    }

    /// For a source and a target on one machine. It does not wait until parts are on disk, since a power cut ends both, and does not digest
    /// them again while they are read: what is written next to them, from them, is no safer. There, both are most of a transfer's time.
    #[must_use]
    pub fn within_one_machine(self) -> Self {
        Self { between_machines: false, ..self }
    }

    fn migration(&self, migration: &MigrationId) -> PathBuf {
        self.directory.join(migration.as_str())
    }

    /// The digest is in the name: under another one there is nothing.
    fn file(&self, migration: &MigrationId, part: Part, digest: Digest) -> PathBuf {
        self.migration(migration).join(file_name(part, digest))
    }
}

#[async_trait]
impl TransferBackend for SharedVolume {
    fn name(&self) -> &'static str {
        "shared-volume"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: self.bytes_max }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        if let Some(bytes_max) = self.bytes_max.filter(|bytes_max| job.archive_bytes > *bytes_max) {
            let message =
                format!("the checkpoint has {} bytes, more than the {bytes_max} that are allowed; raise the limit", job.archive_bytes);
            return Err(Error::undo(ErrorKind::LimitExceeded, message).with("migration", &job.migration).with("part", job.part));
        }
        let directory = self.migration(&job.migration);
        let sent =
            tokio::time::timeout(job.deadline, send::send(&directory, job.part, job.archive_bytes, self.between_machines, body)).await;
        let timeout = |_| {
            Error::retry(
                ErrorKind::Timeout,
                "the checkpoint did not get into the shared directory in time; is it a network file system whose server is away?",
            )
        };
        let digest = sent.map_err(timeout).flatten().map_err(|error| error.with("migration", &job.migration).with("part", job.part))?;
        Ok(Receipt {
            migration: job.migration.clone(),
            part: job.part,
            digest,
            archive_bytes: job.archive_bytes,
            transferred_bytes: job.archive_bytes,
            location: self.file(&job.migration, job.part, digest).display().to_string(),
        })
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let expected = (self.between_machines && offset_bytes == 0).then_some(receipt.digest);
        receive::open(&self.file(&receipt.migration, receipt.part, receipt.digest), expected, offset_bytes).await
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let directory = self.migration(migration);
        match tokio::fs::remove_dir_all(&directory).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &directory)(error)),
            _ => Ok(()),
        }
    }
}

/// The name of a part that has arrived. Without a colon, which some network file systems do not take.
pub(crate) fn file_name(part: Part, digest: Digest) -> String {
    format!("{part}.{}", digest.to_string().replace(':', "-"))
}

/// An error of a file, with what to do about a full disk.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |error| {
        let error = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::undo(ErrorKind::LimitExceeded, "the shared directory has no room for the checkpoint; make room or name another one")
                    .caused_by(error)
            }
            io::ErrorKind::NotFound => Error::undo(ErrorKind::NotFound, "there is no such part of a checkpoint").caused_by(error),
            _ => Error::retry(ErrorKind::Unavailable, format!("a file of the shared directory cannot be {what}")).caused_by(error),
        };
        error.with("path", path)
    }
}
