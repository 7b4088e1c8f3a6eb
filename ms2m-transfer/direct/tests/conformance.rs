//! The contract of a transfer, over a real agent.

mod support;

use std::sync::{Arc, Mutex};

use ms2m_testkit::relay::{Cut, Direction, Faults};
use ms2m_testkit::{Relay, conformance};
use support::Served;

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let served = Arc::new(Mutex::new(Vec::new()));
    conformance::transfer(async || {
        let new = Served::new().await;
        let client = Arc::new(new.client());
        served.lock().unwrap().push(new);
        client
    })
    .await;
    // Whatever went wrong in there, nothing unfinished is left but what a passed deadline has left to go on with, and was gone on with.
    for served in &*served.lock().unwrap() {
        assert!(!served.files().iter().any(|name| name.ends_with(".part")), "{:?}", served.files());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_on_a_wire_that_breaks() {
    let served = Arc::new(Mutex::new(Vec::new()));
    conformance::transfer(async || {
        let new = Served::new().await;
        let relay = Relay::start(new.address, Faults::cut(Cut::every(Direction::ToServer, 500_000))).await.unwrap();
        let client = Arc::new(new.client_at(relay.address()));
        served.lock().unwrap().push((new, relay));
        client
    })
    .await;
    assert!(served.lock().unwrap().iter().any(|(_, relay)| relay.passed().cuts > 10));
}
