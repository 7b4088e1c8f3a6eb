//! Migrations in which connections break at random: whoever owns the queue in the end has the exact state.

use std::time::Duration;

use ms2m_broker::link::QueueKind;
use ms2m_consumer::{Outcome, Snapshot};
use ms2m_core::{HandOverJob, Ownership, ReplayBroker as _, ReplayStanding, Result};
use ms2m_testkit::MemoryBroker;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{sleep, timeout};

use crate::support::{LONG, Running, World, migration};

const COUNT: u64 = 800;
/// How many seeds are tried; `MS2M_CHAOS_SEEDS` asks for more.
const SEEDS: u64 = 30;
/// Those that have found something: an acknowledgement that fell due on one channel and was sent on the next.
const SEEDS_OF_INTEREST: [u64; 1] = [805];

async fn breaks(broker: MemoryBroker, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..rng.random_range(1..10) {
        sleep(Duration::from_millis(rng.random_range(1..80))).await;
        match rng.random_range(0..8) {
            0 => broker.restart(),
            1..4 => drop(broker.drop_connection("ms2m-copy")),
            _ => drop(broker.drop_connection("ms2m-source")),
        }
    }
}

/// The controller, as far as it gets.
async fn migrate(world: &World, source: &mut Running, copy: &mut Option<Running>) -> Result<Ownership> {
    let controller = world.controller();
    world.try_begin(&controller).await?;
    controller.park(&migration()).await?;
    let snapshot: Snapshot = source.snapshot().await;
    controller.resume(&migration()).await?;
    *copy = Some(world.start_copy("copy", snapshot));
    for _ in 0..300 {
        match controller.progress(&migration()).await?.standing {
            ReplayStanding::Ready | ReplayStanding::CopyOwns => break,
            _ => sleep(Duration::from_millis(5)).await,
        }
    }
    let job = HandOverJob { migration: migration(), source_gone: false, deadline: Duration::from_secs(5) };
    controller.hand_over(&job).await
}

/// Gives up, whatever it takes.
async fn settle(world: &World, outcome: Result<Ownership>) -> Ownership {
    let controller = world.controller();
    let mut outcome = outcome;
    for _ in 0..50 {
        match outcome {
            Ok(ownership) => return ownership,
            Err(_) => outcome = controller.abort(&migration(), "chaos").await,
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody can say who owns the queue: {outcome:?}")
}

async fn round(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let kinds = [QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream];
    let kind = kinds[rng.random_range(0..3)];
    let single = kind != QueueKind::Stream && rng.random_bool(0.5);
    let mut world = World::new(kind, single).await;
    world.service = Duration::from_micros(rng.random_range(0..1500));
    world.broker.set_faults(|faults| faults.quorum_single_acks_dropped = rng.random_range(0..8));
    let publishing = world.publish_slowly(1..=COUNT, Duration::from_micros(rng.random_range(100..900)));
    let mut source = world.start("source");
    source.seen(20).await;
    let breaking = tokio::spawn(breaks(world.broker.clone(), seed ^ 0x5eed));
    let mut copy = None;
    let outcome = migrate(&world, &mut source, &mut copy).await;
    let ownership = settle(&world, outcome).await;
    breaking.await.unwrap();
    publishing.await.unwrap();
    let controller = world.controller();
    let mut retired = controller.retire(&migration(), false).await;
    for _ in 0..20 {
        if retired.is_ok() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        retired = controller.retire(&migration(), false).await;
    }
    retired.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let owner = match (ownership, copy) {
        (Ownership::Copy(_), Some(copy)) => {
            assert_eq!(source.ended().await.unwrap(), Outcome::Moved, "seed {seed}");
            copy
        }
        (Ownership::Source { .. }, copy) => {
            if let Some(copy) = copy {
                let ended = copy.ended().await.unwrap();
                assert!(matches!(ended, Outcome::Discarded(_)), "seed {seed}: {ended:?}");
            }
            source
        }
        (Ownership::Copy(_), None) => panic!("seed {seed}: a copy that never was"),
    };
    owner.seen(usize::try_from(COUNT).unwrap()).await;
    sleep(Duration::from_millis(200)).await;
    owner.assert_exact(COUNT);
    owner.stopped().await;
    world.assert_effects_repeat_only(COUNT);
}

#[tokio::test(start_paused = true)]
async fn whoever_owns_the_queue_in_the_end_has_the_exact_state() {
    let all: Option<u64> = std::env::var("MS2M_CHAOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = all.map_or_else(|| (0..SEEDS).chain(SEEDS_OF_INTEREST).collect(), |all| (0..all).collect::<Vec<_>>());
    for seed in seeds {
        let done = timeout(LONG * 10, tokio::spawn(round(seed))).await;
        let done = done.unwrap_or_else(|_| panic!("seed {seed} hangs"));
        done.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
