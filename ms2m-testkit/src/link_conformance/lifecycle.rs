//! Publishing, and the beginnings and ends of queues, connections and inboxes.

use bytes::Bytes;
use ms2m_broker::link::{LinkError, QueueKind, QueueOptions};
use ms2m_broker::message::{Message, Properties, Value};

use super::{Bench, next, number, numbered, numbers, ok, take, within};

pub(super) async fn publishing_keeps_order(mut bench: Bench) {
    let mut confirms = Vec::new();
    for n in 0..300 {
        confirms.push(ok("publish", bench.publisher.publish(&bench.queue, numbered(n))).await);
    }
    // Awaited from the last one: each resolves whether or not others were awaited.
    for confirm in confirms.into_iter().rev() {
        ok("confirm", confirm).await;
    }
    let mut consumer = bench.consume(&*bench.admin, 300, Some(0)).await;
    assert_eq!(numbers(&take(&mut *consumer, 300).await), (0..300).collect::<Vec<_>>(), "one publisher's messages keep their order");
    drop(consumer);
    bench.end().await;
}

pub(super) async fn unroutable_is_told(mut bench: Bench) {
    let missing = format!("{}.missing", bench.queue);
    let lost = ok("publish", bench.publisher.publish(&missing, numbered(0))).await;
    let routed = ok("publish", bench.publisher.publish(&bench.queue, numbered(1))).await;
    assert!(matches!(within("confirm", lost).await, Err(LinkError::NotFound(_))), "publishing to no queue is NotFound");
    ok("the publisher works on after an unroutable message", routed).await;
    assert_eq!(ok("status", bench.admin.queue_status(&missing)).await, None, "a passive look at no queue is None");
    ok("the connection works on after a passive look at no queue", bench.admin.queue_status(&bench.queue)).await;
    let consume = ms2m_broker::link::ConsumeOptions { prefetch: 1, from_offset: None, tag: "t".to_owned() };
    let refused = within("consume", bench.admin.consume(&missing, &consume)).await;
    assert!(matches!(refused, Err(LinkError::NotFound(_))), "consuming no queue is NotFound");
    bench.end().await;
}

pub(super) async fn declaring_twice_is_checked(bench: Bench) {
    bench.declare(false).await;
    let other = match bench.kind {
        QueueKind::Stream => QueueOptions { bytes_max: Some(1 << 20), ..bench.arguments(false) },
        _ => bench.arguments(true),
    };
    let refused = within("declare", bench.admin.declare(&bench.queue, &other)).await;
    assert!(matches!(refused, Err(LinkError::Refused(_))), "a queue with other options is refused, not {refused:?}");
    ok("the connection works on after a refusal", bench.admin.queue_status(&bench.queue)).await;
    if let Some(facts) = ok("inspect", bench.broker.inspect(&bench.queue)).await {
        assert_eq!((facts.kind, facts.single_active_consumer), (bench.kind, false), "inspection tells what was declared");
    }
    bench.end().await;
}

pub(super) async fn deleting_ends_consumers(mut bench: Bench) {
    bench.put(0..1).await;
    let mut consumer = bench.consume(&*bench.admin, 5, Some(0)).await;
    assert_eq!(number(&next(&mut *consumer).await), 0);
    ok("delete", bench.admin.delete(&bench.queue)).await;
    assert!(within("next after delete", consumer.next()).await.is_err(), "deleting a queue ends its consumers");
    ok("delete again", bench.admin.delete(&bench.queue)).await;
    assert_eq!(ok("status", bench.admin.queue_status(&bench.queue)).await, None);
    bench.end().await;
}

pub(super) async fn closing_is_final(mut bench: Bench) {
    let connection = bench.connect("short").await;
    let mut publisher = ok("publisher", connection.publisher()).await;
    let mut consumer = bench.consume(&*connection, 5, Some(0)).await;
    connection.close().await;
    within("close again", connection.close()).await;
    within("lost", connection.lost()).await;
    assert!(within("next", consumer.next()).await.is_err(), "nothing is delivered on a closed connection");
    let published = match within("publish", publisher.publish(&bench.queue, numbered(0))).await {
        Ok(confirm) => within("confirm", confirm).await,
        Err(error) => Err(error),
    };
    assert!(published.is_err(), "nothing is published on a closed connection");
    assert!(within("declare", connection.declare(&bench.queue, &bench.arguments(false))).await.is_err());
    bench.put(0..1).await;
    bench.end().await;
}

pub(super) async fn fencing_cuts_off(mut bench: Bench) {
    let name = format!("{}.fenced", bench.queue);
    let fenced = bench.connect("fenced").await;
    let other = bench.connect("other").await;
    let mut consumer = bench.consume(&*fenced, 5, Some(0)).await;
    bench.put(0..3).await;
    take(&mut *consumer, 2).await;
    if !ok("fence", bench.broker.fence(&name)).await {
        assert!(!bench.options.fence, "this broker must be able to fence");
        return bench.end().await;
    }
    within("lost after fence", fenced.lost()).await;
    assert!(within("next after fence", consumer.next()).await.is_err(), "a fenced connection gets nothing more");
    ok("others are not fenced", other.queue_status(&bench.queue)).await;
    let mut heir = bench.consume(&*other, 5, Some(0)).await;
    assert_eq!(numbers(&take(&mut *heir, 3).await), [0, 1, 2], "what a fenced connection held returns in order");
    assert!(ok("fence of nobody", bench.broker.fence(&name)).await, "fencing a name without connections is certain");
    other.close().await;
    bench.end().await;
}

pub(super) async fn properties_survive(mut bench: Bench) {
    let properties = Properties {
        message_id: Some("id-1".to_owned()),
        correlation_id: Some("correlation".to_owned()),
        reply_to: Some("answers".to_owned()),
        content_type: Some("text/plain".to_owned()),
        kind: Some("kind".to_owned()),
        headers: vec![
            ("ms2m-publisher".to_owned(), Value::Text("p".to_owned())),
            ("ms2m-seq".to_owned(), Value::Int(i64::from(u32::MAX) + 5)),
            ("flag".to_owned(), Value::Bool(true)),
        ],
        ..Properties::default()
    };
    let sent = Message { properties, body: Bytes::from_static(&[0, 255, 1]) };
    let confirm = ok("publish", bench.publisher.publish(&bench.queue, sent.clone())).await;
    ok("confirm", confirm).await;
    let mut consumer = bench.consume(&*bench.admin, 5, Some(0)).await;
    let got = next(&mut *consumer).await.message;
    assert_eq!(got.body, sent.body, "bodies are bytes");
    assert_eq!(got.key(), sent.key(), "a message keeps its key");
    assert_eq!(got.properties.routing_key, bench.queue, "a message tells where it was published to");
    let mut headers = got.properties.headers.clone();
    headers.retain(|(name, _)| !name.starts_with("x-"));
    let (mut wanted, correlation, kind) = (sent.properties.headers, sent.properties.correlation_id, sent.properties.kind);
    let name = |header: &(String, Value)| header.0.clone();
    wanted.sort_by_key(name);
    headers.sort_by_key(name);
    assert_eq!(headers, wanted, "headers keep their values");
    assert_eq!((got.properties.correlation_id, got.properties.kind), (correlation, kind));
    drop(consumer);
    bench.end().await;
}

pub(super) async fn inboxes_live_with_their_connection(mut bench: Bench) {
    let name = format!("{}.inbox", bench.queue);
    let (holder, other) = (bench.connect("holder").await, bench.connect("other").await);
    let mut inbox = ok("inbox", holder.inbox(&name)).await;
    let taken = within("inbox", other.inbox(&name)).await;
    assert!(matches!(taken, Err(LinkError::Refused(_))), "an inbox belongs to one connection");
    for n in 0..3 {
        let confirm = ok("publish", bench.publisher.publish(&name, numbered(n))).await;
        ok("others can publish to an inbox", confirm).await;
    }
    let mail = take(&mut *inbox, 3).await;
    assert_eq!(numbers(&mail), [0, 1, 2], "an inbox keeps order");
    ok("an inbox may be acknowledged", inbox.ack_up_to(mail[2].tag)).await;
    holder.close().await;
    assert!(within("next", inbox.next()).await.is_err());
    let confirm = ok("publish", bench.publisher.publish(&name, numbered(9))).await;
    assert!(matches!(within("confirm", confirm).await, Err(LinkError::NotFound(_))), "an inbox goes with its connection");
    let mut heir = ok("an inbox's name is free again", other.inbox(&name)).await;
    bench.nothing_comes(&mut *heir, "an inbox begins empty").await;
    other.close().await;
    bench.end().await;
}
