//! Logs over AMQP 0-9-1.

use std::time::Instant;

use bytes::Bytes;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use ms2m_broker::link::QueueKind;
use ms2m_broker::{Message, Properties, Value};

use crate::support::{KINDS, connect, consume_from, declare, fill, is_silent, number, ok, publish, queue_of, server, soon, spread, take};

const MESSAGES: u64 = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn attaching_is_exact_to_the_message() {
    let link = connect("streams.attach").await;
    let queue = "streams.attach";
    declare(&*link, queue, &queue_of(QueueKind::Stream, false)).await;
    fill(&*link, queue, 0..MESSAGES).await;
    for offset in [0, 1, 777, MESSAGES - 1] {
        let mut attached = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let mut reader = consume_from(&*link, queue, 100, Some(offset)).await;
            let first = take(&mut *reader, 1).await.remove(0);
            attached.push(begun.elapsed());
            assert_eq!((first.offset, number(&first)), (Some(offset), offset));
            ok("ack", reader.ack_up_to(first.tag)).await;
            ok("close", reader.close()).await;
        }
        println!("stream attach at {offset} of {MESSAGES}: first delivery after {}", spread(&attached));
    }
    let mut reader = consume_from(&*link, queue, 100, Some(MESSAGES + 2)).await;
    assert!(is_silent(&mut *reader).await, "nothing there yet");
    fill(&*link, queue, MESSAGES..MESSAGES + 3).await;
    let first = take(&mut *reader, 1).await.remove(0);
    assert_eq!(number(&first), MESSAGES + 2, "beyond the end: what is before it is not delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_is_given_back_by_cumulative_acks() {
    let link = connect("streams.credit").await;
    let queue = "streams.credit";
    declare(&*link, queue, &queue_of(QueueKind::Stream, false)).await;
    fill(&*link, queue, 0..MESSAGES).await;
    let mut reader = consume_from(&*link, queue, 50, Some(0)).await;
    for expected in 0..MESSAGES {
        let delivery = take(&mut *reader, 1).await.remove(0);
        assert_eq!((delivery.offset, number(&delivery)), (Some(expected), expected));
        if expected % 20 == 19 {
            ok("ack", reader.ack_up_to(delivery.tag)).await;
        }
    }
}

/// A journal on a stream cannot expire by itself: whoever declares it must delete it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_expire() {
    let raw = lapin::Connection::connect(&server().amqp_url(), lapin::ConnectionProperties::default()).await.expect("a raw connection");
    let channel = raw.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
    arguments.insert("x-expires".into(), AMQPValue::LongInt(60_000));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let refused = soon("declare", channel.queue_declare("streams.expires".into(), durable, arguments)).await.expect_err("no such argument");
    println!("x-expires on a stream: {refused}");
}

/// One journal, two writers: whoever waits for its confirm before the other writes is before the other, in every type of queue.
#[tokio::test(flavor = "multi_thread")]
async fn confirmed_first_is_first_in_the_journal() {
    let (a, b) = (connect("journal.a").await, connect("journal.b").await);
    for kind in KINDS {
        let queue = format!("journal.{kind:?}");
        declare(&*a, &queue, &queue_of(kind, false)).await;
        let mut writers = [ok("publisher", a.publisher()).await, ok("publisher", b.publisher()).await];
        for number in 0..300_u64 {
            publish(&mut *writers[number as usize % 2], &queue, number).await;
        }
        let mut reader = consume_from(&*a, &queue, 500, (kind == QueueKind::Stream).then_some(0)).await;
        let numbers: Vec<u64> = take(&mut *reader, 300).await.iter().map(number).collect();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_and_nested_headers_come_back() {
    let link = connect("streams.properties").await;
    let nested = Value::Table(vec![
        ("deep".into(), Value::List(vec![Value::Int(i64::MIN), Value::Table(vec![("x".into(), Value::Void)])])),
        ("text".into(), Value::Text("ü".into())),
    ]);
    let headers = vec![
        ("bytes".into(), Value::Bytes(vec![0, 255])),
        ("decimal".into(), Value::Decimal(2, 314)),
        ("float".into(), Value::FloatBits(1.5_f64.to_bits())),
        ("int".into(), Value::Int(-7)),
        ("nested".into(), nested),
        ("text".into(), Value::Text("plain".into())),
        ("time".into(), Value::TimestampS(1_700_000_000)),
        ("truth".into(), Value::Bool(true)),
    ];
    for kind in KINDS {
        let queue = format!("properties.{kind:?}");
        let mut headers = headers.clone();
        if kind == QueueKind::Stream {
            // 3.10 answers it with 541 and ends the publisher's connection: a journal carries messages in its body, always.
            headers.retain(|(name, _)| name != "decimal");
        }
        let properties = Properties {
            routing_key: queue.clone(),
            message_id: Some("id".into()),
            correlation_id: Some("c".into()),
            reply_to: Some("r".into()),
            content_type: Some("text/plain".into()),
            content_encoding: Some("none".into()),
            kind: Some("k".into()),
            app_id: Some("a".into()),
            user_id: Some("guest".into()),
            delivery_mode: Some(2),
            priority: Some(3),
            timestamp_s: Some(1_700_000_001),
            headers,
            ..Properties::default()
        };
        let sent = Message { properties, body: Bytes::from_static(b"body") };
        declare(&*link, &queue, &queue_of(kind, false)).await;
        let mut publisher = ok("publisher", link.publisher()).await;
        let confirm = ok("publish", publisher.publish(&queue, sent.clone())).await;
        ok("confirm", confirm).await;
        let mut reader = consume_from(&*link, &queue, 10, (kind == QueueKind::Stream).then_some(0)).await;
        let got = take(&mut *reader, 1).await.remove(0).message;
        if kind == QueueKind::Stream {
            let names: Vec<&str> = got.properties.headers.iter().map(|(name, _)| name.as_str()).collect();
            println!(
                "headers that a stream kept: {names:?}; properties {:?}",
                Properties { headers: Vec::new(), ..got.properties.clone() }
            );
            assert_eq!(got.body, sent.body);
        } else {
            assert_eq!(got, sent, "{kind:?}");
        }
    }
}
