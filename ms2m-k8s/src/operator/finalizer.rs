//! The finalizer, which is there while a migration could have to be rolled back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use ms2m_core::Result;
use serde_json::json;

use crate::api::{FINALIZER, StatefulMigration};
use crate::error;

pub(super) fn has(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// Puts it there or takes it away. Others' finalizers stay: a change in between is a conflict, which is tried again.
pub(super) async fn set(resources: &Api<StatefulMigration>, of: &impl Resource, there: bool) -> Result<()> {
    let meta = of.meta();
    if has(meta) == there {
        return Ok(());
    }
    let mut finalizers: Vec<&str> = meta.finalizers.iter().flatten().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if there {
        finalizers.push(FINALIZER);
    }
    let metadata = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers });
    let name = meta.name.as_deref().unwrap_or_default();
    match resources.patch_metadata(name, &PatchParams::default(), &Patch::Merge(json!({ "metadata": metadata }))).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 && !there => Ok(()),
        Err(error) => Err(error::api(error, "set the finalizer of the migration")),
    }
}
