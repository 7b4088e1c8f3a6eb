//! A broker in memory, consumers with an oracle, and a controller.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ms2m_broker::journal::{JournalBroker, JournalOptions};
use ms2m_broker::link::{Broker, Connection, ConsumeOptions, LinkResult, QueueKind, QueueOptions, body_only};
use ms2m_broker::protocol::{Begin, JournalView, MigrationTag, Record, control_name, journal_name};
use ms2m_broker::{LinkError, Message, Properties};
use ms2m_consumer::{
    ChannelSnapshots, Consumer, ConsumerBuilder, Context, Determinism, Effect, EffectSink, Effects, Handler, Limits, Outcome, QueueSpec,
    Snapshot, Snapshotted, Standing, StopHandle,
};
use ms2m_core::{Error, ErrorKind, HandoverChoice, InstanceId, MigrationId, ReplayBroker, ReplayJob, Result};
use ms2m_testkit::{MemoryBroker, Profile, SimulatedClock};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) const QUEUE: &str = "orders";

/// Longest a test waits for anything, in simulated time.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Remembers everything it applies. The oracle: exactly 1, 2, 3 …
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) seen: Arc<Mutex<Vec<u64>>>,
    pub(crate) service: Duration,
    pub(crate) determinism: Determinism,
    /// Mixes something from outside into the state without telling the SDK.
    pub(crate) unfaithful: bool,
    /// Takes as long to replay a message as to serve it.
    pub(crate) replays_slowly: bool,
}

impl Handler for Ledger {
    fn determinism(&self) -> Determinism {
        self.determinism
    }

    async fn apply(&mut self, message: &Message, cx: &mut Context<'_>) -> Effects {
        let service = self.service;
        if self.replays_slowly && !cx.is_live() {
            sleep(service).await;
        }
        cx.live(async move { sleep(service).await }).await;
        let number: u64 = std::str::from_utf8(&message.body).unwrap().parse().unwrap();
        let mut effects = Effects::one(number.to_string());
        if self.determinism == Determinism::Recorded {
            let price: std::result::Result<u64, String> = cx.read("price", async { Ok(rand_u64()) }).await;
            effects.push(format!("{} {} {}", cx.now().as_micros(), cx.random(), price.unwrap()));
            if self.unfaithful && !cx.is_live() {
                cx.random();
            }
        }
        self.seen.lock().unwrap().push(number);
        effects
    }

    fn snapshot(&self) -> Result<Bytes> {
        let seen = self.seen.lock().unwrap();
        Ok(seen.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>().into())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let numbers = bytes.chunks(8).map(|chunk| chunk.try_into().map(u64::from_be_bytes));
        let numbers: std::result::Result<Vec<u64>, _> = numbers.collect();
        *self.seen.lock().unwrap() = numbers.map_err(|error| Error::undo(ErrorKind::Corrupt, "no ledger").caused_by(error))?;
        Ok(())
    }
}

/// Different on every call, like the world.
fn rand_u64() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed)
}

/// What has left all consumers of a world, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside(Arc<Mutex<OutsideState>>);

#[derive(Debug, Default)]
struct OutsideState {
    effects: Vec<Effect>,
    fail_next: u32,
}

impl Outside {
    pub(crate) fn fail_next(&self, times: u32) {
        self.0.lock().unwrap().fail_next = times;
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.0.lock().unwrap().effects.clone()
    }
}

#[async_trait]
impl EffectSink for Outside {
    async fn emit(&mut self, effects: Vec<Effect>) -> Result<()> {
        sleep(Duration::from_micros(300)).await;
        let mut state = self.0.lock().unwrap();
        if state.fail_next > 0 {
            state.fail_next -= 1;
            // The worst kind of failure: everything was done.
            state.effects.extend(effects);
            return Err(Error::retry(ErrorKind::Unavailable, "no answer"));
        }
        state.effects.extend(effects);
        Ok(())
    }
}

/// One consumer that runs.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<Outcome>>,
    pub(crate) stop: StopHandle,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) seen: Arc<Mutex<Vec<u64>>>,
    pub(crate) snapshots: mpsc::Receiver<Snapshotted>,
}

impl Running {
    pub(crate) async fn snapshot(&mut self) -> Snapshot {
        let snapshotted = timeout(LONG, self.snapshots.recv()).await.expect("a snapshot in time").expect("a snapshot");
        Snapshot::decode(&snapshotted.bytes).unwrap()
    }

    pub(crate) async fn seen(&self, count: usize) {
        let waited = timeout(LONG, async {
            while self.seen.lock().unwrap().len() < count {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let result = waited.await;
        assert!(result.is_ok(), "{} of {count} applied; standing {:?}", self.seen.lock().unwrap().len(), *self.standing.borrow());
    }

    pub(crate) async fn stands(&mut self, standing: Standing) {
        let waited = timeout(LONG, self.standing.wait_for(|now| *now == standing)).await;
        let _ = waited.unwrap_or_else(|_| panic!("not {standing:?} in time")).unwrap();
    }

    pub(crate) async fn ended(self) -> Result<Outcome> {
        timeout(LONG, self.task).await.expect("ended in time").unwrap()
    }

    pub(crate) async fn stopped(self) {
        self.stop.stop();
        assert_eq!(self.ended().await.unwrap(), Outcome::Stopped);
    }

    pub(crate) fn assert_exact(&self, count: u64) {
        assert_eq!(*self.seen.lock().unwrap(), (1..=count).collect::<Vec<_>>());
    }
}

/// A broker with one queue.
pub(crate) struct World {
    pub(crate) broker: MemoryBroker,
    pub(crate) spec: QueueSpec,
    pub(crate) outside: Outside,
    pub(crate) admin: Arc<dyn Connection>,
    pub(crate) determinism: Determinism,
    pub(crate) service: Duration,
    pub(crate) replays_slowly: bool,
    pub(crate) limits: Limits,
    pub(crate) clock: SimulatedClock,
}

pub(crate) fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub(crate) fn migration() -> MigrationId {
    MigrationId::new("m1").unwrap()
}

impl World {
    pub(crate) async fn new(kind: QueueKind, single_active_consumer: bool) -> Self {
        Self::with_profile(kind, single_active_consumer, Profile::rabbitmq()).await
    }

    pub(crate) async fn with_profile(kind: QueueKind, single_active_consumer: bool, profile: Profile) -> Self {
        let broker = MemoryBroker::new(profile);
        let admin = broker.connect("admin").await.unwrap();
        admin.declare(QUEUE, &QueueOptions { kind, single_active_consumer, bytes_max: None }).await.unwrap();
        let mut spec = QueueSpec::new(QUEUE, kind);
        spec.single_active_consumer = single_active_consumer;
        let limits = Limits { start_deadline: Duration::from_secs(5), ..Limits::default() };
        Self {
            broker,
            spec,
            outside: Outside::default(),
            admin,
            determinism: Determinism::Pure,
            service: Duration::from_micros(200),
            replays_slowly: false,
            limits,
            clock: SimulatedClock::default(),
        }
    }

    /// Publishes these numbers, as fast as the broker takes them.
    pub(crate) async fn publish(&self, numbers: std::ops::RangeInclusive<u64>) {
        let mut publisher = self.admin.publisher().await.unwrap();
        for number in numbers {
            drop(publisher.publish(QUEUE, numbered(number)).await.unwrap());
        }
    }

    /// Publishes these numbers at a rate, in the background. When the broker restarts it goes on with the first number that it
    /// was not asked to take.
    pub(crate) fn publish_slowly(&self, numbers: std::ops::RangeInclusive<u64>, pause: Duration) -> JoinHandle<()> {
        let broker = self.broker.clone();
        tokio::spawn(async move {
            let mut open = None;
            for number in numbers {
                while let Err(error) = publish_one(&broker, &mut open, number).await {
                    assert!(matches!(error, LinkError::Lost(_)), "{error}");
                    open = None;
                }
                sleep(pause).await;
            }
        })
    }

    pub(crate) fn ledger(&self) -> Ledger {
        Ledger {
            seen: Arc::default(),
            service: self.service,
            determinism: self.determinism,
            unfaithful: false,
            replays_slowly: self.replays_slowly,
        }
    }

    pub(crate) fn builder(&self, handler: Ledger) -> ConsumerBuilder<Ledger> {
        Consumer::builder(Arc::new(self.broker.clone()), self.spec.clone(), handler)
            .effects(self.outside.clone())
            .prefetch(20)
            .limits(self.limits)
            .clock(self.clock)
    }

    pub(crate) fn run(handler_seen: Arc<Mutex<Vec<u64>>>, builder: ConsumerBuilder<Ledger>) -> Running {
        let (sink, snapshots) = ChannelSnapshots::new(4);
        let consumer = builder.snapshots(sink).build().unwrap();
        let (stop, standing) = (consumer.stop_handle(), consumer.standing());
        Running { task: tokio::spawn(consumer.run()), stop, standing, seen: handler_seen, snapshots }
    }

    pub(crate) fn start(&self, name: &str) -> Running {
        let ledger = self.ledger();
        let seen = Arc::clone(&ledger.seen);
        Self::run(seen, self.builder(ledger).identity(instance(name)))
    }

    pub(crate) fn start_copy(&self, name: &str, snapshot: Snapshot) -> Running {
        let ledger = self.ledger();
        let seen = Arc::clone(&ledger.seen);
        Self::run(seen, self.builder(ledger).identity(instance(name)).restored(snapshot))
    }

    /// The lead's controller.
    pub(crate) fn controller(&self) -> JournalBroker {
        let options = JournalOptions::new(self.spec.kind, self.spec.single_active_consumer);
        JournalBroker::new(Arc::new(self.broker.clone()), QUEUE, options)
    }

    pub(crate) async fn begin(&self, controller: &JournalBroker) {
        self.try_begin(controller).await.unwrap();
    }

    pub(crate) async fn try_begin(&self, controller: &JournalBroker) -> Result<()> {
        let (source, copy) = (instance("source"), instance("copy"));
        let job = ReplayJob { migration: migration(), queue: QUEUE.into(), source, copy, mode: HandoverChoice::Auto };
        controller.begin(&job).await.map(drop)
    }

    /// Every effect once: that of message n under number n.
    pub(crate) fn assert_effects_exact(&self, count: u64) {
        let effects = self.outside.effects();
        let firsts: Vec<_> = effects.iter().filter(|effect| effect.id.i == 0).map(|effect| (effect.id.n, text(&effect.payload))).collect();
        assert_eq!(firsts, (1..=count).map(|n| (n, n.to_string())).collect::<Vec<_>>());
        assert!(effects.iter().all(|effect| effect.id.consumer == QUEUE));
    }

    /// Every effect at least once; what repeats is the same to the last byte.
    pub(crate) fn assert_effects_repeat_only(&self, count: u64) {
        let mut known = std::collections::BTreeMap::new();
        for effect in self.outside.effects() {
            let before = known.insert(effect.id.clone(), effect.payload.clone());
            assert!(before.is_none_or(|before| before == effect.payload), "{} differs", effect.id);
        }
        assert_eq!(known.keys().filter(|id| id.i == 0).map(|id| id.n).collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
    }

    pub(crate) async fn raw_journal(&self) -> RawJournal {
        RawJournal::open(self).await
    }
}

pub(crate) fn text(payload: &Bytes) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

pub(crate) fn numbered(number: u64) -> Message {
    let properties = Properties { message_id: Some(format!("id-{number}")), ..Properties::default() };
    Message { properties, body: number.to_string().into() }
}

type Open = (Arc<dyn Connection>, Box<dyn ms2m_broker::link::Publisher>);

async fn publish_one(broker: &MemoryBroker, open: &mut Option<Open>, number: u64) -> LinkResult<()> {
    let (_, publisher) = match open {
        Some(open) => open,
        None => {
            let connection = broker.connect("publisher").await?;
            let publisher = connection.publisher().await?;
            open.insert((connection, publisher))
        }
    };
    publisher.publish(QUEUE, numbered(number)).await.map(drop)
}

/// The test as the controller: writes records itself.
pub(crate) struct RawJournal {
    connection: Arc<dyn Connection>,
    tag: MigrationTag,
    reader: Box<dyn ms2m_broker::link::Subscription>,
    publisher: Box<dyn ms2m_broker::link::Publisher>,
    pub(crate) view: JournalView,
    pub(crate) records: Vec<Record>,
}

impl RawJournal {
    async fn open(world: &World) -> Self {
        let connection = world.broker.connect("controller").await.unwrap();
        let name = journal_name(QUEUE);
        connection.declare(&name, &QueueOptions { kind: QueueKind::Stream, single_active_consumer: false, bytes_max: None }).await.unwrap();
        let options = ConsumeOptions { prefetch: 1000, from_offset: Some(0), tag: "t".into() };
        let reader = connection.consume(&name, &options).await.unwrap();
        let publisher = connection.publisher().await.unwrap();
        let tag = MigrationTag::of(&migration());
        Self { connection, tag, reader, publisher, view: JournalView::new(tag), records: Vec::new() }
    }

    pub(crate) async fn append(&mut self, record: Record) {
        self.send(&journal_name(QUEUE), &record).await;
    }

    async fn send(&mut self, queue: &str, record: &Record) {
        let body = record.encode(self.tag).unwrap();
        self.publisher.publish(queue, body_only(body)).await.unwrap().await.unwrap();
    }

    pub(crate) async fn append_raw(&mut self, body: &'static [u8]) {
        self.publisher.publish(&journal_name(QUEUE), body_only(Bytes::from_static(body))).await.unwrap().await.unwrap();
    }

    /// BEGIN, and the invitation, which is accepted.
    pub(crate) async fn invite(&mut self, source: &str) {
        self.ask(source).await;
        self.until(|view| view.joined.is_some()).await;
    }

    /// BEGIN, and the invitation.
    pub(crate) async fn ask(&mut self, source: &str) {
        let begin = Record::Begin(Begin {
            migration: migration(),
            queue: QUEUE.into(),
            source: instance(source),
            copy: instance("copy"),
            mode: HandoverChoice::Auto,
            record_bytes_max: 1 << 20,
        });
        self.append(begin.clone()).await;
        self.send(&control_name(&instance(source)), &begin).await;
    }

    /// Reads until the view is as wanted.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&JournalView) -> bool) {
        let read = timeout(LONG, async {
            while !wanted(&self.view) {
                let delivery = self.reader.next().await.unwrap();
                self.reader.ack_up_to(delivery.tag).await.unwrap();
                if let Ok(Some(record)) = Record::decode(&delivery.message.body, self.tag) {
                    self.view.read(&record);
                    self.records.push(record);
                }
            }
        });
        let result = read.await;
        assert!(
            result.is_ok(),
            "the journal does not get there: {:?} {:#?}",
            self.records.iter().rev().take(8).collect::<Vec<_>>(),
            self.view
        );
    }

    pub(crate) async fn remove(self) {
        self.connection.delete(&journal_name(QUEUE)).await.unwrap();
    }
}
