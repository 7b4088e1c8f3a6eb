//! One look at a resource: quick, because what takes its time runs in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use ms2m_core::{Cancel, Error, Phase, Result, Verdict};
use serde_json::json;

use super::running::Busy;
use super::seen::Seen;
use super::{AGAIN, Context, finalizer, look_after, sweep};
use crate::api::{StatefulMigration, StatefulMigrationStatus};
use crate::error;
use crate::status::{Holds, set_condition};

/// Why it is cancelled.
pub(super) const DELETED: &str = "the migration was deleted";

pub(super) async fn reconcile(seen: Arc<Seen>, context: Arc<Context>) -> Result<Action> {
    if context.running.runs(seen.uid(), seen.is_deleted().then_some(DELETED)) {
        return Ok(Action::await_change());
    }
    let resources = context.resources(seen.namespace());
    if seen.ended_at().is_some() {
        return after_the_end(&context, &resources, seen).await;
    }
    if seen.is_deleted() && !seen.has_begun() {
        return finalizer::set(&resources, &*seen, false).await.map(|()| Action::await_change());
    }
    match reserve(&context, &seen) {
        Ok(cancel) => {
            let (uid, task) = (seen.uid().to_owned(), look_after::look_after(Arc::clone(&context), seen, cancel));
            context.running.start(&uid, task);
            Ok(Action::await_change())
        }
        Err(busy) => wait(&context, &resources, &seen, &busy).await,
    }
}

pub(super) fn on_error(seen: &Seen, error: &Error) -> Action {
    tracing::warn!(namespace = seen.namespace(), name = seen.name(), %error, "a migration cannot be looked after now: it is tried again");
    Action::requeue(pause_after(error))
}

/// Before something is tried again.
pub(super) fn pause_after(error: &Error) -> Duration {
    if error.verdict() == Verdict::Retry { Duration::from_secs(1) } else { Duration::from_secs(30) }
}

/// The queue's owner is certain, so nothing keeps the resource from being deleted.
async fn after_the_end(context: &Arc<Context>, resources: &Api<StatefulMigration>, seen: Arc<Seen>) -> Result<Action> {
    if seen.has_finalizer() {
        finalizer::set(resources, &*seen, false).await?;
    }
    if sweep::is_owed(&seen) {
        return Ok(sweep::begin(context, seen));
    }
    let (Some(seconds), Some(ended), false) = (seen.ttl_seconds(), seen.ended_at(), seen.is_deleted()) else {
        return Ok(Action::await_change());
    };
    let age = jiff::Timestamp::now().duration_since(ended.0);
    let left = jiff::SignedDuration::from_secs(seconds.into()).saturating_sub(age);
    if left.is_positive() {
        return Ok(Action::requeue(left.unsigned_abs()));
    }
    let only_this = Preconditions { uid: Some(seen.uid().to_owned()), resource_version: None };
    match resources.delete(seen.name(), &DeleteParams::default().preconditions(only_this)).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Action::await_change()),
        Err(error) => Err(error::api(error, "remove a migration whose time is over")),
    }
}

/// Reserves queue and source. One that has begun before a crash comes before one that has not.
fn reserve(context: &Context, seen: &Seen) -> Result<Cancel, Busy> {
    if !seen.has_begun() {
        let owed = context.known.find(|other| {
            other.has_begun()
                && other.ended_at().is_none()
                && other.uid() != seen.uid()
                && other.keys().iter().any(|key| seen.keys().contains(key))
        });
        if let Some(other) = owed {
            let key = other.keys().iter().find(|key| seen.keys().contains(key)).cloned().unwrap_or_default();
            return Err(Busy::Key { name: other.name().to_owned(), key });
        }
    }
    context.running.reserve(seen.uid(), seen.name(), seen.keys().to_vec())
}

async fn wait(context: &Context, resources: &Api<StatefulMigration>, seen: &Seen, busy: &Busy) -> Result<Action> {
    let (reason, message) = match busy {
        Busy::Key { name, key } => ("Busy", format!("migration {name} works on the same {key}: this one begins when that has ended")),
        Busy::Full => {
            ("TooMany", "as many migrations run as this controller may run at once: this one begins when one of them has ended".to_owned())
        }
    };
    context.again.wait(ObjectRef::from_obj(seen), busy);
    if !seen.has_begun() && seen.message() != Some(message.as_str()) {
        let found = resources.get_opt(seen.name()).await.map_err(|error| error::api(error, "read the migration"))?;
        if let Some(resource) = found.filter(|found| found.metadata.uid.as_deref() == Some(seen.uid())) {
            let mut status = known(&resource);
            status.phase = Some(Phase::Pending);
            status.message = Some(message.clone());
            set_condition(&mut status, "Waiting", Holds::Yes, reason, message);
            write(resources, &resource, &status).await?;
        }
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
