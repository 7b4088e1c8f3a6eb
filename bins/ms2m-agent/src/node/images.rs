//! Copies and checkpoints by the node's container runtime, which knows nothing of ms2m.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, RestoreTarget, Result};
use ms2m_criu::criu::Criu;
use ms2m_criu::runtime::RuntimeSource;
use ms2m_image_store::cri::Cri;
use ms2m_image_store::{Copy, ImageStore, ImageTarget, KubeletSource, forget_gone, knows_copies};
use ms2m_remote::{FromImage, Restores, TargetPlace};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::image_store::ImageStoreArgs;
use crate::install;

/// Between two looks for copies whose pods have gone.
const FORGET_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Images {
    cri: Cri,
    stores: ImageStoreArgs,
    work_dir: PathBuf,
    /// That of the container runtime, once that was asked who it is.
    store: OnceCell<Arc<dyn ImageStore>>,
    /// Whether the container runtime has an OCI runtime of ours. It reads its configuration when it starts, as this agent does.
    knows_runtime: OnceCell<bool>,
}

impl Images {
    pub(super) fn new(socket: &Path, stores: &ImageStoreArgs, work_dir: &Path) -> Self {
        let (cri, stores, work_dir) = (Cri::new(socket), stores.clone(), work_dir.to_owned());
        Self { cri, stores, work_dir, store: OnceCell::new(), knows_runtime: OnceCell::new() }
    }

    async fn store(&self) -> Result<&Arc<dyn ImageStore>> {
        self.store.get_or_try_init(|| async { self.stores.of(&self.cri.version().await?.name, &self.work_dir).await }).await
    }

    /// Who takes checkpoints by the container runtime.
    pub(super) fn source(&self, inner: RuntimeSource, container: &str) -> Result<KubeletSource> {
        KubeletSource::new(inner, self.cri.clone(), container, &self.work_dir)
    }

    /// Who makes the copy by the container runtime.
    pub(super) async fn target(&self, place: &TargetPlace, image: &FromImage, criu: Criu) -> Result<Arc<dyn RestoreTarget>> {
        let [container] = place.containers.as_slice() else {
            let message = "a copy from an image is one container in a pod that is there";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("containers", place.containers.len()));
        };
        let copy = Copy {
            namespace: place.namespace.clone(),
            pod: place.pod.clone(),
            pod_uid: place.pod_uid.clone(),
            container: container.clone(),
            base_image: image.base.clone(),
        };
        let store = Arc::clone(self.store().await?);
        Ok(Arc::new(ImageTarget::new((store, self.cri.clone()), criu, &self.work_dir, copy)))
    }

    /// What copies can be made by. Where no containerd runs, its configuration says nothing, and a copy's pod tells soon enough.
    pub(super) async fn restores(&self) -> Result<Restores> {
        let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
        let ask = || async {
            let configuration = tokio::task::spawn_blocking(install::containerd::configuration).await.map_err(died)??;
            Ok::<_, Error>(configuration.is_none_or(|configuration| install::containerd::knows(&configuration, install::NAME)))
        };
        let runtime = *self.knows_runtime.get_or_try_init(ask).await?;
        let image = match self.cri.version().await {
            Ok(version) => version.restores_from_images(),
            Err(error) => {
                tracing::info!(%error, "no copy can be made from an image here");
                false
            }
        };
        Ok(Restores { runtime, image })
    }

    /// Now and then, for as long as it is there.
    pub(super) fn forget_now_and_then(self: &Arc<Self>) {
        let images = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                sleep(FORGET_EVERY).await;
                let Some(images) = images.upgrade() else { return };
                images.forget_gone().await;
            }
        });
    }

    async fn forget_gone(&self) {
        if !knows_copies(&self.work_dir) {
            return;
        }
        let forgotten = async { forget_gone(&self.work_dir, &**self.store().await?, &self.cri).await };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, "what is known of copies whose pods have gone cannot be removed");
        }
    }
}
