//! One effect, performed over the traits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::{Drivers, Observer, Progress};
use crate::bytes_stream::ByteStream;
use crate::engine::{Answer, Call, Effect, EffectKey, Event, Fault, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::id::MigrationId;
use crate::pace::paced;
use crate::part::Part;

/// Waits, calls, and turns the result into an event. Never takes longer than [`Effect::delay`] and [`Effect::limit`] together.
pub(super) async fn perform(drivers: Drivers, observer: Arc<dyn Observer>, effect: Effect) -> Event {
    let Effect { key, issue, attempt, delay, limit, call } = effect;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let span = span(&key, attempt);
    let answer = match tokio::time::timeout(limit, answer(&drivers, &observer, &key.migration, call)).instrument(span.clone()).await {
        Ok(answer) => answer,
        Err(_) => Err(timed_out(key.step, limit)),
    };
    match answer {
        Ok(answer) => Event::Done { issue, answer },
        Err(error) => {
            span.record("error", tracing::field::display(&error));
            tracing::warn!(migration = %key.migration, step = %key.step, attempt, %error, "a call failed");
            Event::Failed { issue, fault: Fault::from(&error) }
        }
    }
}

/// Looks that are repeated are worth one to nobody but who debugs.
fn span(key: &EffectKey, attempt: u32) -> Span {
    if key.step.is_poll() {
        tracing::debug_span!("call", otel.name = %key.step, migration = %key.migration, attempt, error = Empty)
    } else {
        tracing::info_span!("call", otel.name = %key.step, migration = %key.migration, attempt, error = Empty)
    }
}

fn timed_out(step: Step, limit: Duration) -> Error {
    Error::retry(ErrorKind::Timeout, format!("{step} has not answered within {} s", limit.as_secs_f64()))
}

async fn answer(drivers: &Drivers, observer: &Arc<dyn Observer>, migration: &MigrationId, call: Call) -> Result<Answer> {
    let Drivers { source, transfer, target, broker } = drivers;
    Ok(match call {
        Call::Begin(job) => Answer::Begun(broker.begin(&job).await?),
        Call::Prepare(job) => done(target.prepare(&job).await)?,
        Call::AwaitReady(job) => done(target.await_ready(&job).await)?,
        Call::WatchSource => Answer::Source(source.status().await?),
        Call::PreDump { job, round } => Answer::PreDumped(source.pre_dump(&job, round).await?),
        Call::Park => Answer::Parked(broker.park(migration).await?),
        Call::Checkpoint(job) => Answer::Checkpoint(source.checkpoint(&job).await?),
        Call::Resume => done(broker.resume(migration).await)?,
        Call::Send { job, checkpoint, bytes_per_s_max } => {
            let body = source.open(&checkpoint, 0).await?;
            let body = counted(body, Arc::clone(observer), migration.clone(), (job.part, job.archive_bytes));
            let body = match bytes_per_s_max {
                Some(limit) => paced(body, limit),
                None => body,
            };
            Answer::Sent(transfer.send(&job, body).await?)
        }
        Call::Stage { job, receipt } => done(target.stage(&job, &receipt, Arc::clone(transfer)).await)?,
        Call::Restore { job, receipts } => Answer::Restored(target.restore(&job, &receipts, Arc::clone(transfer)).await?),
        Call::WatchCopy => Answer::Copy(target.status(migration).await?),
        Call::Progress => {
            let progress = broker.progress(migration).await?;
            observer.on_progress(migration, &Progress::Replay(progress.clone()));
            Answer::Progress(progress)
        }
        Call::HandOver(job) => Answer::Owner(broker.hand_over(&job).await?),
        Call::Promote => done(target.promote(migration).await)?,
        Call::RetireSource => done(source.retire(migration).await)?,
        Call::RetireBroker { source_gone } => Answer::Retired(broker.retire(migration, source_gone).await?),
        Call::Abort { reason } => Answer::Owner(broker.abort(migration, &reason).await?),
        Call::DiscardCopy => done(target.discard(migration).await)?,
        Call::DiscardTransfer => done(transfer.discard(migration).await)?,
        Call::DiscardCheckpoint => done(source.discard(migration).await)?,
    })
}

fn done(result: Result<()>) -> Result<Answer> {
    result.map(|()| Answer::Done)
}

fn counted(body: ByteStream, observer: Arc<dyn Observer>, migration: MigrationId, (part, of_bytes): (Part, u64)) -> ByteStream {
    let mut bytes = 0;
    Box::pin(body.inspect(move |piece| {
        if let Ok(piece) = piece {
            bytes += piece.len() as u64;
            observer.on_progress(&migration, &Progress::Transfer { part, bytes, of_bytes });
        }
    }))
}
