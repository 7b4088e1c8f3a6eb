//! What a message costs. Measured, not asserted.

use std::time::Instant;

use ms2m_broker::link::QueueKind;

use crate::support::{KINDS, connect, consume_from, declare, fill, number, numbered, ok, publish, queue_of, soon, spread};

const MESSAGES: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn confirms_deliveries_and_throughput() {
    let (from, to) = (connect("latency.from").await, connect("latency.to").await);
    for kind in KINDS {
        let queue = format!("latency.{kind:?}");
        declare(&*from, &queue, &queue_of(kind, false)).await;
        let mut publisher = ok("publisher", from.publisher()).await;
        let mut reader = consume_from(&*to, &queue, 1000, (kind == QueueKind::Stream).then_some(0)).await;
        publish(&mut *publisher, &queue, 0).await;
        let first = ok("delivery", reader.next()).await;
        ok("ack", reader.ack_up_to(first.tag)).await;
        let (mut confirmed, mut delivered) = (Vec::new(), Vec::new());
        for expected in 1..=MESSAGES {
            let begun = Instant::now();
            let confirm = ok("publish", publisher.publish(&queue, numbered(expected))).await;
            let both = futures_util::future::join(async { confirm.await.map(|()| begun.elapsed()) }, async {
                reader.next().await.map(|delivery| (delivery, begun.elapsed()))
            });
            let (confirm, delivery) = soon("message", both).await;
            confirmed.push(confirm.expect("confirmed"));
            let (delivery, took) = delivery.expect("delivered");
            assert_eq!(number(&delivery), expected);
            delivered.push(took);
            ok("ack", reader.ack_up_to(delivery.tag)).await;
        }
        println!("{kind:?}: publish to confirm {}, publish to delivery {}", spread(&confirmed), spread(&delivered));
        let begun = Instant::now();
        fill(&*from, &queue, 0..5000).await;
        println!("{kind:?}: 5000 pipelined and confirmed in {:?}", begun.elapsed());
        ok("close", reader.close()).await;
        ok("delete", from.delete(&queue)).await;
    }
}
