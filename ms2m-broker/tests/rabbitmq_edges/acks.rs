//! What becomes of acknowledgements sent right before a close. E10.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use crate::support::{QUEUES, connect, consume, declare, drain, fill, is_silent, ok, queue_of, server, soon, take};

const RUNS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn e10_one_cumulative_ack_before_the_close_loses_none() {
    let link = connect("e10.cumulative").await;
    for kind in QUEUES {
        for count in [50_u16, 1000] {
            let queue = format!("e10.cumulative.{kind:?}.{count}");
            for _ in 0..RUNS {
                declare(&*link, &queue, &queue_of(kind, false)).await;
                fill(&*link, &queue, 0..u64::from(count) + 1).await;
                let mut source = consume(&*link, &queue, count).await;
                let taken = take(&mut *source, count.into()).await;
                ok("ack", source.ack_up_to(taken[usize::from(count) - 1].tag)).await;
                ok("close", source.close()).await;
                let mut next = consume(&*link, &queue, count).await;
                assert_eq!(drain(&mut *next, 1).await, [u64::from(count)], "{kind:?}: an acknowledged message came back");
                assert!(is_silent(&mut *next).await, "{kind:?}: more came back");
            }
        }
        println!("E10 one cumulative ack, then close, {kind:?}: none of 50 and 1000 came back, {RUNS} runs each");
    }
}

/// The control: single acks, written at once, then the close. Documents rabbitmq-server#10327.
#[tokio::test(flavor = "multi_thread")]
async fn e10_single_acks_before_the_close_may_be_dropped() {
    let link = connect("e10.single").await;
    let raw = lapin::Connection::connect(&server().amqp_url(), lapin::ConnectionProperties::default()).await.expect("a raw connection");
    for kind in QUEUES {
        let queue = format!("e10.single.{kind:?}");
        let mut came_back = Vec::new();
        for _ in 0..RUNS {
            declare(&*link, &queue, &queue_of(kind, false)).await;
            fill(&*link, &queue, 0..1000).await;
            let channel = raw.create_channel().await.expect("a channel");
            channel.basic_qos(1000, BasicQosOptions::default()).await.expect("qos");
            let consuming = channel.basic_consume(queue.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
            let mut consumer = consuming.await.expect("a consumer");
            let mut tags = Vec::new();
            while tags.len() < 1000 {
                tags.push(soon("delivery", consumer.next()).await.expect("open").expect("a delivery").delivery_tag);
            }
            let acks = join_all(tags.into_iter().map(|tag| channel.basic_ack(tag, BasicAckOptions { multiple: false })));
            assert!(acks.await.into_iter().all(|ack| ack.is_ok()));
            channel.close(200, "OK".into()).await.expect("close-ok");
            // On a quorum queue close-ok comes before its messages are back.
            crate::support::await_consumers(&*link, &queue, 0).await;
            let status = ok("status", link.queue_status(&queue)).await.expect("the queue");
            came_back.push(status.ready);
        }
        println!("E10 1000 single acks, then close, {kind:?}: came back {came_back:?}");
    }
}
