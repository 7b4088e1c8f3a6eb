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
        status.source_node = Some(plan.source_node.clone());
        status.source_pod_uid = Some(plan.source_uid.clone());
        status.target_pod = Some(plan.copy_pod.clone());
        status.container_name = Some(plan.container.clone());
        status.deployment_name = plan.deployment.clone();
        // The agent of the source's node goes by what it finds in there.
        let mut resource = write(resources, &resource, &status).await?;
        let drivers = context.factory.drivers(&plan).await?;
        let status = resource.status.get_or_insert_default();
        status.message = None;
        status.observed_generation = resource.metadata.generation;
        set_condition(status, "Accepted", Holds::Yes, "Preflight", "");
        set_condition(status, "Waiting", Holds::No, "Begun", "");
        start(context, resources, &resource, &plan, drivers, Begin::With(source), cancel)
    };
    let Err(error) = accepted.await else { return Ok(Action::await_change()) };
    let mut status = known(&resource);
    let first = status.conditions.iter().find(|condition| condition.type_ == "Accepted" && condition.status == "Unknown");
    let tried = first.map(|first| jiff::Timestamp::now().duration_since(first.last_transition_time.0));
    let patience = jiff::SignedDuration::from_secs(resource.spec.timeouts.pending_seconds.into());
    let refused = error.verdict() != Verdict::Retry || tried.is_some_and(|tried| tried > patience);
    let written = if refused {
        refuse(&mut status, &error);
        let told = event(EventType::Warning, "Refused", error.to_string().chars().take(1000).collect());
        let _ = context.recorder.publish(&told, &resource.object_ref(&())).await;
        write(resources, &resource, &status).await
    } else if tried.is_none() {
        // Once: each change of the status brings the resource back in here at once.
        let message = format!("tried again for {} s: {error}", patience.as_secs());
        set_condition(&mut status, "Accepted", Holds::Unknown, &format!("{:?}", error.kind()), &message);
        status.message = Some(message);
        write(resources, &resource, &status).await
    } else {
        Ok(resource)
    };
    context.running.give_back(&uid);
    written?;
    if refused { Ok(Action::await_change()) } else { Err(error) }
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
    let Err(error) = drivers.await else { return Ok(Action::await_change()) };
    context.running.give_back(&uid);
    let mut status = known(&resource);
    let told = status.conditions.iter().any(|condition| condition.type_ == "NeedsAttention" && condition.reason == "CannotGoOn");
    if !told {
        let message = format!("this migration is under way and cannot be gone on with: {error}");
        set_condition(&mut status, "NeedsAttention", Holds::Yes, "CannotGoOn", &message);
        status.message = Some(message);
        write(resources, &resource, &status).await?;
    }
    Err(error)
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
