//! Publishing: a confirm says yes only to what a queue has.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ms2m_broker::link::{Confirm, LinkError, body_only};

use crate::support::{KINDS, MESSAGE_BYTES_MAX, connect, declare, drain, numbered, ok, queue_of, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_told() {
    let link = connect("confirms.missing").await;
    let mut publisher = ok("publisher", link.publisher()).await;
    let confirm = ok("publish", publisher.publish("confirms.missing", numbered(1))).await;
    assert_eq!(soon("confirm", confirm).await, Err(LinkError::NotFound("confirms.missing".into())));
}

/// Many on the way at once, every third to a queue that does not exist: each confirm is about its own message.
#[tokio::test(flavor = "multi_thread")]
async fn returned_messages_are_matched_to_their_confirms() {
    let link = connect("confirms.mixed").await;
    for kind in KINDS {
        let queue = format!("confirms.mixed.{kind:?}");
        declare(&*link, &queue, &queue_of(kind, false)).await;
        let mut publisher = ok("publisher", link.publisher()).await;
        for together in [true, false] {
            let mut confirms: Vec<Confirm> = Vec::new();
            for number in 0..600_u64 {
                let to = if number % 3 == 0 { "confirms.nowhere" } else { queue.as_str() };
                confirms.push(ok("publish", publisher.publish(to, numbered(number))).await);
            }
            let outcomes = if together {
                soon("confirms", futures_util::future::join_all(confirms)).await
            } else {
                // Each in a task of its own, so that they look at the same time.
                let tasks: Vec<_> = confirms.into_iter().map(tokio::spawn).collect();
                let mut outcomes = Vec::new();
                for task in tasks {
                    outcomes.push(soon("confirm", task).await.expect("no panic"));
                }
                outcomes
            };
            for (number, outcome) in outcomes.into_iter().enumerate() {
                let expected = if number % 3 == 0 { Err(LinkError::NotFound("confirms.nowhere".into())) } else { Ok(()) };
                assert_eq!(outcome, expected, "{kind:?}: message {number}");
            }
        }
    }
}

/// A queue's confirm and a message that comes back, at the same time: the broker then acknowledges both in one frame.
#[tokio::test(flavor = "multi_thread")]
async fn one_ack_for_both_tells_them_apart() {
    let link = connect("confirms.both").await;
    for kind in KINDS {
        let queue = format!("confirms.both.{kind:?}");
        declare(&*link, &queue, &queue_of(kind, false)).await;
        let mut publisher = ok("publisher", link.publisher()).await;
        for round in 0..1500_u64 {
            let taken = ok("publish", publisher.publish(&queue, numbered(round))).await;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(round % 1500) {
                std::hint::spin_loop();
            }
            let returned = ok("publish", publisher.publish("confirms.nowhere", numbered(round))).await;
            let (taken, returned) = soon("confirms", futures_util::future::join(taken, returned)).await;
            assert_eq!((taken, returned), (Ok(()), Err(LinkError::NotFound("confirms.nowhere".into()))), "{kind:?}, round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_confirm_does_not_stop_the_others() {
    let link = connect("confirms.dropped").await;
    let queue = "confirms.dropped";
    declare(&*link, queue, &queue_of(ms2m_broker::link::QueueKind::Quorum, false)).await;
    let mut publisher = ok("publisher", link.publisher()).await;
    for round in 0..50_u64 {
        let mut confirms: Vec<_> = Vec::new();
        for number in 0..10 {
            confirms.push(tokio::spawn(ok("publish", publisher.publish(queue, numbered(round * 10 + number))).await));
        }
        for leader in confirms.drain(..5).rev() {
            leader.abort();
        }
        for confirm in confirms {
            assert_eq!(soon("confirm", confirm).await.expect("no panic"), Ok(()));
        }
    }
    let mut reader = crate::support::consume(&*link, queue, 100).await;
    assert_eq!(drain(&mut *reader, 500).await, (0..500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_refused() {
    let link = connect("confirms.large").await;
    for kind in KINDS {
        let queue = format!("confirms.large.{kind:?}");
        declare(&*link, &queue, &queue_of(kind, false)).await;
        let mut publisher = ok("publisher", link.publisher()).await;
        let fits = ok("publish", publisher.publish(&queue, body_only(Bytes::from(vec![7; MESSAGE_BYTES_MAX])))).await;
        ok("confirm", fits).await;
        let confirm = ok("publish", publisher.publish(&queue, body_only(Bytes::from(vec![7; MESSAGE_BYTES_MAX + 1])))).await;
        let refused = soon("confirm", confirm).await;
        assert!(matches!(refused, Err(LinkError::Refused(_))), "{kind:?}: {refused:?}");
        // The broker closes the channel with it.
        let after = soon("publish", publisher.publish(&queue, numbered(1))).await;
        assert!(matches!(after.map(drop), Err(LinkError::Lost(_))), "{kind:?}");
    }
    let mut publisher = ok("publisher", link.publisher()).await;
    let unnamed = soon("publish", publisher.publish(&"x".repeat(256), numbered(1))).await;
    assert!(matches!(unnamed.map(drop), Err(LinkError::Refused(_))), "a name that AMQP cannot carry");
}
