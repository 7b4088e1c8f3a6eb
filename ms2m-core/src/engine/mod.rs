//! The migration as a pure function.
//!
//! [`step`] takes a [`MigrationState`], an [`Event`] and the time, and gives the next state and the [`Effect`]s to perform. The
//! [driver](crate::driver) performs them and feeds back what came of them; so does anything else that wants to.
//!
//! ```text
//! Pending        begin ∥ prepare, await readiness (chase: only until the restore)
//! Checkpointing  (pre-dump, send, stage)*, park, checkpoint
//! Transferring   (chase: resume ∥) send
//! Restoring      restore
//! Replaying      progress ∥ watch copy, again and again
//! Finalizing     hand over ── the commit point ── promote, retire source, retire journal ∥ discards
//! Completed
//!
//! any failure, deadline or cancel before the commit point:
//!                abort ── the copy owns the queue? then forward ── discard copy, discards, retire journal
//! Failed
//! ```
//!
//! Beside all this, until the commit point, it is watched whether the source lives, and later the copy. The journal is looked at
//! from `begin` on: that shows the source that somebody still drives the migration, and the engine whether the source has
//! given it up. A copy that has ended rolls back at once.
//!
//! If the source dies before its checkpoint exists there is nothing to migrate. If it dies later the checkpoint and the journal
//! are all there is of its state: the migration goes on against all odds until its deadlines, cannot be cancelled, and ends
//! with FENCE instead of END.
//!
//! What always holds (and is proved by the property tests in `tests/engine`):
//! - There is one commit point: the word of the journal, told by `hand_over` or `abort`. Nothing rolls back after it.
//! - Nothing of the copy is discarded before the journal has said that the source owns the queue.
//! - A parked source is resumed, aborted to, or replaced; it is never forgotten.
//! - Every non-final state has a [deadline](MigrationState::deadline) or an [attention marker](MigrationState::attention).
//! - Late and doubled answers change nothing. Every effect is idempotent under its [`EffectKey`].
//! - A stored state and [`Event::Resumed`] are enough to go on after a crash.
//!
//! A call that is dropped (its step is no longer outstanding, or the driver died) counts like one whose caller crashed: the
//! traits' idempotence and the clean-up have to bear it.

mod commit;
mod deadlines;
mod effect;
mod event;
mod failure;
mod forward;
mod issue;
mod pre_dump;
mod rollback;
mod rounds;
mod spec;
mod state;
mod step;
mod sweep;
mod watch;

pub use deadlines::Deadlines;
pub use effect::{Call, Effect, EffectKey, Step};
pub use event::{Answer, Event, Fault};
pub use pre_dump::{PreDumpEnd, PreDumpPolicy};
pub use spec::{DriverNames, MigrationSpec};
pub use state::{Course, Facts, MigrationState, Outstanding, Round, Traces, Undo};
pub use step::step;
pub(crate) use sweep::SWEPT;
