//! Consumers on a real RabbitMQ: a lost connection, then a whole migration, under load.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Broker, ConsumeOptions, QueueKind, QueueOptions};
use ms2m_broker::rabbitmq::{RabbitMq, RabbitMqConfig};
use ms2m_broker::{Message, Properties};
use ms2m_consumer::{
    ChannelSnapshots, Consumer, ConsumerBuilder, Context, Determinism, Effects, Handler, Outcome, PublishSink, QueueSpec, Snapshot,
};
use ms2m_core::{
    HandOverJob, HandoverChoice, InstanceId, MigrationId, Ownership, ReplayBroker as _, ReplayJob, ReplayStanding, Result, Verdict,
};
use ms2m_testkit_rabbitmq::{Options, RabbitMqServer};
use tokio::time::{sleep, timeout};

const COUNT: u64 = 1500;
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<u64>>>);

impl Ledger {
    async fn reaches(&self, count: u64) {
        let reached = async {
            while (self.0.lock().unwrap().len() as u64) < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let done = timeout(LONG, reached).await;
        assert!(done.is_ok(), "{} of {count}", self.0.lock().unwrap().len());
    }
}

impl Handler for Ledger {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, _: &mut Context<'_>) -> Effects {
        let number = std::str::from_utf8(&message.body).unwrap().parse().unwrap();
        self.0.lock().unwrap().push(number);
        Effects::one(message.body.clone())
    }

    fn snapshot(&self) -> Result<Bytes> {
        Ok(self.0.lock().unwrap().iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>().into())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        *self.0.lock().unwrap() = bytes.chunks_exact(8).map(|chunk| u64::from_be_bytes(chunk.try_into().unwrap())).collect();
        Ok(())
    }
}

fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn builder(broker: &Arc<RabbitMq>, queue: &QueueSpec, ledger: &Ledger, name: &str) -> ConsumerBuilder<Ledger> {
    let sink = PublishSink::new(Arc::clone(broker) as Arc<dyn Broker>, format!("{}.out", queue.name));
    Consumer::builder(Arc::clone(broker) as Arc<dyn Broker>, queue.clone(), ledger.clone()).identity(instance(name)).effects(sink)
}

async fn moves(kind: QueueKind, single_active_consumer: bool) {
    static SERVER: OnceLock<RabbitMqServer> = OnceLock::new();
    let server = SERVER.get_or_init(|| RabbitMqServer::start(&Options::default()).expect("a RabbitMQ"));
    let config = RabbitMqConfig::new(&server.amqp_url()).and_then(|config| config.with_management(&server.management_url()));
    let broker = Arc::new(config.and_then(RabbitMq::new).unwrap());
    let queue = QueueSpec { name: format!("sdk.{kind:?}.{single_active_consumer}"), kind, single_active_consumer };
    let (source_name, copy_name) = (format!("source-{kind:?}-{single_active_consumer}"), format!("copy-{kind:?}-{single_active_consumer}"));
    let admin = broker.connect("admin").await.unwrap();
    admin.declare(&queue.name, &QueueOptions { kind, single_active_consumer, bytes_max: None }).await.unwrap();
    let out = QueueOptions { kind: QueueKind::Classic, single_active_consumer: false, bytes_max: None };
    admin.declare(&format!("{}.out", queue.name), &out).await.unwrap();
    let mut publisher = admin.publisher().await.unwrap();
    let name = queue.name.clone();
    let publishing = tokio::spawn(async move {
        for number in 1..=COUNT {
            let properties = Properties { message_id: Some(number.to_string()), ..Properties::default() };
            publisher.publish(&name, Message { properties, body: number.to_string().into() }).await.unwrap().await.unwrap();
            sleep(Duration::from_micros(500)).await;
        }
    });

    let ledger = Ledger::default();
    let (sink, mut snapshots) = ChannelSnapshots::new(1);
    let source = tokio::spawn(builder(&broker, &queue, &ledger, &source_name).snapshots(sink).build().unwrap().run());
    ledger.reaches(100).await;
    assert!(broker.fence(&format!("ms2m-{source_name}")).await.unwrap(), "the connection is cut off");
    ledger.reaches(200).await;

    let options = JournalOptions::new(kind, single_active_consumer);
    let controller = JournalBroker::new(Arc::clone(&broker) as Arc<dyn Broker>, &queue.name, options);
    let migration = MigrationId::new(format!("m-{kind:?}-{single_active_consumer}")).unwrap();
    let job = ReplayJob {
        migration: migration.clone(),
        queue: queue.name.clone(),
        source: instance(&source_name),
        copy: instance(&copy_name),
        mode: HandoverChoice::Auto,
    };
    // The source may be reconnecting just now; a driver asks again when the verdict is Retry.
    let begun = async {
        loop {
            match controller.begin(&job).await {
                Err(error) if error.verdict() == Verdict::Retry => sleep(Duration::from_millis(20)).await,
                answer => break answer.unwrap(),
            }
        }
    };
    timeout(LONG, begun).await.expect("begun in time");
    controller.park(&migration).await.unwrap();
    let snapshot = Snapshot::decode(&snapshots.recv().await.unwrap().bytes).unwrap();
    controller.resume(&migration).await.unwrap();
    let copied = Ledger::default();
    let consumer = builder(&broker, &queue, &copied, &copy_name).restored(snapshot).build().unwrap();
    let stop = consumer.stop_handle();
    let copy = tokio::spawn(consumer.run());
    let ready = async {
        while controller.progress(&migration).await.unwrap().standing != ReplayStanding::Ready {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, ready).await.expect("ready in time");
    let job = HandOverJob { migration: migration.clone(), source_gone: false, deadline: LONG };
    let Ownership::Copy(_) = controller.hand_over(&job).await.unwrap() else { panic!("not handed over") };
    let retired = controller.retire(&migration, false).await.unwrap();
    println!("{kind:?} single active consumer {single_active_consumer}: {:?}", retired.cut_over);
    assert_eq!(source.await.unwrap().unwrap(), Outcome::Moved);
    publishing.await.unwrap();
    copied.reaches(COUNT).await;
    stop.stop();
    assert_eq!(copy.await.unwrap().unwrap(), Outcome::Stopped);
    assert_eq!(*copied.0.lock().unwrap(), (1..=COUNT).collect::<Vec<_>>());

    // Each effect under its own id; those around the lost connection may be there twice.
    let options = ConsumeOptions { prefetch: 4 * u16::try_from(COUNT).unwrap(), from_offset: None, tag: "out".into() };
    let mut out = admin.consume(&format!("{}.out", queue.name), &options).await.unwrap();
    let mut numbers = std::collections::BTreeSet::new();
    while let Ok(delivery) = timeout(Duration::from_millis(500), out.next()).await {
        let message = delivery.unwrap().message;
        let number: u64 = std::str::from_utf8(&message.body).unwrap().parse().unwrap();
        assert_eq!(message.properties.message_id, Some(format!("{}/{number}/0", queue.name)));
        numbers.insert(number);
    }
    assert_eq!(numbers, (1..=COUNT).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_a_classic_queue_is_moved() {
    moves(QueueKind::Classic, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_active_consumer_of_a_classic_queue_is_moved() {
    moves(QueueKind::Classic, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_a_quorum_queue_is_moved() {
    moves(QueueKind::Quorum, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_active_consumer_of_a_quorum_queue_is_moved() {
    moves(QueueKind::Quorum, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_a_stream_is_moved() {
    moves(QueueKind::Stream, false).await;
}
