use std::sync::{Arc, Mutex};
use std::time::Duration;

use ms2m_broker::LinkError;
use ms2m_broker::link::{Broker, ConsumeOptions, QueueKind, QueueOptions};
use ms2m_core::Digest;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{MemoryBroker, SimulatedClock};

#[derive(Default)]
struct Log(Mutex<Vec<(char, u64)>>);

impl SendLog for Log {
    fn sent(&self, _: &str, seq: u64, _: Digest) {
        self.0.lock().unwrap().push(('s', seq));
    }
    fn confirmed(&self, _: &str, seq: u64) {
        self.0.lock().unwrap().push(('c', seq));
    }
    fn uncertain(&self, _: &str, seq: u64) {
        self.0.lock().unwrap().push(('u', seq));
    }
}

async fn broker_with(queue: &str) -> MemoryBroker {
    let broker = MemoryBroker::default();
    let admin = broker.connect("admin").await.unwrap();
    admin.declare(queue, &QueueOptions { kind: QueueKind::Quorum, single_active_consumer: false, bytes_max: None }).await.unwrap();
    broker
}

fn start(
    broker: &MemoryBroker,
    publisher: Publisher,
    log: Arc<Log>,
) -> (watch::Sender<bool>, tokio::task::JoinHandle<ms2m_broker::link::LinkResult<Published>>) {
    let (stop, stopped) = watch::channel(false);
    let broker = Arc::new(broker.clone());
    let task = tokio::spawn(async move { run(&publisher, broker, Arc::new(SimulatedClock::default()), log, stopped).await });
    (stop, task)
}

#[tokio::test(start_paused = true)]
async fn keeps_its_rate_and_numbers_its_messages() {
    let broker = broker_with("q").await;
    let begun = Instant::now();
    let publisher = Publisher { rate_per_s: 100.0, count: Some(201), ..Publisher::new("p", "q") };
    let (_stop, task) = start(&broker, publisher, Arc::default());
    assert_eq!(task.await.unwrap().unwrap(), Published { sent: 201, confirmed: 201, refused: 0, uncertain: 0 });
    assert_eq!(begun.elapsed().as_millis() / 10, 200);
    let connection = broker.connect("c").await.unwrap();
    let mut consumer = connection.consume("q", &ConsumeOptions { prefetch: 0, from_offset: None, tag: "c".into() }).await.unwrap();
    for seq in 1..=201 {
        let message = consumer.next().await.unwrap().message;
        assert_eq!(message.properties.header(ms2m_broker::message::SEQUENCE_HEADER).unwrap().as_u64(), Some(seq));
        assert_eq!(message.body, body(0, seq, 64));
        assert!(message.key().is_unique() && message.published_at_us().is_some());
    }
    assert!(consumer.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn sends_again_in_order_what_was_not_confirmed() {
    let broker = broker_with("q").await;
    broker.record("q");
    broker.set_profile(|profile| profile.confirm = Duration::from_millis(50));
    let log = Arc::new(Log::default());
    let publisher = Publisher { rate_per_s: 100.0, count: Some(100), ..Publisher::new("p", "q") };
    let (_stop, task) = start(&broker, publisher, Arc::clone(&log));
    sleep(Duration::from_millis(304)).await;
    assert_eq!(broker.drop_connection("p"), 1);
    sleep(Duration::from_millis(5)).await;
    broker.set_faults(|faults| faults.unavailable = true);
    sleep(Duration::from_millis(100)).await;
    broker.set_faults(|faults| faults.unavailable = false);
    let done = task.await.unwrap().unwrap();
    assert_eq!((done.sent, done.confirmed), (100, 100));
    assert!((4..=6).contains(&done.uncertain), "{done:?}");
    let order: Vec<u64> = broker.take_recorded("q").iter().map(|m| m.properties.headers[1].1.as_u64().unwrap()).collect();
    let mut first_sightings = order.clone();
    first_sightings.sort_unstable();
    first_sightings.dedup();
    assert_eq!(first_sightings, (1..=100).collect::<Vec<_>>());
    assert_eq!(order.len() as u64, 100 + done.uncertain);
    let log = log.0.lock().unwrap();
    let again: Vec<u64> = log.iter().filter(|(what, _)| *what == 'u').map(|(_, seq)| *seq).collect();
    assert!(again.is_sorted());
    assert_eq!(log.iter().filter(|(what, _)| *what == 'c').count(), 100);
}

#[tokio::test(start_paused = true)]
async fn stops_when_told_and_waits_for_confirms() {
    let broker = broker_with("q").await;
    broker.set_profile(|profile| profile.confirm = Duration::from_millis(500));
    let (stop, task) = start(&broker, Publisher { rate_per_s: 10.0, ..Publisher::new("p", "q") }, Arc::default());
    sleep(Duration::from_millis(1_050)).await;
    stop.send(true).unwrap();
    let done = task.await.unwrap().unwrap();
    assert_eq!((done.sent, done.confirmed), (11, 11));
    assert_eq!(broker.census().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn tells_a_missing_queue_and_a_refusal_apart() {
    let broker = broker_with("q").await;
    let missing = start(&broker, Publisher { count: Some(3), ..Publisher::new("p", "nowhere") }, Arc::default()).1;
    assert_eq!(missing.await.unwrap(), Err(LinkError::NotFound("nowhere".into())));
    broker.set_faults(|faults| faults.refuse_publish = vec!["q".into()]);
    let (_stop, refused) = start(&broker, Publisher { count: Some(3), ..Publisher::new("p", "q") }, Arc::default());
    assert_eq!(refused.await.unwrap().unwrap(), Published { sent: 3, confirmed: 0, refused: 3, uncertain: 0 });
    broker.set_faults(|faults| faults.unauthorized = true);
    let (_stop, denied) = start(&broker, Publisher { count: Some(3), ..Publisher::new("p", "q") }, Arc::default());
    assert!(matches!(denied.await.unwrap(), Err(LinkError::Unauthorized(_))));
}
