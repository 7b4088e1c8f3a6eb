//! `ms2m demo-consumer`: the consumer of a demo, in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ms2m_broker::Broker;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_consumer::{Consumer, DirectorySnapshots, PublishSink, QueueSpec, Snapshot};
use ms2m_core::{Error, ErrorKind, InstanceId, Result};

use super::child::{self, BrokerArg};
use crate::demo::args::QueueType;
use crate::demo::handler::Bookkeeper;
use crate::exit::Exit;

/// What it is told.
#[derive(clap::Args, Debug)]
pub(crate) struct ConsumerArgs {
    #[command(flatten)]
    broker: BrokerArg,
    #[arg(long)]
    queue: String,
    #[arg(long, value_enum)]
    queue_type: QueueType,
    #[arg(long)]
    single_active_consumer: bool,
    #[arg(long)]
    instance: InstanceId,
    #[arg(long)]
    service_us: u64,
    /// Where its snapshots go.
    #[arg(long)]
    snapshots: PathBuf,
    /// The queue for its effects.
    #[arg(long)]
    effects: String,
    /// The snapshot it starts from.
    #[arg(long)]
    restore: Option<PathBuf>,
}

/// Consumes until it is moved or ended.
pub(crate) fn run(args: ConsumerArgs) -> Exit {
    let file = args.broker.process_file.clone();
    child::run(&file, consume(args))
}

async fn consume(args: ConsumerArgs) -> Result<()> {
    let broker: Arc<dyn Broker> = Arc::new(RabbitMq::new(RabbitMqConfig::new(&args.broker.broker)?)?);
    let mut queue = QueueSpec::new(args.queue, args.queue_type.into());
    queue.single_active_consumer = args.single_active_consumer;
    let mut builder = Consumer::builder(Arc::clone(&broker), queue, Bookkeeper::new(Duration::from_micros(args.service_us)))
        .identity(args.instance)
        .effects(PublishSink::new(broker, args.effects))
        .snapshots(DirectorySnapshots::new(args.snapshots));
    if let Some(path) = args.restore {
        let unreadable =
            |error| Error::fatal(ErrorKind::NotFound, "the snapshot cannot be read").with("file", path.display()).caused_by(error);
        builder = builder.restored(Snapshot::decode(&std::fs::read(&path).map_err(unreadable)?)?);
    }
    let outcome = builder.build()?.run().await?;
    tracing::info!(?outcome, "ended");
    Ok(())
}
