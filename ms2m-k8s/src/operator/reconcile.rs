//! One look at a resource.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use ms2m_core::{Cancel, Error, Phase, Result, Verdict};
use serde_json::json;

use super::begin::{begin, go_on};
use super::running::Busy;
use super::{AGAIN, Context, finalizer};
use crate::api::{StatefulMigration, StatefulMigrationStatus};
use crate::error;
use crate::plan::Plan;
use crate::status::{Holds, set_condition};
use crate::store::state_of;

/// Why it is cancelled.
pub(super) const DELETED: &str = "the migration was deleted";

pub(super) async fn reconcile(resource: Arc<StatefulMigration>, context: Arc<Context>) -> Result<Action> {
    let namespace = resource.metadata.namespace.as_deref().unwrap_or("default");
    let resources: Api<StatefulMigration> = Api::namespaced(context.client.clone(), namespace);
    let uid = resource.metadata.uid.clone().unwrap_or_default();
    let deleted = resource.metadata.deletion_timestamp.is_some();
    if context.running.runs(&uid, deleted.then_some(DELETED)) {
        return Ok(Action::await_change());
    }
    // What was seen may be older than what has just ended here.
    let Some(resource) = resources
        .get_opt(resource.metadata.name.as_deref().unwrap_or_default())
        .await
        .map_err(|error| error::api(error, "read the migration"))?
    else {
        return Ok(Action::await_change());
    };
    if resource.metadata.uid.as_deref() != Some(uid.as_str()) {
        return Ok(Action::await_change());
    }
    let deleted = resource.metadata.deletion_timestamp.is_some();
    let state = state_of(&resource)?;
    match state {
        _ if has_ended(&resource) => after_the_end(&resources, &resource).await,
        None if deleted => finalizer::set(&resources, &resource, false).await.map(|()| Action::await_change()),
        None => begin(&context, &resources, resource).await,
        Some(state) => go_on(&context, &resources, resource, state).await,
    }
}

pub(super) fn on_error(resource: &StatefulMigration, error: &Error) -> Action {
    let (namespace, name) = (resource.metadata.namespace.as_deref(), resource.metadata.name.as_deref());
    tracing::warn!(namespace, name, %error, "a migration cannot be looked after now: it is tried again");
    Action::requeue(if error.verdict() == Verdict::Retry { Duration::from_secs(1) } else { Duration::from_secs(30) })
}

fn has_ended(resource: &StatefulMigration) -> bool {
    resource.status.as_ref().is_some_and(|status| status.phase.is_some_and(Phase::is_final) && status.completion_time.is_some())
}

/// Nothing is owed any more, so nothing keeps the resource.
async fn after_the_end(resources: &Api<StatefulMigration>, resource: &StatefulMigration) -> Result<Action> {
    finalizer::set(resources, resource, false).await?;
    let ended = resource.status.as_ref().and_then(|status| status.completion_time.as_ref());
    let (Some(seconds), Some(ended), None) = (resource.spec.ttl_seconds_after_finished, ended, &resource.metadata.deletion_timestamp)
    else {
        return Ok(Action::await_change());
    };
    let age = jiff::Timestamp::now().duration_since(ended.0);
    let left = jiff::SignedDuration::from_secs(seconds.into()).saturating_sub(age);
    if left.is_positive() {
        return Ok(Action::requeue(left.unsigned_abs()));
    }
    let only_this = Preconditions { uid: resource.metadata.uid.clone(), resource_version: None };
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    match resources.delete(name, &DeleteParams::default().preconditions(only_this)).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Action::await_change()),
        Err(error) => Err(error::api(error, "remove a migration whose time is over")),
    }
}

fn keys(resource: &StatefulMigration) -> Vec<String> {
    let namespace = resource.metadata.namespace.as_deref().unwrap_or("default");
    vec![format!("queue {}", Plan::queue_key(resource)), format!("pod {namespace}/{}", resource.spec.source_pod)]
}

/// Reserves queue and source. One that has begun before a crash comes before one that has not.
pub(super) fn reserve(context: &Context, resource: &StatefulMigration, has_begun: bool) -> Result<Cancel, Busy> {
    let (uid, name) = (resource.metadata.uid.as_deref().unwrap_or_default(), resource.metadata.name.as_deref().unwrap_or_default());
    let keys = keys(resource);
    let owed = context.known.state().into_iter().filter(|_| !has_begun).find_map(|other| {
        let begun = other.status.as_ref().is_some_and(|status| status.engine.is_some()) && !has_ended(&other);
        let key = self::keys(&other).into_iter().find(|key| keys.contains(key));
        let other_name = other.metadata.name.clone().unwrap_or_default();
        (begun && other.metadata.uid.as_deref() != Some(uid)).then_some(())?;
        Some(Busy::Key { name: other_name, key: key? })
    });
    match owed {
        Some(busy) => Err(busy),
        None => context.running.reserve(uid, name, keys),
    }
}

pub(super) async fn wait(resources: &Api<StatefulMigration>, resource: &StatefulMigration, busy: Busy) -> Result<Action> {
    let (reason, message) = match busy {
        Busy::Key { name, key } => ("Busy", format!("migration {name} works on the same {key}: this one begins when that has ended")),
        Busy::Full => {
            ("TooMany", "as many migrations run as this controller may run at once: this one begins when one of them has ended".to_owned())
        }
    };
    let mut status = known(resource);
    if status.message.as_deref() != Some(message.as_str()) {
        status.phase = Some(Phase::Pending);
        status.message = Some(message.clone());
        set_condition(&mut status, "Waiting", Holds::Yes, reason, message);
        write(resources, resource, &status).await?;
    }
    Ok(Action::requeue(AGAIN))
}

pub(super) fn known(resource: &StatefulMigration) -> StatefulMigrationStatus {
    StatefulMigrationStatus { observed_generation: resource.metadata.generation, ..resource.status.clone().unwrap_or_default() }
}

pub(super) async fn write(
    resources: &Api<StatefulMigration>,
    resource: &StatefulMigration,
    status: &StatefulMigrationStatus,
) -> Result<StatefulMigration> {
    let mut patch = json!({ "metadata": { "uid": resource.metadata.uid }, "status": status });
    // What is over is taken away, and the engine's state is its store's alone: it would be mixed with a newer one.
    patch["status"]["message"] = status.message.clone().into();
    if let Some(status) = patch["status"].as_object_mut() {
        status.remove("engine");
    }
    let patch = Patch::Merge(patch);
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let written = resources.patch_status(name, &PatchParams::default(), &patch).await;
    written.map_err(|error| error::api(error, "write the status of the migration"))
}
