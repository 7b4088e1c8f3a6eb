//! What the SDK costs: per message outside a migration against a bare loop, as a source that journals, and as a copy that replays.
//!
//! `overhead/bare` is a loop over the same subscription that applies and acknowledges as an application without the SDK would.
//! The difference to `overhead/sdk` is the price of numbering, digest, recognition of redeliveries and the hosting.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ms2m_broker::link::{Broker as _, Connection, ConsumeOptions, QueueKind, QueueOptions, body_only};
use ms2m_broker::protocol::{Begin, MigrationTag, Record, control_name, journal_name};
use ms2m_broker::{Message, Properties};
use ms2m_consumer::{
    ChannelSnapshots, Consumer, ConsumerBuilder, Context, Determinism, Effects, Handler, QueueSpec, Snapshot, Snapshotted,
};
use ms2m_core::{HandoverChoice, InstanceId, MigrationId};
use ms2m_testkit::MemoryBroker;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

const QUEUE: &str = "bench";
const MESSAGES: u64 = 20_000;
const BODY_BYTES: usize = 128;
const PREFETCH: u16 = 200;

/// Work of a few nanoseconds, so that everything measured is the SDK's.
struct Sum {
    sum: u64,
    count: u64,
    done_at: u64,
    done: watch::Sender<bool>,
}

impl Sum {
    fn new(done_at: u64) -> (Self, watch::Receiver<bool>) {
        let (done, seen) = watch::channel(false);
        (Self { sum: 0, count: 0, done_at, done }, seen)
    }

    fn add(&mut self, message: &Message) {
        self.sum = self.sum.wrapping_add(message.body.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        self.count += 1;
        if self.count == self.done_at {
            self.done.send_replace(true);
        }
    }
}

impl Handler for Sum {
    fn determinism(&self) -> Determinism {
        Determinism::Pure
    }

    async fn apply(&mut self, message: &Message, _: &mut Context<'_>) -> Effects {
        self.add(message);
        Effects::none()
    }

    fn snapshot(&self) -> ms2m_core::Result<Bytes> {
        Ok(Bytes::new())
    }

    fn restore(&mut self, _: &[u8]) -> ms2m_core::Result<()> {
        Ok(())
    }
}

struct Bench {
    broker: MemoryBroker,
    admin: Arc<dyn Connection>,
}

impl Bench {
    async fn new() -> Self {
        let broker = MemoryBroker::default();
        let admin = broker.connect("admin").await.expect("connected");
        admin.declare(QUEUE, &options(QueueKind::Classic)).await.expect("declared");
        Self { broker, admin }
    }

    async fn fill(&self, messages: u64) {
        let mut publisher = self.admin.publisher().await.expect("publisher");
        for n in 0..messages {
            let properties = Properties { message_id: Some(format!("message-{n}")), ..Properties::default() };
            let message = Message { properties, body: Bytes::from(vec![7; BODY_BYTES]) };
            publisher.publish(QUEUE, message).await.expect("published").await.expect("confirmed");
        }
    }

    fn consumer(&self, handler: Sum, name: &str) -> ConsumerBuilder<Sum> {
        let queue = QueueSpec::classic(QUEUE);
        let instance = InstanceId::new(name).expect("a name");
        Consumer::builder(Arc::new(self.broker.clone()), queue, handler).identity(instance).prefetch(PREFETCH)
    }

    /// Declares the journal, writes BEGIN and invites the consumer.
    async fn invite(&self, name: &str) -> Journal {
        self.admin.declare(&journal_name(QUEUE), &options(QueueKind::Stream)).await.expect("declared");
        let migration = MigrationId::new("bench").expect("a name");
        let (source, copy) = (InstanceId::new(name).expect("a name"), InstanceId::new("copy").expect("a name"));
        let (mode, tag) = (HandoverChoice::Chase, MigrationTag::of(&migration));
        let begin = Record::Begin(Begin { migration, queue: QUEUE.into(), source: source.clone(), copy, mode, record_bytes_max: 1 << 20 });
        let mut journal = Journal { publisher: self.admin.publisher().await.expect("publisher"), tag };
        journal.append(&begin).await;
        journal.publish(&control_name(&source), &begin).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        journal
    }
}

struct Journal {
    publisher: Box<dyn ms2m_broker::link::Publisher>,
    tag: MigrationTag,
}

impl Journal {
    async fn append(&mut self, record: &Record) {
        self.publish(&journal_name(QUEUE), record).await;
    }

    async fn publish(&mut self, queue: &str, record: &Record) {
        let body = record.encode(self.tag).expect("encoded");
        self.publisher.publish(queue, body_only(body)).await.expect("published").await.expect("confirmed");
    }
}

fn options(kind: QueueKind) -> QueueOptions {
    QueueOptions { kind, single_active_consumer: false, bytes_max: None }
}

async fn bare() -> Duration {
    let bench = Bench::new().await;
    bench.fill(MESSAGES).await;
    let connection = bench.broker.connect("bare").await.expect("connected");
    let (mut sum, _seen) = Sum::new(MESSAGES);
    let began = Instant::now();
    let options = ConsumeOptions { prefetch: PREFETCH, from_offset: None, tag: "bare".into() };
    let mut subscription = connection.consume(QUEUE, &options).await.expect("consuming");
    let every = u64::from(PREFETCH / 4);
    while sum.count < MESSAGES {
        let mut delivery = Some(subscription.next().await);
        while let Some(delivered) = delivery {
            let delivered = delivered.expect("delivered");
            sum.add(&delivered.message);
            if sum.count % every == 0 || sum.count == MESSAGES {
                subscription.ack_up_to(delivered.tag).await.expect("acknowledged");
            }
            delivery = subscription.try_next();
        }
    }
    black_box(sum.sum);
    began.elapsed()
}

async fn sdk() -> Duration {
    let bench = Bench::new().await;
    bench.fill(MESSAGES).await;
    let (handler, mut seen) = Sum::new(MESSAGES);
    let consumer = bench.consumer(handler, "source").build().expect("a consumer");
    let stop = consumer.stop_handle();
    let began = Instant::now();
    let task = tokio::spawn(consumer.run());
    seen.wait_for(|done| *done).await.expect("applied");
    let took = began.elapsed();
    stop.stop();
    task.await.expect("no panic").expect("stopped");
    took
}

async fn journaling() -> Duration {
    let bench = Bench::new().await;
    let (handler, mut seen) = Sum::new(MESSAGES);
    let consumer = bench.consumer(handler, "source").build().expect("a consumer");
    let stop = consumer.stop_handle();
    let task = tokio::spawn(consumer.run());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _journal = bench.invite("source").await;
    // Published while it consumes, the first delivery starts the clock; publishing is a small part of what follows.
    let fill = bench.fill(MESSAGES);
    let began = Instant::now();
    fill.await;
    seen.wait_for(|done| *done).await.expect("applied");
    let took = began.elapsed();
    stop.stop();
    task.await.expect("no panic").expect("stopped");
    took
}

/// A source journals everything after a snapshot; the copy replays it from a journal that is complete.
async fn replaying() -> Duration {
    let bench = Bench::new().await;
    let (handler, mut seen) = Sum::new(MESSAGES);
    let (sink, mut snapshots) = ChannelSnapshots::new(1);
    let consumer = bench.consumer(handler, "source").snapshots(sink).build().expect("a consumer");
    let stop = consumer.stop_handle();
    let source = tokio::spawn(consumer.run());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut journal = bench.invite("source").await;
    journal.append(&Record::Park).await;
    let snapshot = decoded(&mut snapshots).await;
    journal.append(&Record::Resume).await;
    bench.fill(MESSAGES).await;
    seen.wait_for(|done| *done).await.expect("applied");
    let (handler, mut seen) = Sum::new(MESSAGES);
    let copy = bench.consumer(handler, "copy").restored(snapshot).build().expect("a copy");
    let copy_stop = copy.stop_handle();
    let began = Instant::now();
    let copy = tokio::spawn(copy.run());
    seen.wait_for(|done| *done).await.expect("replayed");
    let took = began.elapsed();
    stop.stop();
    copy_stop.stop();
    source.await.expect("no panic").expect("stopped");
    copy.await.expect("no panic").expect("stopped");
    took
}

async fn decoded(snapshots: &mut mpsc::Receiver<Snapshotted>) -> Snapshot {
    let snapshotted = snapshots.recv().await.expect("a snapshot");
    Snapshot::decode(&snapshotted.bytes).expect("whole")
}

fn measure<F: Future<Output = Duration>>(criterion: &mut Criterion, name: &str, run: impl Fn() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let runtime: &Runtime = &runtime;
    let mut group = criterion.benchmark_group("consumer");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| runtime.block_on(run())).sum());
    });
    group.finish();
}

fn overhead(criterion: &mut Criterion) {
    measure(criterion, "bare", bare);
    measure(criterion, "sdk", sdk);
    measure(criterion, "journaling", journaling);
    measure(criterion, "replaying", replaying);
}

criterion_group!(benches, overhead);
criterion_main!(benches);
