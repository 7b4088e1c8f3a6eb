//! The hand-over protocols, as machines without I/O: an event in, actions out.
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
