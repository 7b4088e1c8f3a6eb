//! The hand-over protocols, as machines without I/O: an event in, actions out.
//!
//! ```text
//! controller  BEGIN ......... PARK ......... RESUME ............... HANDOVER .................... RETIRE
//! source            JOINED 41 42 43 PARKED(43)      44 45 46 47 48           END(48, next) LEFT
//! copy                                  CJOINED  replays 44 .. READY          next …  TAKEN   serves
//! ```
//!
//! All of it is one log, the journal ([`journal_name`]), which everybody appends to and reads back from its start. On queues
//! (protocol J) the source writes every applied message into it; streams (protocol O) are their own journal, and only the words
//! in capitals are written. [`JournalView`] says who owns the queue after any prefix of the log. [`Source`], [`Copy`](struct@Copy) and
//! [`Controller`] act on what they have read. Each [`Rule`] names something that must not be left out.
//!
//! Hold is Chase without RESUME: the source stays parked, and END carries the number of the checkpoint.
mod config;
mod controller;
mod copy;
mod image;
mod intake;
mod membership;
mod record;
mod rules;
mod source;
mod step;
mod verdict;

pub use config::ConsumerConfig;
pub use controller::{Answer, Call, Controller, ControllerAction, ControllerEvent, Refusal};
pub use copy::{BACKLOG_RECORDS_MAX, Copy};
pub use image::Image;
pub use record::{
    Applied, Begin, Determinants, Determinism, End, Joined, MigrationTag, RECORD_OVERHEAD_BYTES, RECORD_VERSION, Record, Role,
    control_name, journal_name,
};
pub use rules::{Rule, Rules};
pub use source::Source;
pub use step::{Action, ApplyMode, Delivered, Event, Exit};
pub use verdict::{JournalView, Owner};
