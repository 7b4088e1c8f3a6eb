//! What an ended migration has left behind, on a node that could not be reached, is removed when it can be.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use ms2m_core::{Cancel, Driver, Result};
use tokio::time::sleep;

use super::look_after::read;
use super::seen::Seen;
use super::{AGAIN, Context};
use crate::plan::Plan;
use crate::store::{StatusStore, state_of};

/// Since the end of a migration: a node that is away for longer is hardly the same one when it comes again.
const FOR: Duration = Duration::from_hours(24);
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// Whether something is owed of a migration that has ended.
pub(super) fn is_owed(seen: &Seen) -> bool {
    seen.is_left_behind() && !seen.is_deleted() && since_the_end(seen) < FOR
}

/// Begins a task for it, which has none of the migration's reservations: everything that it asks for is of this one migration.
pub(super) fn begin(context: &Arc<Context>, seen: Arc<Seen>) -> Action {
    let Ok(cancel) = context.running.reserve(seen.uid(), seen.name(), Vec::new()) else { return Action::requeue(AGAIN) };
    let (uid, task) = (seen.uid().to_owned(), sweep_later(Arc::clone(context), seen, cancel));
    context.running.start(&uid, task);
    Action::await_change()
}

/// The longer it is in vain, the more seldom.
async fn sweep_later(context: Arc<Context>, seen: Arc<Seen>, cancel: Cancel) {
    let pause = (since_the_end(&seen) / 4).clamp(PAUSE_MIN, PAUSE_MAX);
    let is_cancelled = tokio::select! {
        () = sleep(pause) => false,
        _ = cancel.cancelled() => true,
    };
    if !is_cancelled && let Err(error) = sweep(&context, &seen, cancel).await {
        tracing::warn!(migration = seen.uid(), %error, "what a migration has left behind cannot be removed now: it is tried again");
    }
    context.running.give_back(seen.uid());
    context.again.look(ObjectRef::from_obj(&*seen));
}

async fn sweep(context: &Context, seen: &Seen, cancel: Cancel) -> Result<()> {
    let _turn = context.turns.acquire().await;
    let Some(resource) = read(&context.resources(seen.namespace()), seen).await? else { return Ok(()) };
    let Some(state) = state_of(&resource)? else { return Ok(()) };
    let drivers = context.factory.drivers(&Plan::kept(&resource)?).await?;
    let store = Arc::new(StatusStore::new(&context.client, &resource, cancel)?);
    Driver::new(drivers, store).sweep(state).await.map(drop)
}

fn since_the_end(seen: &Seen) -> Duration {
    let ended = seen.ended_at().map(|ended| jiff::Timestamp::now().duration_since(ended.0));
    ended.map_or(Duration::ZERO, |since| since.try_into().unwrap_or_default())
}
