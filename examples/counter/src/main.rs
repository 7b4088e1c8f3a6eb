//! A consumer that counts messages per key, and can be moved to another node while it counts.
//!
//! Declare a queue, run it, publish, and migrate it:
//!
//! ```sh
//! rabbitmqadmin declare queue name=orders durable=true queue_type=quorum
//! counter --broker amqp://guest:guest@localhost --queue orders --queue-type quorum --identity-file /etc/hostname
//! ```
//!
//! A message's key is its `type` property, else its routing key. For each message the new count goes to `--effects-to` as
//! `key=count message-id`, under an id that is the same on every attempt. With `--snapshots DIR` the consumer writes its own checkpoint there
//! when it is parked, and another `counter --restore FILE` starts as the copy; without, the process is checkpointed from outside
//! (CRIU) and needs no more than the identity file.

mod beside;
mod counter;
mod options;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_consumer::{Consumer, DirectorySnapshots, Identity, Outcome, PublishSink, Snapshot};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match consume(options::Options::parse()).await {
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("counter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn consume(options: options::Options) -> ms2m_core::Result<Outcome> {
    let config = RabbitMqConfig::new(&options.broker)?.with_management_or_default(options.management.as_deref())?;
    let broker = Arc::new(RabbitMq::new(config)?);
    let counter = counter::Counter::with_ballast(options.ballast_mib.into());
    let counter = if let Some(file) = &options.ledger { counter.with_ledger(file)? } else { counter };
    let counter = if let Some(address) = &options.beside { counter.with_beside(beside::Beside::connect(address).await?) } else { counter };
    let mut consumer = Consumer::builder(broker.clone(), options.queue(), counter)
        .identity(Identity::file(options.identity_file))
        .prefetch(options.prefetch);
    if let Some(queue) = options.effects_to {
        consumer = consumer.effects(PublishSink::new(broker, queue));
    }
    if let Some(directory) = options.snapshots {
        consumer = consumer.snapshots(DirectorySnapshots::new(directory));
    }
    if let Some(file) = options.restore {
        consumer = consumer.restored(Snapshot::decode(&DirectorySnapshots::read(&file)?)?);
    }
    let consumer = consumer.build()?;
    let stop = consumer.stop_handle();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.stop();
        }
    });
    consumer.run().await
}
