//! Who is told of what arrives, and of what goes.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use ms2m_core::{Digest, Error, ErrorKind, Result, TransferBackend as _};
use ms2m_transfer_direct::Stored;
use ms2m_transfer_direct::agent::{Arrival, StoreOptions};
use support::{Served, Setup, archive, id, send, uploaded};

/// What it was told, and whether it is in the way.
#[derive(Debug, Default)]
struct Recorder {
    told: Mutex<Vec<(&'static str, String, Digest)>>,
    refuses: Mutex<Option<&'static str>>,
}

impl Recorder {
    fn tell(&self, what: &'static str, stored: &Stored) -> Result<()> {
        assert!(std::fs::exists(&stored.location).unwrap(), "it is told while the file is there");
        if *self.refuses.lock().unwrap() == Some(what) {
            return Err(Error::undo(ErrorKind::Unsupported, "the store is in the way"));
        }
        self.told.lock().unwrap().push((what, stored.migration.to_string(), stored.digest));
        Ok(())
    }

    fn told(&self) -> Vec<(&'static str, String, Digest)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn refuse(&self, what: Option<&'static str>) {
        *self.refuses.lock().unwrap() = what;
    }
}

#[async_trait]
impl Arrival for Recorder {
    async fn arrived(&self, stored: &Stored) -> Result<()> {
        self.tell("arrived", stored)
    }

    async fn removed(&self, stored: &Stored) -> Result<()> {
        self.tell("removed", stored)
    }
}

async fn served(recorder: &Arc<Recorder>, store: fn(StoreOptions) -> StoreOptions) -> Served {
    Served::start(Setup { arrival: Arc::clone(recorder) as Arc<dyn Arrival>, store, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_told_when_it_comes_and_when_it_goes() {
    let recorder = Arc::new(Recorder::default());
    let served = served(&recorder, |options| StoreOptions { free_bytes_min: 0, ..options }).await;
    let client = served.client();
    let (first, second) = (archive(1, 100_000), archive(2, 200_000));
    let (one, two) = (uploaded(&first), uploaded(&second));
    let told = |what, digest| (what, "m".to_owned(), digest);

    send(&client, "m", &first).await.unwrap();
    assert_eq!(recorder.told(), [told("arrived", one)]);
    // Another one in its place, and the same once more.
    send(&client, "m", &second).await.unwrap();
    assert_eq!(recorder.told(), [told("arrived", two), told("removed", one)]);
    send(&client, "m", &second).await.unwrap();
    assert_eq!(recorder.told(), [told("arrived", two)]);

    // What cannot be used is not kept, and what was there before stays.
    recorder.refuse(Some("arrived"));
    let error = send(&client, "m", &first).await.unwrap_err();
    assert!(error.to_string().contains("in the way"), "{error}");
    assert_eq!(client.list().await.unwrap().iter().map(|stored| stored.digest).collect::<Vec<_>>(), [two]);

    // What cannot be removed stays, and who has discarded it is told.
    recorder.refuse(Some("removed"));
    let error = client.discard(&id("m")).await.unwrap_err();
    assert!(error.to_string().contains("in the way"), "{error}");
    assert_eq!(client.list().await.unwrap().len(), 1);
    recorder.refuse(None);
    client.discard(&id("m")).await.unwrap();
    assert_eq!(recorder.told(), [told("removed", two)]);
    client.discard(&id("m")).await.unwrap();
    assert_eq!((recorder.told(), served.files()), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_told_too_and_stays_until_it_may_go() {
    let recorder = Arc::new(Recorder::default());
    let served = served(&recorder, |options| StoreOptions { free_bytes_min: 0, age_max: Duration::ZERO, ..options }).await;
    let bytes = archive(1, 100_000);
    send(&served.client(), "m", &bytes).await.unwrap();
    recorder.refuse(Some("removed"));
    assert_eq!(served.agent.collect().await.unwrap().arrived, 0);
    assert_eq!(served.client().list().await.unwrap().len(), 1);
    recorder.refuse(None);
    assert_eq!(served.agent.collect().await.unwrap().arrived, 1);
    assert_eq!(recorder.told(), [("arrived", "m".to_owned(), uploaded(&bytes)), ("removed", "m".to_owned(), uploaded(&bytes))]);
    assert_eq!(served.files(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_it_is_to_whom_it_knows() {
    let served = Served::new().await;
    let client = served.client();
    let before = client.status().await.unwrap();
    assert!(before.ready && before.free_bytes > 0 && before.connections_open >= 1, "{before:?}");
    assert_eq!((before.version.as_str(), before.parts, before.transfers_open), (env!("CARGO_PKG_VERSION"), 0, 0));
    send(&client, "m", &archive(1, 100_000)).await.unwrap();
    let after = client.status().await.unwrap();
    assert_eq!((after.parts, after.parts_bytes), (1, 100_000));
    let stranger = ms2m_transfer_direct::DirectTransfer::to_node(&served.url(), support::TARGET, served.credentials("node-x")).unwrap();
    assert_eq!(stranger.status().await.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_agents_process_reads_what_arrived_without_a_connection() {
    let served = Served::new().await;
    let (here, sent) = (served.agent.here(), archive(1, 3_000_000));
    let receipt = send(&served.client(), "m", &sent).await.unwrap();
    for offset_bytes in [0, 1, 2_999_999, 3_000_000] {
        let pieces: Vec<_> = here.open(&receipt, offset_bytes).await.unwrap().map(Result::unwrap).collect().await;
        assert!(pieces.concat() == sent[offset_bytes as usize..], "from {offset_bytes}");
    }
    here.discard(&receipt.migration).await.unwrap();
    assert_eq!(here.open(&receipt, 0).await.err().unwrap().kind(), ErrorKind::NotFound);
}
