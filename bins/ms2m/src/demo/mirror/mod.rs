//! The published scheme, as a negative control: bind a second queue to the exchange, checkpoint, let the copy replay the second
//! queue until it looks empty, end the source, delete the second queue.
//!
//! It is not exact, by design. Nothing compares what the image has applied with what was routed before the binding; two
//! queues are two orders; an empty look is no end; nobody makes sure that the source applies nothing after it. Consumers are
//! plain ones without the SDK: they receive, work, publish their effect and acknowledge.

mod consumer;
mod fabric;
mod migrate;
mod stage;

pub(crate) use fabric::{Fabric, RabbitFabric};
pub(crate) use stage::MirrorStage;
