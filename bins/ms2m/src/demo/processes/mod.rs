//! Consumers and publishers as processes on a real RabbitMQ.

mod child;
pub(crate) mod consumer;
mod listener;
mod node;
mod process;
pub(crate) mod publisher;
mod run;
mod send_file;
mod spawn;
mod stage;

pub(crate) use run::{fresh_id, play};
