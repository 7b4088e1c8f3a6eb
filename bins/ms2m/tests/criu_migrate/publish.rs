//! Publishers that go on whatever happens to the consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ms2m_broker::link::Broker as _;
use ms2m_broker::message::PUBLISHED_AT_HEADER;
use ms2m_broker::rabbitmq::RabbitMq;
use ms2m_broker::{Message, Properties, Value};
use ms2m_core::{Clock as _, SystemClock};
use tokio::time::{Instant, sleep_until};

pub(crate) const PUBLISHERS: u32 = 4;
/// Messages a second, of all publishers together: 1.3 times what the counter can take.
pub(crate) const RATE: u32 = 120;

/// Publishes at its share of the rate (messages a second, of all) until it is stopped; says how many.
pub(crate) async fn publish(broker: Arc<RabbitMq>, queue: String, number: u32, rate: u32, stop: Arc<AtomicBool>) -> u64 {
    let connection = broker.connect(&format!("test-publisher-{number}")).await.unwrap();
    let mut publisher = connection.publisher().await.unwrap();
    let every = Duration::from_secs_f64(f64::from(PUBLISHERS) / f64::from(rate));
    let mut next = Instant::now() + every * number / PUBLISHERS;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        sleep_until(next).await;
        next += every;
        sent += 1;
        // So that the gap is the time in which a message was there.
        let published_at = (PUBLISHED_AT_HEADER.to_owned(), Value::Int(SystemClock.now().as_micros().cast_signed()));
        let properties = Properties { message_id: Some(format!("p{number}/{sent}")), headers: vec![published_at], ..Properties::default() };
        publisher.publish(&queue, Message { properties, body: "order".into() }).await.unwrap().await.unwrap();
    }
    connection.close().await;
    sent
}
