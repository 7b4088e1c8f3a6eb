//! One look at a resource.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use k8s_openapi::jiff;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource as _};
use ms2m_core::{Driver, Error, InstanceId, MigrationState, Phase, Result, Verdict};
use serde_json::json;
use tokio::time::sleep;

use super::news::{News, event};
use super::running::Busy;
use super::{AGAIN, Context, finalizer};
use crate::api::{StatefulMigration, StatefulMigrationStatus};
use crate::error;
use crate::plan::Plan;
use crate::status::{Holds, refuse, set_condition};
use crate::store::{StatusStore, state_of};

/// Why it is cancelled.
const DELETED: &str = "the migration was deleted";

/// Before a migration whose driver could not go on is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, where it will hardly do better the next time.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(30);

/// How a migration goes on.
enum Begin {
    With(InstanceId),
    From(Box<MigrationState>),
}

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
fn reserve(context: &Context, resource: &StatefulMigration, has_begun: bool) -> Result<ms2m_core::Cancel, Busy> {
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

async fn wait(resources: &Api<StatefulMigration>, resource: &StatefulMigration, busy: Busy) -> Result<Action> {
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

fn known(resource: &StatefulMigration) -> StatefulMigrationStatus {
    StatefulMigrationStatus { observed_generation: resource.metadata.generation, ..resource.status.clone().unwrap_or_default() }
}

async fn write(
    resources: &Api<StatefulMigration>,
    resource: &StatefulMigration,
    status: &StatefulMigrationStatus,
) -> Result<StatefulMigration> {
    let mut patch = json!({ "metadata": { "uid": resource.metadata.uid }, "status": status });
    // What is over is taken away.
    patch["status"]["message"] = status.message.clone().into();
    let patch = Patch::Merge(patch);
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let written = resources.patch_status(name, &PatchParams::default(), &patch).await;
    written.map_err(|error| error::api(error, "write the status of the migration"))
}

async fn begin(context: &Arc<Context>, resources: &Api<StatefulMigration>, resource: StatefulMigration) -> Result<Action> {
    finalizer::set(resources, &resource, true).await?;
    let uid = resource.metadata.uid.clone().unwrap_or_default();
    let cancel = match reserve(context, &resource, false) {
        Ok(cancel) => cancel,
        Err(busy) => return wait(resources, &resource, busy).await,
    };
    let accepted = async {
        let (plan, source) = Plan::make(&context.client, &resource).await?;
        let mut status = known(&resource);
        status.phase = Some(Phase::Pending);
        status.message = None;
        status.source_node = Some(plan.source_node.clone());
        status.source_pod_uid = Some(plan.source_uid.clone());
        status.target_pod = Some(plan.copy_pod.clone());
        status.container_name = Some(plan.container.clone());
        status.deployment_name = plan.deployment.clone();
        set_condition(&mut status, "Accepted", Holds::Yes, "Preflight", "");
        set_condition(&mut status, "Waiting", Holds::No, "Begun", "");
        let resource = write(resources, &resource, &status).await?;
        let drivers = context.factory.drivers(&plan).await?;
        Ok::<_, Error>((resource, plan, source, drivers))
    };
    match accepted.await {
        Ok((resource, plan, source, drivers)) => {
            start(context, resources, &resource, &plan, drivers, Begin::With(source), cancel)
                .inspect_err(|_| context.running.release(&uid))?;
            Ok(Action::await_change())
        }
        Err(error) if error.verdict() == Verdict::Retry => {
            context.running.release(&uid);
            Err(error)
        }
        Err(error) => {
            let mut status = known(&resource);
            refuse(&mut status, &error);
            let written = write(resources, &resource, &status).await;
            context.running.release(&uid);
            let refused = event(EventType::Warning, "Refused", error.to_string().chars().take(1000).collect());
            let _ = context.recorder.publish(&refused, &resource.object_ref(&())).await;
            written.map(|_| Action::await_change())
        }
    }
}

async fn go_on(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: StatefulMigration,
    state: MigrationState,
) -> Result<Action> {
    let uid = resource.metadata.uid.clone().unwrap_or_default();
    let cancel = match reserve(context, &resource, true) {
        Ok(cancel) => cancel,
        Err(busy) => return wait(resources, &resource, busy).await,
    };
    if resource.metadata.deletion_timestamp.is_some() {
        cancel.cancel(DELETED);
    }
    let drivers = async {
        let plan = Plan::kept(&resource)?;
        let drivers = context.factory.drivers(&plan).await?;
        start(context, resources, &resource, &plan, drivers, Begin::From(Box::new(state)), cancel)
    };
    drivers.await.inspect_err(|_| context.running.release(&uid)).map(|()| Action::await_change())
}

fn start(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: &StatefulMigration,
    plan: &Plan,
    drivers: ms2m_core::Drivers,
    begin: Begin,
    cancel: ms2m_core::Cancel,
) -> Result<()> {
    let store = Arc::new(StatusStore::new(&context.client, resource, cancel.clone())?);
    let begin = match begin {
        Begin::With(source) => Ok(plan.engine(source)?),
        Begin::From(state) => Err(state),
    };
    let (news, writer) = News::new(Arc::clone(&context.observer));
    let driver = Driver::new(drivers, store).with_cancel(cancel).with_observer(Arc::new(news));
    let (uid, about) = (plan.migration.as_str().to_owned(), resource.object_ref(&()));
    let (shared, resources) = (Arc::clone(context), resources.clone());
    let key = uid.clone();
    // It ends by itself when the driver has, and nobody waits for the last news.
    tokio::spawn({
        let recorder = context.recorder.clone();
        async move { writer.write(&recorder, &about, &resources).await }
    });
    context.running.start(&key, async move {
        let run = async move {
            let ended = match begin {
                Ok(spec) => driver.run(spec).await,
                Err(state) => driver.resume(*state).await,
            };
            // So the writer learns that there is nothing more to come.
            drop(driver);
            ended
        };
        let ended = AssertUnwindSafe(run).catch_unwind().await;
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(migration = uid, %error, "a migration stands still, and is taken up again");
                sleep(PAUSE).await;
            }
            // It has said what and where.
            Err(_) => {
                tracing::error!(migration = uid, "a driver has panicked: its migration is taken up again");
                sleep(PAUSE_AFTER_PANIC).await;
            }
        }
        shared.running.release(&uid);
    });
    Ok(())
}
