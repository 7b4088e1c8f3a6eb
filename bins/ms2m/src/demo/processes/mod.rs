//! Consumers and publishers as processes on a real RabbitMQ.

pub(crate) mod consumer;
pub(crate) mod publisher;

use ms2m_core::{Cancel, Error, ErrorKind, Result};
use tokio::sync::watch;

use super::args::DemoArgs;
use super::output::{Ending, Teller};

pub(crate) async fn play(_: DemoArgs, _: &mut dyn Teller, _: Cancel, _: watch::Receiver<bool>) -> Result<Ending> {
    Err(Error::fatal(ErrorKind::Unsupported, "not yet"))
}
