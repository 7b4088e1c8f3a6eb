//! The agent is killed when a random byte of an upload has come to it, and started again. The call goes on and ends well; nothing is visible
//! before, and nothing is left behind. `MS2M_KILLS` says how often.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use ms2m_core::{MigrationId, Part, TransferBackend as _, TransferJob};
use ms2m_testkit::Relay;
use ms2m_testkit::relay::{Direction, Faults};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::process::{Node, files};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_byte_it_goes_on_when_it_is_back() {
    let kills = std::env::var("MS2M_KILLS").ok().map_or(8, |kills| kills.parse::<u64>().expect("a number"));
    let node = Node::new();
    let mut process = node.start(&[]);
    let port = process.checkpoints.port().to_string();
    let relay = Relay::start(process.checkpoints, Faults::default()).await.unwrap();
    let client = node.client(relay.address());
    let mut resumed_bytes = 0;
    for kill in 0..kills {
        let mut random = StdRng::seed_from_u64(kill);
        let size: usize = random.random_range(1..12_000_000);
        let bytes: Bytes = (0..size).map(|at| (at as u64 * (kill + 3) % 251) as u8).collect::<Vec<_>>().into();
        // Handshake, request, bytes, digest and the wait for the last word: anywhere.
        let at = random.random_range(0..size as u64 + 6_000);
        relay.set(Faults { stall: Some((Direction::ToServer, at)), ..Faults::default() });
        let before = relay.passed().to_server_bytes;
        let migration = MigrationId::new(format!("killed-{kill}")).unwrap();
        let job =
            TransferJob { migration: migration.clone(), part: Part::Final, archive_bytes: size as u64, deadline: Duration::from_secs(60) };
        let body: Vec<_> = (0..size).step_by(300_000).map(|from| Ok(bytes.slice(from..size.min(from + 300_000)))).collect();
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.send(&job, Box::pin(stream::iter(body))).await }
        });
        let reached = async {
            while relay.passed().to_server_bytes - before < at && !call.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the upload gets there");
        process.kill();
        let visible: Vec<_> = files(&node.storage()).into_iter().filter(|name| !name.ends_with(".part")).collect();
        if !call.is_finished() {
            assert!(visible.is_empty() || at as usize > size, "before the last byte nothing is visible: {visible:?}");
        }
        process = node.start(&["--port", &port]);
        relay.set(Faults::default());
        relay.cut();
        let receipt = call.await.unwrap().unwrap_or_else(|error| panic!("killed at byte {at} of {size}: {error:?}"));
        assert!(receipt.digest.is_of(&bytes));
        assert!(std::fs::read(&receipt.location).unwrap() == bytes, "killed at byte {at} of {size}");
        resumed_bytes += (2 * size as u64).saturating_sub(receipt.transferred_bytes);
        client.discard(&migration).await.unwrap();
        assert_eq!(files(&node.storage()), [""; 0], "killed at byte {at} of {size}");
    }
    assert!(resumed_bytes > 0, "something was not sent twice");
}
