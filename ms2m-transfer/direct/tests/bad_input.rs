//! Whatever a client, a network or a disk can do wrong: what is said, and what is left at the target. The table of it is `BAD-INPUT.md`; the
//! test fails when it does not say any more what happens (`MS2M_BLESS=1` writes it anew).

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use ms2m_core::{Digest, Error, ErrorKind, Result, TransferBackend as _, TransferJob};
use ms2m_testkit::Relay;
use ms2m_testkit::certificates::{Authority, Validity};
use ms2m_testkit::relay::{Cut, Direction, Faults};
use ms2m_transfer_direct::agent::{Admission, AllowList, Limits, LiveFile, StoreOptions};
use ms2m_transfer_direct::{Credentials, DirectTransfer};
use support::raw::{Raw, announcement, digest, form, said};
use support::{SOURCE, Served, Setup, TARGET, archive, id, job, read, receipt, send, streamed, uploaded};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What happened in one case.
struct Row {
    case: &'static str,
    said: String,
    left: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_told_and_nothing_is_left() {
    many_files();
    let mut rows = Vec::new();
    rows.extend(certificates().await);
    rows.extend(admission().await);
    rows.extend(contents().await);
    rows.extend(sizes().await);
    rows.extend(broken_off().await);
    rows.extend(rivals().await);
    rows.extend(crowds().await);
    rows.extend(nonsense().await);
    if rustix::process::geteuid().is_root() {
        rows.push(disk_full_in_the_middle().await);
    }
    let mut table = String::from(
        "# Bad input\n\nWhat the direct transfer and its agent do about it. Written by `tests/bad_input.rs`, which checks each line in every run.\n\n\
         | what is wrong | what is said | left at the target |\n|---|---|---|\n",
    );
    for Row { case, said, left } in &rows {
        table.push_str(&format!("| {case} | {said} | {left} |\n"));
    }
    println!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("BAD-INPUT.md");
    if std::env::var_os("MS2M_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    // Without root there is one line less than in the file.
    for line in table.lines() {
        assert!(written.lines().any(|known| known == line), "not in {}: {line}", path.display());
    }
}

fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// What an error says, with its verdict.
fn told(error: &Error) -> String {
    format!("{:?}: {} ({:?})", error.kind(), said(error), error.verdict())
}

fn row(case: &'static str, result: Result<impl Sized>, served: &Served) -> Row {
    let error = result.err().unwrap_or_else(|| panic!("{case}: must be an error"));
    Row { case, said: told(&error), left: left(served) }
}

/// Nothing, or what is there.
fn left(served: &Served) -> String {
    let files = served.files();
    if files.is_empty() { "nothing".to_owned() } else { files.join(", ") }
}

/// Retries nothing for longer than this.
fn soon(name: &str, bytes: &Bytes) -> TransferJob {
    TransferJob { deadline: Duration::from_secs(5), ..job(name, bytes) }
}

async fn certificates() -> Vec<Row> {
    let served = Served::new().await;
    let bytes = archive(1, 100_000);
    let home = served.home.path().join("bad");
    let foreign = Authority::new().unwrap();
    let url = served.url();
    let own = |directory: &str, validity| {
        let files = served.authority.issue_valid(home.join(directory), SOURCE, validity).unwrap();
        Credentials::from_directory(files.directory)
    };
    let mut rows = Vec::new();
    let foreign_files = foreign.issue(home.join("foreign"), SOURCE).unwrap();
    // The foreign certificate, and the right authority to believe the agent.
    std::fs::copy(served.authority.issue(home.join("right"), SOURCE).unwrap().authority, &foreign_files.authority).unwrap();
    for (case, credentials) in [
        ("the client's certificate has expired", own("expired", Validity::Expired)),
        ("the client's certificate is not valid yet", own("early", Validity::NotYet)),
        ("the client's certificate comes from a foreign authority", Credentials::from_directory(&foreign_files.directory)),
        ("the client's certificate is that of a node that is not let in", served.credentials("node-x")),
        ("the client has no key", Credentials::from_directory(home.join("missing"))),
    ] {
        let client = DirectTransfer::to_node(&url, TARGET, credentials).unwrap();
        rows.push(row(case, client.send(&soon("m", &bytes), streamed(&bytes)).await, &served));
    }
    // As its peers see it: whoever shows nothing is told, and everything is refused.
    let files = served.authority.issue(home.join("none"), SOURCE).unwrap();
    let mut nobody = Raw::connect(served.address, &files, None).await.unwrap();
    let _ = nobody.say("GET /v1/checkpoints HTTP/1.1\r\nHost: agent\r\n\r\n").await;
    let refused = nobody.hear().await.unwrap_err().to_string();
    rows.push(Row { case: "the client shows no certificate", said: refused, left: left(&served) });

    let other = DirectTransfer::to_node(&url, "node-c", served.credentials(SOURCE)).unwrap();
    rows.push(row("the agent's certificate is that of another node", other.send(&soon("m", &bytes), streamed(&bytes)).await, &served));
    let believing = foreign.issue(home.join("believing"), SOURCE).unwrap();
    let client = DirectTransfer::to_node(&url, TARGET, Credentials::from_directory(believing.directory)).unwrap();
    rows.push(row(
        "the agent's certificate comes from a foreign authority",
        client.send(&soon("m", &bytes), streamed(&bytes)).await,
        &served,
    ));

    // Renewed in place: the agent itself expires, and comes back, without a restart.
    let agents = served.home.path().join("certificates").join(TARGET);
    served.authority.issue_valid(&agents, TARGET, Validity::Expired).unwrap();
    rows.push(row("the agent's certificate has expired", served.client().send(&soon("m", &bytes), streamed(&bytes)).await, &served));
    served.authority.issue(&agents, TARGET).unwrap();
    send(&served.client(), "m", &bytes).await.expect("with a renewed certificate, without a restart");
    rows
}

async fn admission() -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.json");
    let live = r#"{"migrations": [{"migration": "live", "peers": ["node-a"], "archive_bytes_max": 200000},
                                  {"migration": "theirs", "peers": ["node-z"]}]}"#;
    std::fs::write(&path, live).unwrap();
    let served = Served::start(Setup { admission: Arc::new(LiveFile::new(&path)) as Arc<dyn Admission>, ..Setup::default() }).await;
    let (client, bytes) = (served.client(), archive(1, 100_000));
    let stranger = DirectTransfer::to_node(&served.url(), TARGET, served.credentials("node-x")).unwrap();
    let mut rows = vec![
        row("a migration that nobody has announced", send(&client, "unknown", &bytes).await, &served),
        row("an upload for the migration of another node", send(&client, "theirs", &bytes).await, &served),
        row("an upload from a node that has no migration", send(&stranger, "live", &bytes).await, &served),
        row("a checkpoint larger than its migration allows", send(&client, "live", &archive(1, 200_001)).await, &served),
        row("somebody lists what is there, and is no operator", client.list().await, &served),
    ];
    let arrived = send(&client, "live", &bytes).await.expect("what is announced is let in");
    std::fs::write(&path, r#"{"migrations": [{"migration": "next", "peers": ["node-a"]}]}"#).unwrap();
    let mut late =
        row("a checkpoint is replaced behind the end of its migration", send(&client, "live", &archive(2, 100_000)).await, &served);
    assert_eq!(std::fs::read(&arrived.location).unwrap(), bytes, "what had arrived stays as it is");
    late.left = "what had arrived, unchanged".to_owned();
    rows.push(late);
    rows
}

async fn contents() -> Vec<Row> {
    let served = Served::new().await;
    let bytes = archive(1, 700_000);
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let mut rows = Vec::new();

    let mut liar = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    assert_eq!(liar.upload("liar", bytes.len(), "1").await, 0);
    liar.say(0_u64.to_be_bytes()).await.unwrap();
    liar.say(&bytes).await.unwrap();
    liar.say(digest(b"something else")).await.unwrap();
    let failed = loop {
        let word = liar.word().await;
        if word["held"].is_null() {
            break word["failed"].clone();
        }
    };
    rows.push(Row { case: "the digest is wrong", said: problem(&failed), left: left(&served) });

    let mut liar = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    liar.say(form("form", &bytes, &format!("ms2m-digest: {}\r\n", Digest::of(b"else")))).await.unwrap();
    rows.push(Row { case: "the digest of a form is wrong", said: answer(&liar.hear().await.unwrap()), left: left(&served) });

    let mut liar = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    liar.upload("liar", bytes.len(), "1").await;
    liar.say(4711_u64.to_be_bytes()).await.unwrap();
    rows.push(Row {
        case: "an upload begins where the agent holds nothing",
        said: problem(&liar.word().await["failed"]),
        left: left(&served),
    });

    let client = served.client();
    let broken = |at: usize, error: bool| {
        let end =
            if error { vec![Err(Error::retry(ErrorKind::Unavailable, "the checkpoint's own file cannot be read"))] } else { Vec::new() };
        Box::pin(streamed(&bytes.slice(..at)).chain(stream::iter(end)))
    };
    rows.push(row("the body is shorter than announced", client.send(&job("short", &bytes), broken(600_000, false)).await, &served));
    let longer = Bytes::from([&bytes[..], b"x"].concat());
    rows.push(row("the body is longer than announced", client.send(&job("long", &bytes), streamed(&longer)).await, &served));
    rows.push(row("the body itself fails", client.send(&job("fails", &bytes), broken(600_000, true)).await, &served));

    // A file that is changed on the target's disk is noticed by whoever reads it.
    let arrived = send(&client, "changed", &bytes).await.unwrap();
    let mut changed = bytes.to_vec();
    changed[77] ^= 1;
    std::fs::write(&arrived.location, changed).unwrap();
    let reading = read(&client, &arrived, 0).await;
    client.discard(&id("changed")).await.unwrap();
    rows.push(row("what has arrived is changed on the disk", reading, &served));
    rows.push(row("what has not arrived is read", read(&client, &receipt("never", &bytes), 0).await, &served));
    rows
}

/// What an answer in JSON says.
fn answer(heard: &str) -> String {
    let (head, body) = heard.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {heard}"));
    let status = head.split(' ').nth(1).unwrap();
    let body = &body[body.find('{').unwrap_or(0)..=body.rfind('}').unwrap_or(0)];
    format!("{status} {}", problem(&serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {heard}"))))
}

fn problem(problem: &serde_json::Value) -> String {
    let message = problem["message"].as_str().unwrap_or_else(|| panic!("no problem: {problem}"));
    let message = message.split(" [").next().unwrap();
    // Of nested causes, the first: the others are the system's.
    message.split(": ").next().unwrap().to_owned()
}

async fn sizes() -> Vec<Row> {
    let store = |options| StoreOptions { archive_bytes_max: 1_000_000, free_bytes_min: 0, ..options };
    let served = Served::start(Setup { store, ..Setup::default() }).await;
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let huge = archive(1, 1_000_001);
    let mut rows = vec![row("the checkpoint is larger than the agent takes", send(&served.client(), "huge", &huge).await, &served)];
    assert_eq!(served.agent.facts().bytes_received, 0, "refused by its announcement");
    let mut raw = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    let _ = raw.say(form("huge", &huge, "")).await;
    rows.push(Row {
        case: "a form without a size is larger than the agent takes",
        said: answer(&raw.hear().await.unwrap()),
        left: left(&served),
    });

    let full = |options| StoreOptions { free_bytes_min: 1 << 60, ..options };
    let served = Served::start(Setup { store: full, ..Setup::default() }).await;
    let bytes = archive(1, 1000);
    rows.push(row("the target's disk is full", send(&served.client(), "full", &bytes).await, &served));
    rows
}

async fn broken_off() -> Vec<Row> {
    let limits = Limits { head_within: Duration::from_millis(700), piece_within: Duration::from_millis(700), ..Limits::default() };
    let served = Served::start(Setup { limits, ..Setup::default() }).await;
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let bytes = archive(1, 3_000_000);
    let mut rows = Vec::new();

    // Slow ones: each is cut off, and meanwhile others are served.
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let mut no_request = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    let mut half_request = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    half_request.say("GET /v1/che").await.unwrap();
    let mut drips = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    drips.upload("drips", bytes.len(), "1").await;
    drips.say(0_u64.to_be_bytes()).await.unwrap();
    drips.say(&bytes[..1000]).await.unwrap();
    send(&served.client(), "meanwhile", &bytes).await.expect("others are served meanwhile");
    served.client().discard(&id("meanwhile")).await.unwrap();
    let begun = Instant::now();
    let mut heard = Vec::new();
    let _ = silent.read_to_end(&mut heard).await;
    let _ = (no_request.hear().await, half_request.hear().await);
    rows.push(Row {
        case: "slow loris: no handshake, no request, half a request",
        said: "closed after the limit, others served meanwhile".to_owned(),
        left: "(see below)".to_owned(),
    });
    let said = loop {
        let word = drips.word().await;
        if !word["failed"].is_null() {
            break problem(&word["failed"]);
        }
    };
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(drips);
    assert_eq!(served.files(), ["drips/", "drips/.final.part"]);
    rows[0].left = "nothing".to_owned();
    rows.push(Row {
        case: "slow loris: an upload that drips",
        said,
        left: "what had come, invisible, for the next call to go on with; removed by its age".to_owned(),
    });
    served.client().discard(&id("drips")).await.unwrap();
    assert!(served.files().is_empty(), "{:?}", served.files());

    // Cut off in the middle: what came is kept, not seen, and gone on with.
    let mut cut = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    cut.upload("cut", bytes.len(), "1").await;
    cut.say(0_u64.to_be_bytes()).await.unwrap();
    let before = served.agent.facts().bytes_received;
    cut.say(&bytes[..2_000_000]).await.unwrap();
    received(&served, before + 1_500_000).await;
    cut.0.get_mut().0.set_zero_linger().unwrap();
    drop(cut);
    let error = read(&served.client(), &receipt("cut", &bytes), 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    let resumed = send(&served.client(), "cut", &bytes).await.expect("it goes on");
    assert!(resumed.transferred_bytes < 3_000_000 - 1_000_000, "{} bytes went over the wire again", resumed.transferred_bytes);
    assert_eq!(read(&served.client(), &resumed, 0).await.unwrap(), bytes);
    served.client().discard(&id("cut")).await.unwrap();
    rows.push(Row { case: "the stream is truncated", said: "the next call sends only what is missing".to_owned(), left: left(&served) });

    // A form cannot be gone on with.
    let mut cut = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    cut.say(&form("form", &bytes, "")[..1_500_000]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while served.files().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    drop(cut);
    gone(&served).await;
    rows.push(Row { case: "a form is truncated", said: "the client has gone".to_owned(), left: left(&served) });

    for (case, direction, end) in [
        ("the network cuts every 64 KiB towards the agent (reset)", Direction::ToServer, false),
        ("the network cuts every 64 KiB towards the agent (closed)", Direction::ToServer, true),
        ("the network cuts every 8 KiB towards the client (reset)", Direction::ToClient, false),
    ] {
        let every = if direction == Direction::ToServer { 64 << 10 } else { 8 << 10 };
        let cut = Cut::every(direction, every);
        let relay = Relay::start(served.address, Faults::cut(if end { cut.closing() } else { cut })).await.unwrap();
        let client = served.client_at(relay.address());
        let sent = send(&client, "wire", &bytes).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert_eq!(sent.digest, uploaded(&bytes));
        assert_eq!(std::fs::read(&sent.location).unwrap(), bytes);
        client.discard(&id("wire")).await.unwrap();
        rows.push(Row { case, said: "it arrives, going on after each cut".to_owned(), left: left(&served) });
    }

    // Frozen for longer than the agent waits: it goes on when the wire does.
    let relay = Relay::start(served.address, Faults { stall: Some((Direction::ToServer, 1_000_000)), ..Faults::default() }).await.unwrap();
    let client = served.client_at(relay.address());
    let thaw = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        relay.go_on();
    };
    let (sent, ()) = tokio::join!(send(&client, "frozen", &bytes), thaw);
    assert_eq!(sent.expect("it arrives").digest, uploaded(&bytes));
    client.discard(&id("frozen")).await.unwrap();
    rows.push(Row {
        case: "the network freezes for longer than the agent waits",
        said: "it arrives when the network is back".to_owned(),
        left: left(&served),
    });

    let nobody = DirectTransfer::to_node("https://127.0.0.1:1", TARGET, served.credentials(SOURCE)).unwrap();
    rows.push(row("no agent listens there", nobody.discard(&id("m")).await, &served));
    rows
}

/// Waits until the agent has received so many bytes.
async fn received(served: &Served, bytes: u64) {
    let waiting = async {
        while served.agent.facts().bytes_received < bytes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the agent receives");
}

/// Waits until nothing is left.
async fn gone(served: &Served) {
    for _ in 0..500 {
        if served.files().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left: {:?}", served.files());
}

async fn rivals() -> Vec<Row> {
    let served = Served::new().await;
    let (bytes, other) = (archive(1, 2_000_000), archive(2, 2_000_000));
    let client = served.client();
    // The first is in the middle of it when the second comes.
    let stalled = Box::pin(streamed(&bytes.slice(..1_000_000)).chain(std::future::pending().into_stream()));
    let first = tokio::spawn({
        let (client, job) = (client.clone(), job("both", &bytes));
        async move { client.send(&job, stalled).await }
    });
    received(&served, 500_000).await;
    let second = send(&client, "both", &other).await.expect("the later one takes over");
    assert_eq!(std::fs::read(&second.location).unwrap(), other);
    let first = first.await.unwrap();
    client.discard(&id("both")).await.unwrap();
    let mut rows = vec![row("two transfers with one id: the earlier one", first, &served)];
    rows.push(Row {
        case: "two transfers with one id: the later one",
        said: "it arrives, of its own bytes alone".to_owned(),
        left: left(&served),
    });

    // Replayed: the same call comes again when another one sends.
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let mut new = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    new.upload("replay", 1000, "new").await;
    let mut old = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    old.say(announcement("replay", 1000, "old", "ms2m-attempt: 1\r\n")).await.unwrap();
    let said = answer(&old.hear().await.unwrap());
    new.say([&0_u64.to_be_bytes()[..], &bytes[..1000], &digest(&bytes[..1000])].concat()).await.unwrap();
    let done = loop {
        let word = new.word().await;
        if word["held"].is_null() {
            break word;
        }
    };
    assert!(!done["done"].is_null(), "{done}");
    client.discard(&id("replay")).await.unwrap();
    rows.push(Row { case: "an upload is replayed while another call sends", said, left: left(&served) });
    rows
}

async fn crowds() -> Vec<Row> {
    let limits = Limits { connections_max: 1050, transfers_max: 1, ..Limits::default() };
    let served = Served::start(Setup { limits, ..Setup::default() }).await;
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let bytes = archive(1, 1_000_000);
    let client = served.client();
    let mut rows = Vec::new();

    let mut crowd = Vec::new();
    while crowd.len() < 1000 {
        crowd.push(Raw::connect(served.address, &files, Some(&files)).await.unwrap());
    }
    assert!(served.agent.facts().connections_open >= 1000);
    send(&client, "crowd", &bytes).await.expect("a transfer beside 1,000 connections");
    client.discard(&id("crowd")).await.unwrap();
    rows.push(Row { case: "1,000 connections that do nothing", said: "transfers go on beside them".to_owned(), left: left(&served) });
    while served.agent.facts().connections_refused == 0 {
        crowd.push(Raw::connect(served.address, &files, Some(&files)).await.unwrap());
    }
    let mut late = crowd.pop().unwrap();
    late.say("GET /v1/checkpoints HTTP/1.1\r\nHost: agent\r\n\r\n").await.unwrap();
    let heard = late.hear().await.unwrap();
    assert!(heard.to_lowercase().contains("retry-after: 1"), "{heard}");
    rows.push(Row { case: "more connections than the agent takes", said: answer(&heard), left: left(&served) });
    drop(crowd);

    let mut busy = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    busy.upload("busy", 1000, "1").await;
    let mut late = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    late.say(announcement("late", 1000, "2", "")).await.unwrap();
    let heard = late.hear().await.unwrap();
    assert!(heard.to_lowercase().contains("retry-after: 1"), "{heard}");
    let said = answer(&heard);
    // A client waits for its turn.
    let waiting = tokio::spawn({
        let (client, bytes) = (client.clone(), bytes.clone());
        async move { send(&client, "waits", &bytes).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(busy);
    waiting.await.unwrap().expect("its turn comes");
    client.discard(&id("waits")).await.unwrap();
    client.discard(&id("busy")).await.unwrap();
    rows.push(Row {
        case: "more transfers than the agent takes",
        said: format!("{said}; a client waits for its turn"),
        left: left(&served),
    });
    rows
}

async fn nonsense() -> Vec<Row> {
    let served = Served::start(Setup { admission: Arc::new(AllowList::new([SOURCE])), ..Setup::default() }).await;
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let mut rows = Vec::new();
    let body = archive(1, 1000);
    for (case, request) in [
        ("a migration named `..`", announcement("..%2F..%2Fetc", 10, "1", "").into_bytes()),
        ("a form for a container named `../../etc/cron.d/x`", form("../../etc/cron.d/x", &body, "")),
        ("a form with an empty container name", form("", &body, "")),
        ("a part that there is not", announcement("m/final", 10, "1", "").replace("/m/final/final", "/m/last").into_bytes()),
        ("an upload without its size", announcement("m", 10, "1", "").replace("ms2m-archive-bytes", "x").into_bytes()),
        ("an upload of another version", announcement("m", 10, "1", "").replace("ms2m-transfer/2", "ms2m-transfer/9").into_bytes()),
        ("a digest that is none", announcement("m", 10, "1", "ms2m-digest: sha256:12\r\n").into_bytes()),
    ] {
        let mut raw = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
        raw.say(request).await.unwrap();
        rows.push(Row { case, said: answer(&raw.hear().await.unwrap()), left: left(&served) });
    }
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET /v1/checkpoints HTTP/1.1\r\nHost: agent\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP"));
    rows.push(Row { case: "plain HTTP", said: "a TLS alert, nothing else".to_owned(), left: left(&served) });
    for url in ["http://node-b:9443", "node-b:9443", "https://node-b:9443/checkpoint"] {
        let error = DirectTransfer::new(url, served.credentials(SOURCE)).unwrap_err();
        if url.starts_with("http://") {
            rows.push(Row { case: "the agent's address is no https URL", said: told(&error), left: left(&served) });
        }
    }
    rows
}

/// A form does not say its size, so its room cannot be reserved.
async fn disk_full_in_the_middle() -> Row {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let directory = tempfile::tempdir().unwrap();
    mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), c"size=3m").unwrap();
    let served = Served::start(Setup { directory: Some(directory.path().join("incoming")), ..Setup::default() }).await;
    let files = served.authority.issue(served.home.path().join("raw"), SOURCE).unwrap();
    let mut raw = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    let _ = raw.say(form("full", &archive(1, 5_000_000), "")).await;
    let said = answer(&raw.hear().await.unwrap());
    let left = left(&served);
    // Room that was reserved stays its own, whoever fills the disk meanwhile.
    let bytes = archive(1, 2_000_000);
    let mut slow = Raw::connect(served.address, &files, Some(&files)).await.unwrap();
    slow.upload("reserved", bytes.len(), "1").await;
    let filled = std::fs::write(directory.path().join("other"), vec![0; 3 << 20]);
    assert!(filled.is_err(), "the disk is full now");
    slow.say([&0_u64.to_be_bytes()[..], &bytes, &digest(&bytes)].concat()).await.unwrap();
    let done = loop {
        let word = slow.word().await;
        if word["held"].is_null() {
            break word;
        }
    };
    assert!(!done["done"].is_null(), "{done}");
    served.end().await;
    unmount(directory.path(), UnmountFlags::DETACH).unwrap();
    Row { case: "the disk gets full in the middle of a form", said, left }
}
