//! A migration begins, or is gone on with after a crash.

use std::sync::Arc;

use futures_util::future::join;
use k8s_openapi::jiff;
use kube::runtime::events::EventType;
use kube::{Api, Resource as _};
use ms2m_core::{Cancel, Driver, Drivers, Error, InstanceId, MigrationSpec, MigrationState, Phase, Result, Verdict};

use super::Context;
use super::news::{News, event};
use super::reconcile::{known, write};
use crate::api::StatefulMigration;
use crate::plan::Plan;
use crate::status::{Holds, refuse, set_condition};
use crate::store::StatusStore;

/// A driver, and what it begins or goes on with.
pub(super) struct Runs {
    driver: Driver,
    with: With,
}

enum With {
    Spec(Box<MigrationSpec>),
    State(Box<MigrationState>),
}

impl Runs {
    /// Until the engine says that it has ended.
    pub(super) async fn finish(self) -> Result<()> {
        // With the driver its observer goes, so that its writer learns that there is nothing more to come.
        let Self { driver, with } = self;
        match with {
            With::Spec(spec) => driver.run(*spec).await,
            With::State(state) => driver.resume(*state).await,
        }
        .map(drop)
    }
}

/// `None` when it is refused; an error within the result when it may be tried again.
pub(super) async fn begin(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: StatefulMigration,
    cancel: &Cancel,
) -> Result<Result<Option<Runs>, Error>> {
    // A plan only reads.
    let (kept, plan) = join(super::finalizer::set(resources, &resource, true), Plan::make(&context.client, &resource)).await;
    kept?;
    let accepted = async { accept(context, resources, &resource, plan?, cancel).await };
    let error = match accepted.await {
        Ok(runs) => return Ok(Ok(Some(runs))),
        Err(error) => error,
    };
    let mut status = known(&resource);
    let first = status.conditions.iter().find(|condition| condition.type_ == "Accepted" && condition.status == "Unknown");
    let tried = first.map(|first| jiff::Timestamp::now().duration_since(first.last_transition_time.0));
    let patience = jiff::SignedDuration::from_secs(resource.spec.timeouts.pending_seconds.into());
    if error.verdict() != Verdict::Retry || tried.is_some_and(|tried| tried > patience) {
        refuse(&mut status, &error);
        let told = event(EventType::Warning, "Refused", error.to_string().chars().take(1000).collect());
        let _ = context.recorder.publish(&told, &resource.object_ref(&())).await;
        let refused = write(resources, &resource, &status).await?;
        super::finalizer::set(resources, &refused, false).await?;
        return Ok(Ok(None));
    }
    if tried.is_none() {
        let message = format!("tried again for {} s: {error}", patience.as_secs());
        set_condition(&mut status, "Accepted", Holds::Unknown, &format!("{:?}", error.kind()), &message);
        status.message = Some(message);
        write(resources, &resource, &status).await?;
    }
    Ok(Err(error))
}

async fn accept(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: &StatefulMigration,
    (plan, source): (Plan, InstanceId),
    cancel: &Cancel,
) -> Result<Runs> {
    let mut status = known(resource);
    status.phase = Some(Phase::Pending);
    status.source_node = Some(plan.source_node.clone());
    status.source_pod_uid = Some(plan.source_uid.clone());
    status.target_pod = Some(plan.copy_pod.clone());
    status.container_name = Some(plan.container.clone());
    status.container_names = if plan.containers.len() > 1 { plan.containers.clone() } else { Vec::new() };
    status.deployment_name = plan.deployment.clone();
    status.stateful_set_name = plan.strategy.stateful_set().map(str::to_owned);
    let (written, drivers) = join(write(resources, resource, &status), context.factory.drivers(&plan)).await;
    let (mut resource, drivers) = (written?, drivers?);
    let status = resource.status.get_or_insert_default();
    status.message = None;
    status.observed_generation = resource.metadata.generation;
    set_condition(status, "Accepted", Holds::Yes, "Preflight", "");
    set_condition(status, "Waiting", Holds::No, "Begun", "");
    runs(context, resources, &resource, drivers, With::Spec(Box::new(plan.engine(source)?)), cancel)
}

pub(super) async fn go_on(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: StatefulMigration,
    state: MigrationState,
    cancel: &Cancel,
) -> Result<Runs> {
    let again = async {
        let plan = Plan::kept(&resource)?;
        let drivers = context.factory.drivers(&plan).await?;
        runs(context, resources, &resource, drivers, With::State(Box::new(state)), cancel)
    };
    let error = match again.await {
        Ok(runs) => return Ok(runs),
        Err(error) => error,
    };
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

fn runs(
    context: &Arc<Context>,
    resources: &Api<StatefulMigration>,
    resource: &StatefulMigration,
    drivers: Drivers,
    with: With,
    cancel: &Cancel,
) -> Result<Runs> {
    let store = Arc::new(StatusStore::new(&context.client, resource, cancel.clone())?);
    let (news, writer) = News::new(Arc::clone(&context.observer));
    let driver = Driver::new(drivers, store).with_cancel(cancel.clone()).with_observer(Arc::new(news));
    let (recorder, about, resources) = (context.recorder.clone(), resource.object_ref(&()), resources.clone());
    let context = Arc::clone(context);
    // It ends by itself when the driver has, and nobody waits for the last news.
    tokio::spawn(async move { writer.write(&context.running, &recorder, &about, &resources).await });
    Ok(Runs { driver, with })
}
