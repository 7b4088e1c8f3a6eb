//! Publishers, broker, consumers and auditor together: the machinery with which migrations are judged, without a migration.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ms2m_broker::link::{Broker, ConsumeOptions, QueueKind, QueueOptions, Subscription};
use ms2m_broker::message::{Message, PUBLISHER_HEADER, SEQUENCE_HEADER};
use ms2m_core::Digest;
use ms2m_testkit::auditor::fold;
use ms2m_testkit::workload::{Publisher, run};
use ms2m_testkit::{Auditor, EffectRecord, MemoryBroker, Profile, SimulatedClock};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

#[derive(Clone, Default)]
struct Consumer {
    n: u64,
    state: Digest,
}

impl Consumer {
    fn apply(&mut self, message: &Message) -> EffectRecord {
        let header = |name| message.properties.header(name).unwrap();
        let publisher = header(PUBLISHER_HEADER).as_text().unwrap().to_owned();
        let (seq, body_digest) = (header(SEQUENCE_HEADER).as_u64().unwrap(), Digest::of(&message.body));
        self.n += 1;
        self.state = fold(self.state, self.n, &publisher, seq, body_digest);
        EffectRecord { consumer_n: self.n, index: 0, publisher, seq, body_digest, state_digest: self.state }
    }
}

async fn subscribe(broker: &MemoryBroker, name: &str) -> Box<dyn Subscription> {
    let connection = broker.connect(name).await.unwrap();
    connection.consume("q", &ConsumeOptions { prefetch: 16, from_offset: None, tag: name.to_owned() }).await.unwrap()
}

/// Three publishers over a broker that drops their connections; the consumer moves three times, by closing in order.
/// `forget` makes it drop its last unacknowledged message at each move without telling.
async fn moves(forget: bool) -> ms2m_testkit::Verdict {
    let broker = MemoryBroker::new(Profile { confirm: Duration::from_millis(10), ..Profile::rabbitmq() });
    let admin = broker.connect("admin").await.unwrap();
    admin.declare("q", &QueueOptions { kind: QueueKind::Quorum, single_active_consumer: true, bytes_max: None }).await.unwrap();
    let auditor = Arc::new(Mutex::new(Auditor::new()));
    let clock = Arc::new(SimulatedClock::default());
    let (_stop, stopped) = watch::channel(false);
    let mut publishers = Vec::new();
    for seed in 0..3 {
        let publisher = Publisher { rate_per_s: 400.0, count: Some(600), seed, body_bytes: 64, ..Publisher::new(format!("p{seed}"), "q") };
        let (broker, clock, log, stopped) = (Arc::new(broker.clone()), clock.clone(), auditor.clone(), stopped.clone());
        publishers.push(tokio::spawn(async move { run(&publisher, broker, clock, log, stopped).await.unwrap() }));
    }
    let faults = broker.clone();
    let breaker = tokio::spawn(async move {
        for round in 0..9 {
            sleep(Duration::from_millis(150)).await;
            faults.drop_connection(&format!("p{}", round % 3));
        }
    });
    let mut consumer = Consumer::default();
    for turn in 0..4 {
        let mut subscription = subscribe(&broker, &format!("c{turn}")).await;
        let mut applied = 0;
        while let Ok(Ok(delivery)) = timeout(Duration::from_secs(1), subscription.next()).await {
            if forget && applied == 300 {
                subscription.ack_up_to(delivery.tag).await.unwrap();
                break;
            }
            let effect = consumer.apply(&delivery.message);
            auditor.lock().unwrap().effect(&effect);
            subscription.ack_up_to(delivery.tag).await.unwrap();
            applied += 1;
            if applied == 300 && turn < 3 && !forget {
                break;
            }
        }
        subscription.close().await.unwrap();
    }
    breaker.await.unwrap();
    let mut uncertain = 0;
    for publisher in publishers {
        let done = publisher.await.unwrap();
        assert_eq!((done.sent, done.confirmed), (600, 600));
        uncertain += done.uncertain;
    }
    assert!(uncertain > 0, "the faults have hit something");
    let verdict = auditor.lock().unwrap().finish();
    if !forget {
        assert_eq!(verdict.publisher_duplicates, uncertain, "the in-memory broker had taken each of them");
    }
    verdict
}

#[tokio::test(start_paused = true)]
async fn an_honest_run_is_exact() {
    let verdict = moves(false).await;
    assert!(verdict.exact, "{verdict:#?}");
    assert_eq!((verdict.published, verdict.seen), (1_800, 1_800));
}

#[tokio::test(start_paused = true)]
async fn a_forgetful_consumer_is_caught() {
    let verdict = moves(true).await;
    assert!(!verdict.exact && verdict.lost > 0, "{verdict:#?}");
    assert_eq!(verdict.state_mismatches, 0, "its own state looks consistent");
}
