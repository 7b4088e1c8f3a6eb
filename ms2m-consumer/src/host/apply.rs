//! Calling the handler.

use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;

use ms2m_broker::Message;
use ms2m_broker::protocol::{ApplyMode, Determinants, Event, Record};
use ms2m_core::{Clock, Error, ErrorKind, Result};
use tokio::time::timeout;

use super::Host;
use super::machine::Machine;
use crate::context::Context;
use crate::effect::Effects;
use crate::handler::Handler;

/// A message that the machine has handed to the handler.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) n: u64,
    pub(super) message: Message,
    pub(super) mode: ApplyMode,
}

impl<H: Handler> Host<H> {
    /// Applies the message at hand.
    pub(super) async fn apply_next(&mut self) -> Result<()> {
        let Some(Work { n, message, mode }) = self.work.take() else { return Ok(()) };
        let began_at = self.setup.clock.now();
        if mode == ApplyMode::Live {
            self.applied_n = n;
        }
        let applied = match mode {
            ApplyMode::Live => {
                let mut cx = Context::live_at(n, &*self.setup.clock);
                let effects = self.handler.apply(&message, &mut cx).await;
                Ok((effects, cx.finish()))
            }
            ApplyMode::Replay(recorded) => replay(&mut self.handler, &message, n, recorded, &*self.setup.clock).await,
        };
        let ended_at = self.setup.clock.now();
        let (effects, determinants) = match applied {
            Ok(applied) => applied,
            Err(divergence) => {
                self.refuse(divergence).await;
                return Ok(());
            }
        };
        self.outbox.keep(n, effects);
        self.brake.worked(|| ended_at.since(began_at));
        let (began_at_us, ended_at_us) = (began_at.as_micros(), ended_at.as_micros());
        self.count_burst(began_at_us, ended_at_us);
        self.events.push_back(Event::ApplyDone { determinants, began_at_us, ended_at_us });
        Ok(())
    }

    fn count_burst(&mut self, began_at_us: u64, ended_at_us: u64) {
        if self.burst == 0 {
            self.burst_began_us = began_at_us;
        }
        self.burst += 1;
        if ended_at_us.saturating_sub(self.burst_began_us) >= super::BURST_US {
            self.burst = super::BURST_MESSAGES;
        }
    }

    /// A copy that cannot follow its source says so and ends: the machine is not stepped any more, so it can take nothing.
    pub(super) async fn refuse(&mut self, reason: String) {
        let owns = matches!(&self.machine, Machine::Copy(copy) if copy.owns_queue());
        let record = Record::Reject { reason: reason.clone() };
        if let (Some(link), Some(journal)) = (&mut self.link, &self.journal)
            && let Some(journal_link) = &mut link.journal
        {
            let told = async {
                journal_link.append(&record, journal.tag).await?;
                journal_link.confirmed().await
            };
            match timeout(ms2m_broker::link::OPERATION_DEADLINE, told).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the refusal could not be told"),
                Err(_) => tracing::warn!("the refusal was not confirmed in time"),
            }
        }
        if owns {
            // The source is gone and this state is not its own: nobody may go on from here without being asked.
            let text = format!("the copy owns the queue and cannot follow what its source has applied: {reason}");
            self.failed = Some(Error::fatal(ErrorKind::Invariant, text).with("queue", &self.setup.queue.name));
        } else {
            self.exit = Some(ms2m_broker::protocol::Exit::Discarded(reason));
        }
        self.events.clear();
    }
}

/// Applies with recorded values. `Err`: the handler has asked for others than the source did; its state is worth nothing now.
async fn replay<H: Handler>(
    handler: &mut H,
    message: &Message,
    n: u64,
    recorded: Determinants,
    clock: &dyn Clock,
) -> Result<(Effects, Determinants), String> {
    let diverged = OnceLock::new();
    let mut cx = Context::replay_at(n, clock, recorded, &diverged);
    let applied = {
        let mut applying = pin!(handler.apply(message, &mut cx));
        std::future::poll_fn(|task| match applying.as_mut().poll(task) {
            // A read without a value never goes on.
            Poll::Pending if diverged.get().is_some() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await
    };
    let Some(effects) = applied else { return Err(diverged.into_inner().unwrap_or_default()) };
    let determinants = cx.finish();
    diverged.into_inner().map_or(Ok((effects, determinants)), Err)
}
