//! Streams as journals: read many times, from any offset, to the message.

use super::{Bench, next, number, numbers, ok, take};

pub(super) async fn readers_are_independent(mut bench: Bench) {
    bench.put(0..50).await;
    let mut first = bench.consume(&*bench.admin, 100, Some(0)).await;
    let deliveries = take(&mut *first, 50).await;
    assert_eq!(numbers(&deliveries), (0..50).collect::<Vec<_>>(), "a log is read in order");
    assert!(deliveries.iter().enumerate().all(|(n, delivery)| delivery.offset == Some(n as u64)), "offsets are dense from 0");
    ok("ack", first.ack_up_to(deliveries[49].tag)).await;
    ok("close", first.close()).await;
    let mut second = bench.consume(&*bench.admin, 100, Some(0)).await;
    assert_eq!(numbers(&take(&mut *second, 50).await), (0..50).collect::<Vec<_>>(), "an acknowledged entry stays in the log");
    ok("close", second.close()).await;
    bench.end().await;
}

pub(super) async fn offsets_are_exact(mut bench: Bench) {
    bench.put(0..200).await;
    for offset in [1, 77, 199] {
        let mut reader = bench.consume(&*bench.admin, 10, Some(offset)).await;
        let delivery = next(&mut *reader).await;
        assert_eq!((delivery.offset, number(&delivery)), (Some(offset), offset), "attaching is exact to the message");
        ok("close", reader.close()).await;
    }
    bench.end().await;
}

pub(super) async fn following_the_end(mut bench: Bench) {
    bench.put(0..5).await;
    let mut follower = bench.consume(&*bench.admin, 4, Some(5)).await;
    bench.nothing_comes(&mut *follower, "nothing is written at that offset yet").await;
    bench.put(5..15).await;
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let delivery = next(&mut *follower).await;
        seen.push(number(&delivery));
        ok("ack", follower.ack_up_to(delivery.tag)).await;
    }
    assert_eq!(seen, (5..15).collect::<Vec<_>>(), "a reader at the end gets what is written next, beyond its window by acks");
    drop(follower);
    bench.end().await;
}
