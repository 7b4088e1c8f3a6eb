//! What a passive declare, and the management API, tell.

use ms2m_broker::link::{Broker as _, LinkError, QueueKind, QueueOptions, QueueStatus};

use crate::support::{KINDS, QUEUES, await_consumers, broker, connect, consume, consume_from, declare, fill, ok, queue_of, soon, take};

#[tokio::test(flavor = "multi_thread")]
async fn passive_declare_counts_ready_messages_and_consumers() {
    let link = connect("counts").await;
    assert_eq!(ok("status", link.queue_status("counts.missing")).await, None);
    // The 404 closed the channel it was asked on, nothing else.
    for kind in QUEUES {
        let queue = format!("counts.{kind:?}");
        declare(&*link, &queue, &queue_of(kind, false)).await;
        fill(&*link, &queue, 0..10).await;
        let mut holder = consume(&*link, &queue, 4).await;
        take(&mut *holder, 4).await;
        await_consumers(&*link, &queue, 1).await;
        let status = ok("status", link.queue_status(&queue)).await;
        assert_eq!(status, Some(QueueStatus { ready: 6, consumers: 1 }), "{kind:?}: what is out does not count");
        ok("close", holder.close()).await;
        await_consumers(&*link, &queue, 0).await;
        let status = ok("status", link.queue_status(&queue)).await;
        assert_eq!(status, Some(QueueStatus { ready: 10, consumers: 0 }), "{kind:?}: consumer_count is 0 only with everything back");
    }
    let queue = "counts.Stream";
    declare(&*link, queue, &queue_of(QueueKind::Stream, false)).await;
    fill(&*link, queue, 0..10).await;
    let mut reader = consume_from(&*link, queue, 4, Some(0)).await;
    take(&mut *reader, 4).await;
    let status = ok("status", link.queue_status(queue)).await.expect("the stream");
    // 3.10 tells nothing about a stream: its position is the offset of what is read, never a count.
    println!("passive declare of a stream with 10 messages and 1 reader: {status:?}");
}

/// Of a quorum queue's consumers a passive declare counts the active one only (seen on 3.10): never wait for a second.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_consumers_may_not_be_counted() {
    let link = connect("counts.waiting").await;
    for kind in QUEUES {
        let queue = format!("counts.waiting.{kind:?}");
        declare(&*link, &queue, &queue_of(kind, true)).await;
        let active = consume(&*link, &queue, 1).await;
        let waiting = consume(&*link, &queue, 1).await;
        await_consumers(&*link, &queue, if kind == QueueKind::Classic { 2 } else { 1 }).await;
        ok("close", active.close()).await;
        await_consumers(&*link, &queue, 1).await;
        ok("close", waiting.close()).await;
        await_consumers(&*link, &queue, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_is_its_owners() {
    let (owner, other) = (connect("inbox.owner").await, connect("inbox.other").await);
    let mut inbox = ok("inbox", owner.inbox("inbox.a")).await;
    assert!(matches!(soon("inbox", other.inbox("inbox.a")).await, Err(LinkError::Refused(_))), "held by another connection");
    assert!(matches!(soon("status", other.queue_status("inbox.a")).await, Err(LinkError::Refused(_))));
    fill(&*other, "inbox.a", 0..3).await;
    assert_eq!(take(&mut *inbox, 3).await.len(), 3);
    owner.close().await;
    let freed = tokio::time::Instant::now();
    while ok("status", other.queue_status("inbox.a")).await.is_some() {
        assert!(freed.elapsed().as_secs() < 10, "an inbox goes with its connection");
    }
    ok("inbox", other.inbox("inbox.a")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declaring_again_must_agree_and_deleting_ends_consumers() {
    let link = connect("declare").await;
    for kind in KINDS {
        let queue = format!("declare.{kind:?}");
        let mut options = queue_of(kind, kind != QueueKind::Stream);
        if kind == QueueKind::Stream {
            options.bytes_max = Some(50_000_000);
        }
        declare(&*link, &queue, &options).await;
        ok("the same again", link.declare(&queue, &options)).await;
        let other = QueueOptions { bytes_max: Some(7_000_000), ..options };
        assert!(matches!(soon("declare", link.declare(&queue, &other)).await, Err(LinkError::Refused(_))), "{kind:?}");
        let mut reader = consume(&*link, &queue, 10).await;
        ok("delete", link.delete(&queue)).await;
        let ended = soon("the end", reader.next()).await;
        assert_eq!(ended, Err(LinkError::NotFound(queue.clone())), "{kind:?}");
        assert_eq!(reader.try_next(), Some(Err(LinkError::NotFound(queue.clone()))), "{kind:?}: it stays ended");
        ok("delete what is missing", link.delete(&queue)).await;
        let options = ms2m_broker::link::ConsumeOptions { prefetch: 1, from_offset: None, tag: String::new() };
        assert_eq!(soon("consume", link.consume(&queue, &options)).await.map(drop), Err(LinkError::NotFound(queue)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inspecting_tells_what_amqp_does_not() {
    let (link, broker) = (connect("inspect").await, broker());
    for kind in KINDS {
        let queue = format!("inspect/{kind:?} %");
        let sac = kind != QueueKind::Stream;
        declare(&*link, &queue, &queue_of(kind, sac)).await;
        let facts = ok("inspect", broker.inspect(&queue)).await.expect("management is there");
        assert_eq!((facts.kind, facts.single_active_consumer, facts.arguments), (kind, sac, Vec::new()));
    }
    let queue = "inspect.bounded";
    declare(&*link, queue, &QueueOptions { bytes_max: Some(5_000_000), ..queue_of(QueueKind::Classic, false) }).await;
    let facts = ok("inspect", broker.inspect(queue)).await.expect("management is there");
    assert_eq!(facts.arguments, ["max-length-bytes"]);
    assert_eq!(soon("inspect", broker.inspect("inspect.missing")).await, Err(LinkError::NotFound("inspect.missing".into())));
}
