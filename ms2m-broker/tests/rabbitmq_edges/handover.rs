//! How a queue goes from one consumer to the next. E5, E6 and E9.

use std::time::{Duration, Instant};

use ms2m_broker::link::{Broker as _, Connection, QueueKind, Subscription};

use crate::relay::Relay;
use crate::support::{
    QUEUES, await_consumers, broker_at, connect, consume, declare, drain, fill, inversions, is_silent, number, ok, queue_of, server,
    spread, take,
};

const MESSAGES: u64 = 200;
const PREFETCH: u16 = 20;
const APPLIED: usize = 37;
const ACKED: usize = 30;
const RUNS: usize = 8;

/// A source in the middle of its work: `APPLIED` taken, `ACKED` of them acknowledged in one frame, more in its buffer.
async fn at_work(link: &dyn Connection, admin: &dyn Connection, queue: &str) -> Box<dyn Subscription> {
    fill(admin, queue, 0..MESSAGES).await;
    let mut source = consume(link, queue, PREFETCH).await;
    let first = take(&mut *source, PREFETCH.into()).await;
    ok("ack", source.ack_up_to(first[PREFETCH as usize - 1].tag)).await;
    let rest = take(&mut *source, APPLIED - PREFETCH as usize).await;
    ok("ack", source.ack_up_to(rest[ACKED - PREFETCH as usize - 1].tag)).await;
    source
}

/// What the next consumer gets: everything not acknowledged, in order, what was delivered before marked so.
async fn exactly_the_rest(target: &mut dyn Subscription, case: &str) {
    let rest = MESSAGES as usize - ACKED;
    let mut numbers = Vec::new();
    while numbers.len() < rest {
        let delivery = ok(case, target.next()).await;
        let number = number(&delivery);
        assert!(delivery.redelivered || number >= APPLIED as u64, "{case}: {number} was delivered before and is not marked so");
        assert!(!delivery.redelivered || number < (ACKED + PREFETCH as usize) as u64, "{case}: {number} was never delivered");
        numbers.push(number);
        ok("ack", target.ack_up_to(delivery.tag)).await;
    }
    assert_eq!(numbers, (ACKED as u64..MESSAGES).collect::<Vec<_>>(), "{case}");
    assert!(is_silent(target).await, "{case}: more than was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn e6_a_close_hands_over_exactly() {
    let admin = connect("e6.admin").await;
    for kind in QUEUES {
        for sac in [false, true] {
            let case = format!("E6 close, {kind:?}, single active {sac}");
            let queue = format!("e6.{kind:?}.{sac}");
            let (mut served, mut counted, mut asked_most) = (Vec::new(), Vec::new(), 0);
            for _ in 0..RUNS {
                let (from, to) = (connect("e6.source").await, connect("e6.target").await);
                declare(&*admin, &queue, &queue_of(kind, sac)).await;
                let source = at_work(&*from, &*admin, &queue).await;
                let waiting = if sac { Some(consume(&*to, &queue, PREFETCH).await) } else { None };
                let begun = Instant::now();
                ok("close", source.close()).await;
                let mut target = match waiting {
                    Some(target) => target,
                    None => {
                        let (took, asked) = await_consumers(&*admin, &queue, 0).await;
                        counted.push(took);
                        asked_most = asked_most.max(asked);
                        consume(&*to, &queue, PREFETCH).await
                    }
                };
                let first = ok("first", target.next()).await;
                served.push(begun.elapsed());
                assert_eq!(number(&first), ACKED as u64, "{case}");
                // Its place is the first, so give it back by the same means that is under test.
                ok("close", target.close()).await;
                let mut target = consume(&*to, &queue, PREFETCH).await;
                exactly_the_rest(&mut *target, &case).await;
                from.close().await;
                to.close().await;
            }
            println!("{case}: {RUNS} of {RUNS} exact; close to first delivery {}", spread(&served));
            if !sac {
                println!("{case}: close-ok to consumer_count 0 {}, asked at most {asked_most} times", spread(&counted));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_hands_over_exactly_to_the_next_active() {
    let admin = connect("cut.admin").await;
    for kind in QUEUES {
        let case = format!("cut, {kind:?}, single active");
        let queue = format!("cut.{kind:?}");
        let mut served = Vec::new();
        for _ in 0..RUNS {
            let relay = Relay::start().await;
            let from = ok("connect", broker_at(&relay.amqp_url(""), server()).connect("cut.source")).await;
            let to = connect("cut.target").await;
            declare(&*admin, &queue, &queue_of(kind, true)).await;
            let mut source = at_work(&*from, &*admin, &queue).await;
            let mut target = consume(&*to, &queue, PREFETCH).await;
            // An ack is on the wire, not at the broker: what is asserted needs it there.
            tokio::time::sleep(Duration::from_millis(30)).await;
            let begun = Instant::now();
            relay.cut();
            let first = ok("first", target.next()).await;
            served.push(begun.elapsed());
            assert_eq!(number(&first), ACKED as u64, "{case}");
            let lost = from.lost().await;
            assert!(matches!(lost, ms2m_broker::LinkError::Lost(_)), "{case}: {lost}");
            while source.next().await.is_ok() {}
            ok("close", target.close()).await;
            let mut target = consume(&*to, &queue, PREFETCH).await;
            exactly_the_rest(&mut *target, &case).await;
            to.close().await;
        }
        println!("{case}: {RUNS} of {RUNS} exact; cut to first delivery {}", spread(&served));
    }
}

/// Dropped without a word, for example while a panic unwinds: still a close, never a cancel.
#[tokio::test(flavor = "multi_thread")]
async fn e5_a_dropped_subscription_returns_its_messages_in_order() {
    let admin = connect("e5.admin").await;
    for kind in QUEUES {
        let queue = format!("e5.{kind:?}");
        let (from, to) = (connect("e5.source").await, connect("e5.target").await);
        declare(&*admin, &queue, &queue_of(kind, true)).await;
        let source = at_work(&*from, &*admin, &queue).await;
        let mut target = consume(&*to, &queue, PREFETCH).await;
        drop(source);
        exactly_the_rest(&mut *target, &format!("E5 drop, {kind:?}")).await;
    }
}

/// Why the protocols never cancel: what a quorum queue does then. Documents; asserts only that nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn e9_a_cancel_reorders_a_quorum_queue() {
    let admin = connect("e9.admin").await;
    for kind in QUEUES {
        let queue = format!("e9.{kind:?}");
        let (mut reordered, mut late) = (0, Vec::new());
        for _ in 0..RUNS {
            let (from, to) = (connect("e9.source").await, connect("e9.target").await);
            declare(&*admin, &queue, &queue_of(kind, true)).await;
            let mut source = at_work(&*from, &*admin, &queue).await;
            let mut target = consume(&*to, &queue, PREFETCH).await;
            ok("cancel", source.cancel()).await;
            // A classic queue of 3.10 serves nobody after a bare cancel until something else wakes it; the close does.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let begun = Instant::now();
            ok("close", source.close()).await;
            let mut numbers = drain(&mut *target, MESSAGES as usize - ACKED).await;
            late.push(begun.elapsed());
            if inversions(&numbers) > 0 {
                reordered += 1;
                if reordered == 1 {
                    println!("E9 cancel, {kind:?}: the target got {:?} ...", &numbers[..30]);
                }
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (ACKED as u64..MESSAGES).collect::<Vec<_>>(), "{kind:?}");
            from.close().await;
            to.close().await;
        }
        println!("E9 cancel, {kind:?}: reordered in {reordered} of {RUNS} runs; all served after {}", spread(&late));
        assert!(kind == QueueKind::Quorum || reordered == 0, "classic queues keep their order");
    }
}
