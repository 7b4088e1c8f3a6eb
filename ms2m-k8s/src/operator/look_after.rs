//! The task of one migration: from the first look at its source until nothing is owed any more.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use ms2m_core::{Cancel, Error, ErrorKind, Result};
use tokio::time::sleep;

use super::begin::{begin, go_on};
use super::reconcile::{DELETED, pause_after};
use super::seen::Seen;
use super::{Context, finalizer};
use crate::api::StatefulMigration;
use crate::error;
use crate::store::state_of;
use crate::watch;

/// Before a migration is taken up again whose driver will hardly do better the next time.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(30);

/// To take the finalizer away, while others write.
const ATTEMPTS: u32 = 5;

/// What is left to do.
enum Left {
    Nothing,
    /// It has not begun, and is tried again after a pause, in which others may have its queue.
    Again(Error),
}

/// Whatever happens, its reservation is given back, and it is looked at again where it has not ended.
pub(super) async fn look_after(context: Arc<Context>, seen: Arc<Seen>, cancel: Cancel) {
    let who = ObjectRef::from_obj(&*seen);
    let attempt = watch::shared(&context.pods, attempt(&context, &seen, &cancel));
    let pause = match AssertUnwindSafe(attempt).catch_unwind().await {
        Ok(Ok(Left::Nothing)) => None,
        Ok(Ok(Left::Again(error))) => {
            tracing::warn!(namespace = seen.namespace(), name = seen.name(), %error, "a migration cannot begin now: it is tried again");
            context.running.rest(seen.uid());
            context.again.ended(seen.keys());
            tokio::select! {
                () = sleep(pause_after(&error)) => {}
                _ = cancel.cancelled() => {}
            }
            context.running.give_back(seen.uid());
            return context.again.look(who);
        }
        Ok(Err(error)) => {
            tracing::warn!(migration = seen.uid(), %error, "a migration stands still, and is taken up again");
            Some(pause_after(&error))
        }
        // It has said what and where.
        Err(_) => {
            tracing::error!(migration = seen.uid(), "a driver has panicked: its migration is taken up again");
            Some(PAUSE_AFTER_PANIC)
        }
    };
    if let Some(pause) = pause {
        sleep(pause).await;
    }
    context.running.give_back(seen.uid());
    context.again.ended(seen.keys());
    if pause.is_some() {
        context.again.look(who);
    }
}

/// Begins or goes on, and sees it to its end.
async fn attempt(context: &Arc<Context>, seen: &Seen, cancel: &Cancel) -> Result<Left> {
    let resources = context.resources(seen.namespace());
    let runs = {
        // It is closed by nobody.
        let _turn = context.turns.acquire().await;
        // What was seen may be older than what has just ended here.
        let Some(resource) = read(&resources, seen).await? else { return Ok(Left::Nothing) };
        let deleted = resource.metadata.deletion_timestamp.is_some();
        let has_ended = resource.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        match state_of(&resource)? {
            _ if has_ended => return finalizer::set(&resources, &resource, false).await.map(|()| Left::Nothing),
            None if deleted => return finalizer::set(&resources, &resource, false).await.map(|()| Left::Nothing),
            None => match begin(context, &resources, resource, cancel).await? {
                Ok(Some(runs)) => runs,
                Ok(None) => return Ok(Left::Nothing),
                Err(error) => return Ok(Left::Again(error)),
            },
            Some(state) => {
                if deleted {
                    cancel.cancel(DELETED);
                }
                go_on(context, &resources, resource, state, cancel).await?
            }
        }
    };
    runs.finish().await?;
    let mut attempts = ATTEMPTS;
    while let Some(resource) = read(&resources, seen).await? {
        attempts -= 1;
        match finalizer::set(&resources, &resource, false).await {
            // The last news are being written.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempts > 0 => {}
            set => return set.map(|()| Left::Nothing),
        }
    }
    Ok(Left::Nothing)
}

pub(super) async fn read(resources: &Api<StatefulMigration>, seen: &Seen) -> Result<Option<StatefulMigration>> {
    let found = resources.get_opt(seen.name()).await.map_err(|error| error::api(error, "read the migration"))?;
    Ok(found.filter(|found| found.metadata.uid.as_deref() == Some(seen.uid())))
}
