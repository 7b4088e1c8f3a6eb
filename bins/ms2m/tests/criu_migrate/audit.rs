//! The judge: it sees what publishers sent and what the counter's effects show, nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use ms2m_broker::link::{Broker as _, ConsumeOptions};
use ms2m_broker::rabbitmq::RabbitMq;
use tokio::time::timeout;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) published: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    /// Also the counts, which are the counter's state, are those of one uninterrupted counter.
    pub(crate) exact: bool,
}

/// Reads effects until nothing comes any more. An effect is `KEY=COUNT pN/SEQ` under an id that ends in `/n/0`.
pub(crate) async fn audit(broker: &RabbitMq, effects: &str, sent: &[u64]) -> Audit {
    let connection = broker.connect("test-auditor").await.unwrap();
    let options = ConsumeOptions { prefetch: u16::MAX, from_offset: None, tag: "auditor".into() };
    let mut deliveries = connection.consume(effects, &options).await.unwrap();
    let mut audit = Audit { published: sent.iter().sum(), exact: true, ..Audit::default() };
    let (mut seen, mut last) = (BTreeMap::<String, String>::new(), vec![0_u64; sent.len()]);

    while let Ok(Ok(delivery)) = timeout(Duration::from_secs(2), deliveries.next()).await {
        let id = delivery.message.properties.message_id.clone().expect("an effect has an id");
        let text = String::from_utf8(delivery.message.body.to_vec()).unwrap();
        match seen.insert(id.clone(), text.clone()) {
            // The same effect once more, to the last letter: an idempotent sink drops it.
            Some(before) if before == text => continue,
            Some(_) => {
                audit.doubled += 1;
                continue;
            }
            None => {}
        }
        let (count, message) =
            text.split_once(' ').map(|(count, message)| (count.rsplit('=').next().unwrap().parse::<u64>(), message)).unwrap();
        audit.exact &= count == Ok(seen.len() as u64);
        let (publisher, sequence) = message.strip_prefix('p').and_then(|rest| rest.split_once('/')).unwrap();
        let last = &mut last[publisher.parse::<usize>().unwrap()];
        let sequence: u64 = sequence.parse().unwrap();
        match sequence {
            _ if sequence == *last => audit.doubled += 1,
            _ if sequence < *last => audit.reordered += 1,
            _ => {
                audit.lost += sequence - *last - 1;
                *last = sequence;
            }
        }
    }
    audit.lost += sent.iter().zip(&last).map(|(sent, last)| sent - last).sum::<u64>();
    audit.exact &= audit.lost + audit.doubled + audit.reordered == 0;
    connection.delete(effects).await.unwrap();
    connection.close().await;
    audit
}
