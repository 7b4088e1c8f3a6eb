//! A copy that the node's container runtime makes from an image of the checkpoint, as it would make any container.
//!
//! Its pod is made before the freeze as any copy's is, with the name of an image that its node will have, and not before. kubelet makes its sandbox, does not
//! find the image, and waits: until the pod is changed, which is done when the checkpoint has become the image.

use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::KubeTarget;
use super::place::while_it_comes;
use crate::api::BASE_IMAGE;
use crate::pod::COPIES;

/// Annotation that changes when kubelet shall look for the image again.
pub(super) const LOADED: &str = "migration.ms2m.io/loaded";

/// Makes this container of the copy wait for its image. Its own stays noted, for that is what starts if the container ever crashes as the owner's own.
pub(super) fn wait_for_image(pod: &mut Value, migration: &MigrationId, name: &str) -> Result<()> {
    let mut containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
    let container = containers.find(|container| container["name"] == name);
    let container = container.ok_or_else(|| Error::fatal(ErrorKind::NotFound, "the copy has no such container").with("container", name))?;
    let base = container["image"].as_str().filter(|image| image.contains('@')).map(str::to_owned).ok_or_else(|| {
        let message = "restoreDriver: the container runtime looks for the application's image at its registry when it restores from an image, and this one was \
                       loaded on its node; push it to a registry, or write Runtime";
        Error::fatal(ErrorKind::Unsupported, message).with("container", name).with("image", &container["image"])
    })?;
    container["image"] = format!("{COPIES}{migration}").into();
    container["imagePullPolicy"] = "Never".into();
    pod["metadata"]["annotations"][BASE_IMAGE] = base.into();
    Ok(())
}

impl KubeTarget {
    /// The checkpoint becomes the image, kubelet is told, and makes the container.
    pub(super) async fn restore_from_image(
        &self,
        agent: &dyn RestoreTarget,
        job: &RestoreJob,
        receipts: &[Receipt],
        transfer: Arc<dyn TransferBackend>,
    ) -> Result<Restored> {
        let begun = Instant::now();
        let last = receipts.last().ok_or_else(|| Error::fatal(ErrorKind::Invalid, "there is nothing to restore from"))?;
        agent.stage(job, last, Arc::clone(&transfer)).await?;
        let copy = self.copy().await?.ok_or_else(|| Error::undo(ErrorKind::NotFound, "somebody has deleted the copy's pod"))?;
        self.patch_copy(&copy, &json!({ "annotations": { LOADED: "true" } }), "tell the copy's node of its image").await?;
        let left = job.deadline.saturating_sub(begun.elapsed());
        let rest = RestoreJob { deadline: left, ..job.clone() };
        let pod = (&self.pods, self.plan.copy_pod.as_str(), copy.metadata.uid.as_deref());
        let restored = while_it_comes(agent.restore(&rest, receipts, transfer), pod, left, "the copy's container").await?;
        Ok(Restored { restore: begun.elapsed(), ..restored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(image: &str) -> Value {
        json!({ "metadata": { "annotations": {} }, "spec": { "containers": [{ "name": "log", "image": "log:1" }, { "name": "main", "image": image }] } })
    }

    #[test]
    fn the_container_waits_for_its_image_and_its_own_is_noted() {
        let migration = MigrationId::new("m-1").unwrap();
        let mut copy = pod("registry.example/orders@sha256:12");
        wait_for_image(&mut copy, &migration, "main").unwrap();
        let container = &copy["spec"]["containers"][1];
        assert_eq!(container["image"], "localhost/ms2m/copy:m-1");
        assert_eq!(container["imagePullPolicy"], "Never");
        assert_eq!(copy["metadata"]["annotations"][BASE_IMAGE], "registry.example/orders@sha256:12");
        assert_eq!(copy["spec"]["containers"][0]["image"], "log:1");
    }

    #[test]
    fn an_image_that_no_registry_has_is_refused() {
        let migration = MigrationId::new("m-1").unwrap();
        let refused = wait_for_image(&mut pod("orders:1"), &migration, "main").unwrap_err();
        assert!(refused.to_string().contains("push it to a registry"), "{refused}");
        assert_eq!(wait_for_image(&mut pod("x@y"), &migration, "other").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
