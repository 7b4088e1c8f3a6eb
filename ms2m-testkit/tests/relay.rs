//! The relay against a server that answers with what it gets.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ms2m_testkit::Relay;
use ms2m_testkit::relay::{Cut, Direction, Faults, Passed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

/// Sends so much and returns what comes back until the end, and how it ended.
async fn through(relay: &Relay, sent: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let (mut from, mut to) = stream.split();
    let write = async move {
        let _ = to.write_all(sent).await;
        let _ = to.shutdown().await;
    };
    let read = async move {
        let (mut back, mut piece) = (Vec::new(), vec![0; 8192]);
        loop {
            match from.read(&mut piece).await {
                Ok(0) => return (back, None),
                Ok(count) => back.extend(&piece[..count]),
                Err(error) => return (back, Some(error.kind())),
            }
        }
    };
    let both = async { tokio::join!(write, read).1 };
    tokio::time::timeout(PATIENCE, both).await.expect("the connection ends")
}

#[tokio::test]
async fn a_good_wire_passes_everything_and_counts_it() {
    let relay = Relay::start(echo().await, Faults::default()).await.unwrap();
    let sent = bytes(300_000);
    for _ in 0..2 {
        assert!(through(&relay, &sent).await == (sent.clone(), None));
    }
    assert_eq!(relay.passed(), Passed { connections: 2, to_server_bytes: 600_000, to_client_bytes: 600_000, cuts: 0 });
}

#[tokio::test]
async fn a_cut_comes_at_its_byte_and_once() {
    let relay = Relay::start(echo().await, Faults::cut(Cut::once(Direction::ToServer, 100_001))).await.unwrap();
    let sent = bytes(300_000);
    let (back, error) = through(&relay, &sent).await;
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    assert!(back.len() <= 100_001 && back == sent[..back.len()]);
    assert_eq!((relay.passed().to_server_bytes, relay.passed().cuts), (100_001, 1));
    assert!(through(&relay, &sent).await == (sent, None), "only once");
}

#[tokio::test]
async fn an_orderly_end_is_no_reset() {
    let relay = Relay::start(echo().await, Faults::cut(Cut::once(Direction::ToClient, 70_000).closing())).await.unwrap();
    let sent = bytes(100_000);
    let (back, error) = through(&relay, &sent).await;
    assert_eq!(error, None);
    assert!(back == sent[..70_000], "all of {} bytes before the end", back.len());
}

#[tokio::test]
async fn distances_are_counted_over_connections() {
    let relay = Relay::start(echo().await, Faults::cut(Cut::every(Direction::ToServer, 64 << 10))).await.unwrap();
    let sent = bytes(40 << 10);
    let mut cut = Vec::new();
    for _ in 0..8 {
        cut.push(through(&relay, &sent).await.1.is_some());
    }
    // 40 KiB pass, then 24 KiB and a cut, and so on.
    assert_eq!(cut, [false, true, false, true, false, true, false, true]);
    assert_eq!(relay.passed().cuts, 4);
}

#[tokio::test]
async fn what_is_random_comes_from_the_seed() {
    let server = echo().await;
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let faults = Faults { seed, ..Faults::cut(Cut::random(Direction::ToServer, 1_000..=50_000)) };
        let relay = Relay::start(server, faults).await.unwrap();
        for _ in 0..5 {
            through(&relay, &bytes(60_000)).await;
        }
        assert_eq!(relay.passed().cuts, 5);
        runs.push(relay.passed().to_server_bytes);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn a_stall_holds_until_it_is_ended() {
    let relay = Relay::start(echo().await, Faults { stall: Some((Direction::ToServer, 1_000)), ..Faults::default() }).await.unwrap();
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(&bytes(3_000)).await.unwrap();
    let mut back = vec![0; 3_000];
    let early = tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut back)).await;
    assert!(early.is_err(), "nothing more than the first bytes");
    assert_eq!(relay.passed().to_server_bytes, 1_000);
    relay.go_on();
    tokio::time::timeout(PATIENCE, stream.shutdown()).await.unwrap().unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(relay.passed().to_server_bytes, 3_000);
}

#[tokio::test]
async fn it_stops_goes_on_and_cuts_by_hand() {
    let relay = Relay::start(echo().await, Faults::default()).await.unwrap();
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    let mut back = [0; 5];
    relay.stop();
    stream.write_all(b"hello").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut back)).await.is_err());
    relay.go_on();
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"hello");
    relay.cut();
    let error = tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn bandwidth_and_delay_take_their_time() {
    let faults = Faults { bytes_per_second: Some(1_000_000), delay: Duration::from_millis(100), ..Faults::default() };
    let relay = Relay::start(echo().await, faults).await.unwrap();
    let begun = Instant::now();
    let sent = bytes(500_000);
    assert!(through(&relay, &sent).await == (sent, None));
    // Half a second for the bytes, a tenth in each direction for the way.
    assert!(begun.elapsed() >= Duration::from_millis(650), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_is_not_there_resets() {
    let relay = Relay::start("127.0.0.1:1".parse().unwrap(), Faults::default()).await.unwrap();
    assert_eq!(through(&relay, b"hello").await, (Vec::new(), Some(ErrorKind::ConnectionReset)));
}
