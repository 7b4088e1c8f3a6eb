//! What goes wrong at a registry and on the way to it: a clear error with what to do, or none at all, and nothing left. Prints a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, Error, ErrorKind, MigrationId, Part, Result, TransferBackend as _, TransferJob, Verdict};
use ms2m_testkit::fake_registry::{Access, Census, FakeRegistry, Faults, Lie, Refusal, Request};
use ms2m_testkit::relay::{Cut, Direction, Faults as Wire, Relay};
use ms2m_transfer_registry::{Credentials, Registry, RegistryOptions};

const BYTES: usize = 5_000_000;

fn client(address: std::net::SocketAddr) -> Registry {
    let credentials = Credentials::Password { user: "ms2m".into(), password: "geheim".into() };
    Registry::new(&format!("{address}/ms2m/checkpoints"), RegistryOptions { credentials, plain_http: true, ..RegistryOptions::default() })
        .unwrap()
}

fn job(bytes: usize, deadline: Duration) -> TransferJob {
    TransferJob { migration: MigrationId::new("m").unwrap(), part: Part::Final, archive_bytes: bytes as u64, deadline }
}

fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(next).collect()
}

fn body(bytes: &Bytes) -> ByteStream {
    let bytes = bytes.clone();
    let pieces = (0..bytes.len()).step_by(512 << 10).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + (512 << 10)))));
    Box::pin(stream::iter(pieces))
}

/// Sends and reads back.
async fn round_trip(registry: &Registry, bytes: &Bytes, deadline: Duration) -> Result<u64> {
    let receipt = registry.send(&job(bytes.len(), deadline), body(bytes)).await?;
    assert_eq!(receipt.digest, Digest::of(bytes));
    let mut read = Vec::new();
    let mut stream = registry.open(&receipt, 0).await?;
    while let Some(piece) = stream.next().await {
        read.extend_from_slice(&piece?);
    }
    assert!(read == *bytes, "what is read is what was sent");
    Ok(receipt.transferred_bytes)
}

enum Expected {
    /// It arrives all the same.
    Arrives,
    /// Nothing arrives, for this reason and with this advice.
    Fails(ErrorKind, Verdict, &'static str),
}
use Expected::{Arrives, Fails};

fn token() -> Access {
    Access::Token { user: "ms2m".into(), password: "geheim".into() }
}

fn refuse(request: Request, status: u16) -> Faults {
    Faults::refuse(Refusal::always(request, status))
}

fn cases() -> Vec<(&'static str, Access, Faults, Expected)> {
    let open = || Access::Everybody;
    let once = |request, status| Faults::refuse(Refusal::times(request, status, 2));
    let with = |faults: Faults| faults;
    let unauthorized = |advice| Fails(ErrorKind::Unauthorized, Verdict::Fatal, advice);
    let later = |kind, advice| Fails(kind, Verdict::Retry, advice);
    vec![
        ("nothing", open(), Faults::default(), Arrives),
        ("a token is wanted", token(), Faults::default(), Arrives),
        ("each token serves two requests", token(), with(Faults { token_requests: Some(2), ..Faults::default() }), Arrives),
        (
            "each token has expired when it comes",
            token(),
            with(Faults { token_requests: Some(0), ..Faults::default() }),
            unauthorized("docker login"),
        ),
        ("401 by the token server", token(), refuse(Request::Token, 401), unauthorized("docker login")),
        ("500 by the token server, twice", token(), once(Request::Token, 500), Arrives),
        (
            "another password is wanted",
            Access::Basic { user: "ms2m".into(), password: "x".into() },
            Faults::default(),
            unauthorized("docker login"),
        ),
        ("403", open(), refuse(Request::Begin, 403), unauthorized("right to push")),
        ("404: no such repository", open(), refuse(Request::Begin, 404), Fails(ErrorKind::NotFound, Verdict::Fatal, "create it")),
        ("405: read-only", open(), refuse(Request::Begin, 405), Fails(ErrorKind::Unsupported, Verdict::Fatal, "can be pushed to")),
        ("413 above 1 MiB", open(), with(Faults { request_bytes_max: Some(1 << 20), ..Faults::default() }), Arrives),
        (
            "413 above 64 KiB",
            open(),
            with(Faults { request_bytes_max: Some(64 << 10), ..Faults::default() }),
            Fails(ErrorKind::LimitExceeded, Verdict::Fatal, "client_max_body_size"),
        ),
        (
            "429 twice, then not",
            open(),
            with(Faults::refuse(Refusal { retry_after: Some(1), ..Refusal::times(Request::Patch, 429, 2) })),
            Arrives,
        ),
        (
            "429, come again in an hour",
            open(),
            with(Faults::refuse(Refusal { retry_after: Some(3600), ..Refusal::always(Request::Any, 429) })),
            later(ErrorKind::LimitExceeded, "rate limit"),
        ),
        ("500 at the beginning, twice", open(), once(Request::Begin, 500), Arrives),
        ("500 in the middle, twice", open(), once(Request::Patch, 500), Arrives),
        ("502 at the end, twice", open(), once(Request::Finish, 502), Arrives),
        ("503 for the manifest, twice", open(), once(Request::Publish, 503), Arrives),
        ("500 for ever", open(), refuse(Request::Patch, 500), later(ErrorKind::Unavailable, "its log")),
        ("500 for the manifest for ever", open(), refuse(Request::Publish, 500), later(ErrorKind::Unavailable, "its log")),
        ("507: its disk is full", open(), refuse(Request::Finish, 507), Fails(ErrorKind::LimitExceeded, Verdict::Undo, "larger disk")),
        (
            "no answer to the upload",
            open(),
            with(Faults { silent: Some(Request::Patch), ..Faults::default() }),
            later(ErrorKind::Timeout, "load and its log"),
        ),
        (
            "no answer to the manifest",
            open(),
            with(Faults { silent: Some(Request::Publish), ..Faults::default() }),
            later(ErrorKind::Timeout, "load and its log"),
        ),
        ("each answer takes 100 ms", open(), with(Faults { delay: Duration::from_millis(100), ..Faults::default() }), Arrives),
        (
            "names another digest for the layer",
            open(),
            with(Faults { lie: Some(Lie::Blob), ..Faults::default() }),
            later(ErrorKind::Corrupt, "broken disk or proxy"),
        ),
        (
            "names another digest for the manifest",
            open(),
            with(Faults { lie: Some(Lie::Manifest), ..Faults::default() }),
            later(ErrorKind::Corrupt, "broken disk or proxy"),
        ),
        (
            "sends other bytes than it got",
            open(),
            with(Faults { lie: Some(Lie::Sent), ..Faults::default() }),
            later(ErrorKind::Corrupt, "broken disk or proxy"),
        ),
        (
            "the layer breaks off at each 300 000 bytes",
            open(),
            with(Faults { cut_blob_bytes: Some(300_000), ..Faults::default() }),
            Arrives,
        ),
        (
            "the same, and it knows no ranges",
            open(),
            with(Faults { cut_blob_bytes: Some(300_000), no_ranges: true, ..Faults::default() }),
            later(ErrorKind::Unavailable, "its connections break"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_misbehaves() {
    let bytes = noise(BYTES, 1);
    println!("| the registry | what comes of it | after |\n|---|---|---|");
    let mut wrong = Vec::new();
    for (what, access, faults, expected) in cases() {
        let silent = faults.silent.is_some();
        let fake = FakeRegistry::start(access, faults).await.unwrap();
        let registry = client(fake.address());
        let begun = Instant::now();
        let result = round_trip(&registry, &bytes, Duration::from_secs(if silent { 1 } else { 60 })).await;
        row(what, &result, begun);
        if let Err(why) = as_expected(&result, &expected) {
            wrong.push(format!("{what}: {why}"));
        }
        fake.set(Faults::default());
        let unread = matches!(&result, Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable));
        if let Err(why) = is_clean(&fake, &registry, result.is_ok() || unread).await {
            wrong.push(format!("{what}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn row(what: &str, result: &Result<u64>, begun: Instant) {
    let outcome = match result {
        Ok(_) => "arrived".to_owned(),
        Err(error) => format!("{:?}, {:?}: {}", error.kind(), error.verdict(), error.message().split(" [").next().unwrap_or_default()),
    };
    println!("| {what} | {outcome} | {:.1} s |", begun.elapsed().as_secs_f64());
}

fn as_expected(result: &Result<u64>, expected: &Expected) -> std::result::Result<(), String> {
    let is =
        |error: &Error, kind, verdict, advice: &str| (error.kind(), error.verdict()) == (kind, verdict) && error.message().contains(advice);
    match (result, expected) {
        (Ok(_), Arrives) => Ok(()),
        (Err(error), Fails(kind, verdict, advice)) if is(error, *kind, *verdict, advice) => Ok(()),
        (Ok(_), Fails(..)) => Err("it arrived".into()),
        (Err(error), _) => Err(format!("{error:?}")),
    }
}

/// Nothing is left of what has failed, and of what has arrived not after it was discarded.
async fn is_clean(fake: &FakeRegistry, registry: &Registry, discard: bool) -> std::result::Result<(), String> {
    if discard {
        registry.discard(&MigrationId::new("m").unwrap()).await.map_err(|error| format!("{error:?}"))?;
    }
    let empty = |census: Census| (census.blobs, census.manifests, census.tags, census.uploads) == (0, 0, 0, 0);
    // What is removed in the background gets there in a moment.
    for _ in 0..100 {
        if empty(fake.census()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{:?} is left", fake.census()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_breaks() {
    let bytes = noise(BYTES, 2);
    println!("| the wire, or the registry behind it | what comes of it | cuts |\n|---|---|---|");
    let every = |bytes| Wire::cut(Cut::every(Direction::ToServer, bytes));
    let cases = [
        ("cut once, in the middle", Wire::cut(Cut::once(Direction::ToServer, 2_000_000)), false),
        ("cut at every 64 KiB", every(64 << 10), false),
        ("closed at every 64 KiB", Wire::cut(Cut::every(Direction::ToServer, 64 << 10).closing()), false),
        ("cut at every 1 MB on the way back", Wire::cut(Cut::every(Direction::ToClient, 1_000_000)), false),
        ("cut once, and it forgets the upload", Wire::cut(Cut::once(Direction::ToServer, 2_000_000)), true),
    ];
    for (what, wire, forgetful) in cases {
        let fake = FakeRegistry::start(Access::Everybody, Faults { forgetful, ..Faults::default() }).await.unwrap();
        let relay = Relay::start(fake.address(), wire).await.unwrap();
        let registry = client(relay.address());
        let transferred = round_trip(&registry, &bytes, Duration::from_secs(120)).await;
        let cuts = relay.passed().cuts;
        println!(
            "| {what} | {} | {cuts} |",
            transferred.as_ref().map_or_else(|error| error.to_string(), |sent| format!("arrived with {sent} bytes sent"))
        );
        transferred.unwrap();
        assert!(cuts > 0, "{what}");
        relay.set(Wire::default());
        is_clean(&fake, &registry, true).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_too_large_to_begin_anew_fails_cleanly() {
    // More than the window and all socket buffers hold.
    let bytes = noise(60_000_000, 3);
    let fake = FakeRegistry::start(Access::Everybody, Faults { forgetful: true, ..Faults::default() }).await.unwrap();
    let relay = Relay::start(fake.address(), Wire::cut(Cut::once(Direction::ToServer, 50_000_000))).await.unwrap();
    let registry = client(relay.address());
    let error = round_trip(&registry, &bytes, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((error.kind(), error.verdict()), (ErrorKind::Unavailable, Verdict::Retry), "{error}");
    is_clean(&fake, &registry, false).await.unwrap();
    // As the engine does.
    round_trip(&registry, &bytes, Duration::from_secs(60)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_for_one_part() {
    let (a, b) = (noise(3_000_000, 4), noise(3_000_000, 5));
    let fake = FakeRegistry::start(Access::Everybody, Faults::default()).await.unwrap();
    let registry = Arc::new(client(fake.address()));
    let job = job(a.len(), Duration::from_secs(60));
    for (first, second) in [(&a, &a), (&a, &b)] {
        let sent = futures_util::future::join(registry.send(&job, body(first)), registry.send(&job, body(second))).await;
        let receipts = [sent.0.unwrap(), sent.1.unwrap()];
        let mut readable = 0;
        for (receipt, bytes) in receipts.iter().zip([first, second]) {
            // One may have replaced the other; what can be read is never a mixture.
            if let Ok(stream) = registry.open(receipt, 0).await {
                let read = stream.map(|piece| piece.unwrap()).collect::<Vec<_>>().await.concat();
                assert!(read == *bytes);
                readable += 1;
            }
        }
        assert!(readable > 0);
        is_clean(&fake, &registry, true).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_shared_is_removed() {
    let bytes = noise(1_000_000, 6);
    let fake = FakeRegistry::start(Access::Everybody, Faults { page_tags: Some(1), ..Faults::default() }).await.unwrap();
    let registry = client(fake.address());
    let of = |name: &str| TransferJob { migration: MigrationId::new(name).unwrap(), ..job(bytes.len(), Duration::from_secs(60)) };
    let first = registry.send(&of("first"), body(&bytes)).await.unwrap();
    let second = registry.send(&of("second"), body(&bytes)).await.unwrap();
    registry.discard(&first.migration).await.unwrap();
    assert_eq!(registry.open(&first, 0).await.err().unwrap().kind(), ErrorKind::NotFound);
    let read = registry.open(&second, 0).await.unwrap().map(|piece| piece.unwrap()).collect::<Vec<_>>().await.concat();
    assert!(read == bytes, "the same bytes of another migration stay");
    registry.discard(&second.migration).await.unwrap();
    assert_eq!(fake.census().blobs, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_ones_own_names_the_final_part() {
    let bytes = noise(1000, 7);
    let fake = FakeRegistry::start(Access::Everybody, Faults::default()).await.unwrap();
    let options = || RegistryOptions { plain_http: true, credentials: Credentials::Anonymous, ..RegistryOptions::default() };
    let registry = Registry::new(&format!("{}/app:moved", fake.address()), options()).unwrap();
    registry.send(&job(bytes.len(), Duration::from_secs(60)), body(&bytes)).await.unwrap();
    assert_eq!(fake.census().tags, 2);
    is_clean(&fake, &registry, true).await.unwrap();
    for wrong in ["app:latest", "app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "APP", ""] {
        let error = Registry::new(&format!("{}/{wrong}", fake.address()), options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
