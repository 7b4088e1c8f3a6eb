//! [`Registry`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, MigrationId, Receipt, Result, TransferBackend, TransferCapability, TransferJob};
use oci_spec::distribution::Reference;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::client::Client;
use crate::fault::Fault;
use crate::options::RegistryOptions;
use crate::send::{Arrived, Upload};
use crate::tag::part_of;
use crate::{discard, receive, send};

/// Moves checkpoints into a repository of an OCI registry.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Arc<Client>,
    pub(crate) options: RegistryOptions,
    /// A name for the final part besides its own.
    pub(crate) tag: Option<String>,
    pub(crate) publishing: Mutex<()>,
    /// What is known of the largest request; 0 when nothing is.
    chunk_bytes: AtomicU64,
}

impl Shared {
    pub(crate) fn chunk_bytes(&self) -> Option<u64> {
        Some(self.chunk_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    pub(crate) fn set_chunk_bytes(&self, bytes: u64) {
        self.chunk_bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Registry {
    /// A backend over a repository, `HOST[:PORT]/NAME`, of which nothing is asked yet.
    ///
    /// With a tag (`HOST/NAME:TAG`) the final part of whatever migration was last is found under it too. `latest` is refused: nobody can
    /// tell whose it is.
    ///
    /// # Errors
    /// `Invalid` when the reference is none, a certificate cannot be read, or TLS is wanted and the program has installed no crypto provider.
    pub fn new(repository: &str, options: RegistryOptions) -> Result<Self> {
        let wrong =
            |why: String| Error::fatal(ErrorKind::Invalid, format!("{repository:?} is no repository: {why}; name HOST[:PORT]/NAME"));
        let reference: Reference = repository.parse().map_err(|error| wrong(format!("{error}")))?;
        if reference.digest().is_some() {
            return Err(wrong("a digest names one image".into()));
        }
        // The parser fills a missing tag in.
        let tagged = repository.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let tag = reference.tag().filter(|_| tagged).map(str::to_owned);
        if tag.as_deref() == Some("latest") {
            return Err(wrong("the tag latest says nothing of which checkpoint it is".into()));
        }
        let client = Arc::new(Client::new(&reference, &options)?);
        Ok(Self { shared: Arc::new(Shared { client, options, tag, publishing: Mutex::default(), chunk_bytes: AtomicU64::new(0) }) })
    }

    /// Makes a part visible whose bytes the registry has already in its repository `from` (`NAME`, of the same registry), without moving
    /// them. `None` when the registry wants them sent.
    ///
    /// # Errors
    /// As of [`send`](TransferBackend::send).
    pub async fn adopt(&self, job: &TransferJob, digest: Digest, from: &str) -> Result<Option<Receipt>> {
        let adopted = timeout(job.deadline, send::adopt(&self.shared, job, digest, from)).await;
        let image = self.told(job, adopted.map_err(|_| Fault::TimedOut).flatten())?;
        Ok(image.map(|image| self.receipt(job, &Arrived { digest, image, transferred_bytes: 0 })))
    }

    fn receipt(&self, job: &TransferJob, arrived: &Arrived) -> Receipt {
        Receipt {
            migration: job.migration.clone(),
            part: job.part,
            digest: arrived.digest,
            archive_bytes: job.archive_bytes,
            transferred_bytes: arrived.transferred_bytes,
            location: format!("{}@{}", self.shared.client.name(), arrived.image),
        }
    }

    fn told<T>(&self, job: &TransferJob, result: Result<T, Fault>) -> Result<T> {
        let told = |fault: Fault| fault.told(self.shared.client.name()).with("migration", &job.migration).with("part", job.part);
        result.map_err(told)
    }
}

#[async_trait]
impl TransferBackend for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn capability(&self) -> TransferCapability {
        TransferCapability { resumes: false, bytes_max: None }
    }

    async fn send(&self, job: &TransferJob, body: ByteStream) -> Result<Receipt> {
        let mut upload = Upload::new(&self.shared, job);
        match timeout(job.deadline, upload.run(body)).await.map_err(|_| Fault::TimedOut).flatten() {
            Ok(arrived) => Ok(self.receipt(job, &arrived)),
            Err(fault) => {
                upload.undo().await;
                self.told(job, Err(fault))
            }
        }
    }

    async fn open(&self, receipt: &Receipt, offset_bytes: u64) -> Result<ByteStream> {
        let opened = receive::open(&self.shared, receipt, offset_bytes).await;
        opened.map_err(|fault| fault.told(self.shared.client.name()).with("migration", &receipt.migration).with("part", receipt.part))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        let discarded = discard::remove(&self.shared, |tag| part_of(tag, migration).is_some(), None).await;
        discarded.map(|_| ()).map_err(|fault| fault.told(self.shared.client.name()).with("migration", migration))
    }
}
