//! `ms2m demo-publisher`: a publisher of a demo, in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;

use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_core::{Error, ErrorKind, Result, SystemClock};
use ms2m_testkit::workload::{Publisher, run as publish};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::child::{self, BrokerArg};
use super::send_file::SendFile;
use crate::exit::Exit;

/// What it is told.
#[derive(clap::Args, Debug)]
pub(crate) struct PublisherArgs {
    #[command(flatten)]
    broker: BrokerArg,
    #[arg(long)]
    name: String,
    #[arg(long)]
    exchange: Option<String>,
    #[arg(long)]
    queue: String,
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    count: Option<u64>,
    #[arg(long)]
    seed: u64,
    /// Where it writes down what it does.
    #[arg(long)]
    log: PathBuf,
}

/// Publishes until it is told to stop, or all is sent.
pub(crate) fn run(args: &PublisherArgs) -> Exit {
    child::run(&args.broker.process_file, work(args))
}

async fn work(args: &PublisherArgs) -> Result<()> {
    let broker = Arc::new(RabbitMq::new(RabbitMqConfig::new(&args.broker.broker)?)?);
    let log = Arc::new(SendFile::create(&args.log)?);
    let (stop, stopped) = watch::channel(false);
    let failed = |error| Error::fatal(ErrorKind::Other, "no signal handler").caused_by(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::spawn(async move {
        terminate.recv().await;
        stop.send_replace(true);
        // Kept, so that publishers with an end go on to it.
        std::future::pending::<()>().await;
    });
    let publisher = Publisher {
        exchange: args.exchange.clone().unwrap_or_default(),
        rate_per_s: args.rate,
        count: args.count,
        seed: args.seed,
        // Long enough for a broker that restarts.
        reconnects_max: 5_000,
        ..Publisher::new(args.name.clone(), args.queue.clone())
    };
    publish(&publisher, broker, Arc::new(SystemClock), Arc::clone(&log) as _, stopped).await?;
    log.done();
    Ok(())
}
