//! The copy's container runs, once, or ends.

use std::time::{Duration, Instant};

use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use tokio::time::sleep;

use super::record::Record;
use super::{ImageTarget, remove_image};
use crate::cri::CriState;
use crate::name::copy_image_name;

/// Between two looks at what the runtime does.
const LOOK: Duration = Duration::from_millis(10);

impl ImageTarget {
    /// The container runs, of a name that means nothing any more.
    pub(super) async fn runs(&self, migration: &MigrationId, record: &Record, within: Duration) -> Result<String> {
        let late = || {
            let message = "kubelet has not made the container of the copy; the pod's events say why";
            Error::undo(ErrorKind::Timeout, message).with("pod", &self.copy.pod)
        };
        let ended = || {
            let message = "the container of the copy has ended as soon as it was restored; its log and the pod's events say why";
            Error::undo(ErrorKind::Other, message).with("pod", &self.copy.pod)
        };
        let looks = Looks::within(within);
        let id = loop {
            let containers = self.containers(record).await?;
            if containers.iter().any(|container| container.state == CriState::Exited) {
                return Err(ended());
            }
            match containers.into_iter().find(|container| container.state == CriState::Running) {
                Some(container) => break container.id,
                None if looks.again().await => {}
                None => return Err(late()),
            }
        };
        let made = looks.begun.elapsed();
        self.take_name_away(migration, record).await?;
        let (made_ms, alone_ms) = (made.as_millis(), looks.begun.elapsed().as_millis());
        tracing::info!(%migration, container = id, made_ms, alone_ms, "the copy runs, and its image has gone");
        match self.containers(record).await?.as_slice() {
            [only] if only.id == id && only.state == CriState::Running => Ok(id),
            _ => Err(ended()),
        }
    }

    /// Nobody makes a container of the checkpoint after this.
    async fn take_name_away(&self, migration: &MigrationId, record: &Record) -> Result<()> {
        remove_image(&*self.store, &self.cri, &copy_image_name(migration), &record.base_image).await
    }

    /// Ends what may live of the copy, for certain.
    pub(super) async fn end(&self, migration: &MigrationId, record: &Record) -> Result<()> {
        self.take_name_away(migration, record).await?;
        for container in self.containers(record).await?.into_iter().filter(|container| container.state != CriState::Exited) {
            self.cri.kill(&container.id).await?;
        }
        let left = self.containers(record).await?;
        let under_way = record.loaded && left.is_empty() && self.cri.pod_exists(&record.pod_uid).await?;
        if under_way || left.iter().any(|container| container.state != CriState::Exited) {
            let message = "the container of the copy may still be under way; it is not, once its pod has gone";
            return Err(Error::retry(ErrorKind::Unavailable, message).with("pod", &self.copy.pod));
        }
        Ok(())
    }
}

/// It is looked again and again, for so long.
pub(super) struct Looks {
    begun: Instant,
    within: Duration,
}

impl Looks {
    pub(super) fn within(within: Duration) -> Self {
        Self { begun: Instant::now(), within }
    }

    /// Waits for a moment; whether there is still time.
    pub(super) async fn again(&self) -> bool {
        sleep(LOOK).await;
        self.begun.elapsed() < self.within
    }
}
