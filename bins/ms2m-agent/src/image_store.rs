//! What arrives goes on into the store of the node's container runtime, where a pod is made of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::{Args, ValueEnum};
use ms2m_core::{Error, ErrorKind, Part, Result};
use ms2m_image_store::{Archive, Containerd, ContainerdOptions, CriO, CriOOptions, ImageStore, image_name};
use ms2m_transfer_direct::Stored;
use ms2m_transfer_direct::agent::{Arrival, Kept};

/// Where layouts for CRI-O are, below the storage directory.
const SCRATCH: &str = ".images";

/// Which store.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Checkpoints are kept as files only
    None,
    /// containerd's, by ctr
    Containerd,
    /// CRI-O's, by skopeo
    #[value(alias = "crio")]
    CriO,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ImageStoreArgs {
    /// Load what arrives into the store of the node's container runtime, as localhost/ms2m/checkpoint:MIGRATION.SHA256
    #[arg(long, env = "MS2M_IMAGE_STORE", value_enum, default_value_t = Kind::None)]
    image_store: Kind,

    /// containerd's socket
    #[arg(long, env = "MS2M_IMAGE_STORE_SOCKET", default_value = "/run/containerd/containerd.sock")]
    image_store_socket: PathBuf,

    /// The namespace of images in containerd; Kubernetes looks into this one
    #[arg(long, env = "MS2M_IMAGE_STORE_NAMESPACE", default_value = "k8s.io")]
    image_store_namespace: String,

    /// Where containerd unpacks images; what its CRI is configured to use [default: containerd's own]
    #[arg(long, env = "MS2M_IMAGE_STORE_SNAPSHOTTER", value_name = "NAME")]
    image_store_snapshotter: Option<String>,

    /// CRI-O's storage [default: that of the system's storage.conf]
    #[arg(long, env = "MS2M_IMAGE_STORE_STORAGE", value_name = "DRIVER@ROOT+RUNROOT")]
    image_store_storage: Option<String>,

    /// Seconds that a checkpoint may take to become an image
    #[arg(long, env = "MS2M_IMAGE_STORE_WITHIN_S", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    image_store_within_s: u64,
}

impl ImageStoreArgs {
    /// What is done with what arrives.
    pub(crate) async fn arrival(&self, storage: &Path) -> Result<Arc<dyn Arrival>> {
        Ok(match self.store(self.image_store, storage).await? {
            None => Arc::new(Kept),
            Some(store) => Arc::new(Loading { store }),
        })
    }

    /// The store of the container runtime of this name, for the images of copies; layouts are made in `directory`.
    pub(crate) async fn of(&self, runtime: &str, directory: &Path) -> Result<Arc<dyn ImageStore>> {
        let kind = match runtime {
            "containerd" => Kind::Containerd,
            "cri-o" => Kind::CriO,
            _ => Kind::None,
        };
        self.store(kind, directory).await?.ok_or_else(|| {
            let message = "copies are made from images in the stores of containerd and CRI-O only; write restoreDriver: Runtime";
            Error::fatal(ErrorKind::Unsupported, message).with("runtime", runtime)
        })
    }

    async fn store(&self, kind: Kind, directory: &Path) -> Result<Option<Arc<dyn ImageStore>>> {
        let within = Duration::from_secs(self.image_store_within_s);
        let store: Arc<dyn ImageStore> = match kind {
            Kind::None => return Ok(None),
            Kind::Containerd => Arc::new(Containerd::new(ContainerdOptions {
                socket: self.image_store_socket.clone(),
                namespace: self.image_store_namespace.clone(),
                snapshotter: self.image_store_snapshotter.clone(),
                within,
            })),
            Kind::CriO => {
                let scratch = directory.join(SCRATCH);
                Arc::new(CriO::new(CriOOptions { storage: self.image_store_storage.clone(), scratch, within })?)
            }
        };
        store.check().await?;
        Ok(Some(store))
    }
}

#[derive(Debug)]
struct Loading {
    store: Arc<dyn ImageStore>,
}

#[async_trait]
impl Arrival for Loading {
    async fn arrived(&self, stored: &Stored) -> Result<()> {
        // Rounds are of ms2m's own restore.
        if stored.part != Part::Final {
            return Ok(());
        }
        let of = stored.clone();
        let opened =
            tokio::task::spawn_blocking(move || Archive::open(Path::new(&of.location), &of.migration, of.digest, of.archive_bytes));
        let opened = opened.await.map_err(|error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error))??;
        let Some(archive) = opened else {
            tracing::info!(migration = %stored.migration, "the checkpoint is ms2m's own: it is kept as a file, not as an image");
            return Ok(());
        };
        self.store.load(&archive).await?;
        tracing::info!(migration = %stored.migration, store = self.store.name(), image = archive.image_name(), "loaded");
        Ok(())
    }

    async fn removed(&self, stored: &Stored) -> Result<()> {
        if stored.part != Part::Final {
            return Ok(());
        }
        self.store.remove(&image_name(&stored.migration, stored.digest)).await
    }
}
