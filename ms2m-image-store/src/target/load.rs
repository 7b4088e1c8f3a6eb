//! The checkpoint becomes the image that the copy's pod waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, MigrationId, Receipt, RestoreJob, Result, TransferBackend};
use ms2m_criu::engine::receive;
use ms2m_oci::Facts;

use super::record::Record;
use super::run::Looks;
use super::{ImageTarget, archive, record, remove_image};
use crate::archive::{Archive, died};
use crate::name::{application_image_name, copy_image_name};

/// For the runtime to see a name that was given in its store.
const SEEN: Duration = Duration::from_secs(10);

impl ImageTarget {
    /// The sandbox of the pod is there.
    pub(super) async fn pod_waits(&self, within: Duration) -> Result<()> {
        let looks = Looks::within(within);
        while !self.cri.pod_is_ready(&self.copy.pod_uid).await? {
            if !looks.again().await {
                let message = "kubelet has not made the pod of the copy ready; its events say how far it is";
                return Err(Error::undo(ErrorKind::Timeout, message).with("pod", &self.copy.pod));
            }
        }
        Ok(())
    }

    /// Keeps the application's own image while the source works. Whether that has succeeded is asked later.
    pub(super) fn keep_ahead(&self, migration: &MigrationId) {
        let (store, cri, work_dir) = (Arc::clone(&self.store), self.cri.clone(), self.work_dir.clone());
        let (base_image, migration) = (self.copy.base_image.clone(), migration.clone());
        tokio::spawn(async move {
            let kept = async {
                store.keep(&base_image, &migration).await?;
                // A discard meanwhile has not seen it.
                match Record::load(&work_dir, &migration)? {
                    Some(_) => Ok(()),
                    None => remove_image(&*store, &cri, &application_image_name(&migration), &base_image).await,
                }
            };
            if let Err(error) = kept.await {
                tracing::info!(%migration, %error, "the application's image is not kept yet");
            }
        });
    }

    /// The checkpoint becomes the image, unless it is that already.
    pub(super) async fn load(&self, job: &RestoreJob, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<()> {
        let (migration, name) = (&job.migration, copy_image_name(&job.migration));
        let mut record = self.record(migration)?;
        if record.started.is_some() || record.loaded && self.cri.image(&name).await?.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        let directory = record::directory(&self.work_dir, migration).join("arrived");
        let received = receive(transfer.open(receipt, 0).await?, &directory, &self.copy.container, &self.criu).await?;
        let id = received.manifest.as_ref().and_then(|manifest| Some(manifest.containers.first()?.id.clone()));
        let engine = id.is_some().then(|| "ms2m".to_owned());
        if id.is_some() && self.store.name() != "containerd" {
            let message = "only containerd restores an image of ms2m's own checkpoint; write checkpointDriver: Kubelet";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("store", self.store.name()));
        }
        let file = directory.with_extension("layer");
        let (from, to, copy) = (received.directory, file.clone(), self.copy.clone());
        let packed = tokio::task::spawn_blocking(move || {
            if let Some(id) = id {
                archive::write_documents(&from, &copy, &id)?;
            }
            archive::pack(&from, &to)
        });
        let packed = packed.await.map_err(died)??;
        let facts = Facts {
            container: self.copy.container.clone(),
            engine,
            pod: Some(self.copy.pod.clone()),
            namespace: Some(self.copy.namespace.clone()),
            pod_uid: Some(self.copy.pod_uid.clone()),
            image_ref: Some(self.copy.base_image.clone()),
            ..Facts::default()
        };
        let ready = begun.elapsed();
        record.loaded = true;
        record.store(&self.work_dir, migration)?;
        self.store.load(&Archive::of_copy(&file, migration, facts, packed)?).await?;
        record::remove_directory(&directory)?;
        let _ = std::fs::remove_file(&file);
        self.is_known(&name).await?;
        let (ready_ms, loaded_ms) = (ready.as_millis(), begun.elapsed().as_millis());
        tracing::info!(%migration, image = name, ready_ms, loaded_ms, "the checkpoint is an image");
        Ok(())
    }

    /// kubelet finds an image of this name.
    pub(super) async fn is_known(&self, name: &str) -> Result<()> {
        let looks = Looks::within(SEEN);
        while self.cri.image(name).await?.is_none() {
            if !looks.again().await {
                let message = "the container runtime does not see an image that was given to its store";
                return Err(Error::retry(ErrorKind::Timeout, message).with("image", name));
            }
        }
        Ok(())
    }
}
