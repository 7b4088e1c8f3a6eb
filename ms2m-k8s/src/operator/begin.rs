//! A migration begins, or is gone on with after a crash.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use k8s_openapi::jiff;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Api, Resource as _};
use ms2m_core::{Cancel, Driver, Drivers, InstanceId, MigrationState, Phase, Result, Verdict};
use tokio::time::sleep;

use super::news::{News, event};
use super::reconcile::{DELETED, known, reserve, wait, write};
use super::{Context, finalizer};
use crate::api::StatefulMigration;
use crate::plan::Plan;
use crate::status::{Holds, refuse, set_condition};
use crate::store::StatusStore;

/// Before a migration whose driver could not go on is taken up again.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, where it will hardly do better the next time.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(30);

/// How a migration goes on.
enum Begin {
    With(InstanceId),
    From(Box<MigrationState>),
}

pub(super) async fn begin(context: &Arc<Context>, resources: &Api<StatefulMigration>, resource: StatefulMigration) -> Result<Action> {
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

pub(super) async fn go_on(
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
    drivers: Drivers,
    begin: Begin,
    cancel: Cancel,
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
