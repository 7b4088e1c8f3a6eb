//! Everything in this process: broker, publishers and consumers are tasks.

mod gate;
mod instance;
mod node;
mod publishers;
mod stage;

pub(crate) use publishers::Publishers;
pub(crate) use stage::{Embedded, clocks};
