//! Windows, returns and ownership of classic and quorum queues.

use super::{Bench, next, number, numbers, ok, take, within};

pub(super) async fn prefetch_is_a_window(mut bench: Bench) {
    bench.put(0..10).await;
    let mut consumer = bench.consume(&*bench.admin, 3, None).await;
    let first = take(&mut *consumer, 3).await;
    assert_eq!(numbers(&first), [0, 1, 2], "messages arrive in order");
    assert!(first.iter().all(|delivery| !delivery.redelivered && delivery.offset.is_none()), "a first delivery is not redelivered");
    bench.nothing_comes(&mut *consumer, "the window is full").await;
    ok("ack", consumer.ack_up_to(first[1].tag)).await;
    assert_eq!(numbers(&take(&mut *consumer, 2).await), [3, 4], "an ack of two opens the window by two");
    bench.nothing_comes(&mut *consumer, "the window is full again").await;
    ok("close", consumer.close()).await;
    bench.end().await;
}

pub(super) async fn unacked_returns_in_order(mut bench: Bench) {
    bench.put(0..10).await;
    let mut old = bench.consume(&*bench.admin, 6, None).await;
    let held = take(&mut *old, 4).await;
    ok("ack", old.ack_up_to(held[1].tag)).await;
    ok("close", old.close()).await;
    bench.consumers_become(0).await;
    let mut next_one = bench.consume(&*bench.admin, 20, None).await;
    let again = take(&mut *next_one, 8).await;
    assert_eq!(numbers(&again), [2, 3, 4, 5, 6, 7, 8, 9], "what was unacknowledged returns in order, before everything else");
    assert!(again[0].redelivered && again[1].redelivered, "what was delivered before is marked redelivered");
    assert!(!again[7].redelivered, "what was never delivered is not");
    ok("close", next_one.close()).await;
    bench.end().await;
}

pub(super) async fn lost_connections_return_too(mut bench: Bench) {
    bench.put(0..6).await;
    let connection = bench.connect("worker").await;
    let mut old = bench.consume(&*connection, 4, None).await;
    take(&mut *old, 3).await;
    connection.close().await;
    assert!(within("next on a closed connection", old.next()).await.is_err(), "a closed connection's subscription errs");
    bench.consumers_become(0).await;
    let mut next_one = bench.consume(&*bench.admin, 20, None).await;
    assert_eq!(numbers(&take(&mut *next_one, 6).await), [0, 1, 2, 3, 4, 5], "what a closed connection held returns in order");
    drop(next_one);
    bench.end().await;
}

pub(super) async fn consumers_are_counted(mut bench: Bench) {
    bench.put(0..3).await;
    bench.consumers_become(0).await;
    let first = bench.consume(&*bench.admin, 1, None).await;
    let second = bench.consume(&*bench.admin, 1, None).await;
    bench.consumers_become(2).await;
    ok("close", first.close()).await;
    ok("close", second.close()).await;
    bench.consumers_become(0).await;
    bench.end().await;
}

pub(super) async fn the_next_active_takes_over(mut bench: Bench) {
    bench.declare_again_with_sac().await;
    let (source, copy) = (bench.connect("source").await, bench.connect("copy").await);
    let mut old = bench.consume(&*source, 5, None).await;
    let mut waiting = bench.consume(&*copy, 5, None).await;
    bench.put(0..10).await;
    let held = take(&mut *old, 5).await;
    assert_eq!(numbers(&held), [0, 1, 2, 3, 4], "the first consumer is the active one");
    bench.nothing_comes(&mut *waiting, "another consumer is active").await;
    ok("ack", old.ack_up_to(held[2].tag)).await;
    ok("close", old.close()).await;
    let first = next(&mut *waiting).await;
    assert_eq!((number(&first), first.redelivered), (3, true), "the next active consumer begins with what returned");
    let mut seen = vec![3];
    let mut tag = first.tag;
    while seen.len() < 7 {
        ok("ack", waiting.ack_up_to(tag)).await;
        let delivery = next(&mut *waiting).await;
        tag = delivery.tag;
        seen.push(number(&delivery));
    }
    assert_eq!(seen, [3, 4, 5, 6, 7, 8, 9], "and goes on in order");
    source.close().await;
    copy.close().await;
    bench.end().await;
}

pub(super) async fn cumulative_acks_survive_the_close(mut bench: Bench) {
    bench.put(0..200).await;
    let mut old = bench.consume(&*bench.admin, 150, None).await;
    let held = take(&mut *old, 150).await;
    ok("ack", old.ack_up_to(held[149].tag)).await;
    ok("close", old.close()).await;
    bench.consumers_become(0).await;
    let mut next_one = bench.consume(&*bench.admin, 10, None).await;
    assert_eq!(number(&next(&mut *next_one).await), 150, "one cumulative ack right before the close is not dropped");
    ok("close", next_one.close()).await;
    bench.end().await;
}
