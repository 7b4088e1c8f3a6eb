//! An agent in this process, and clients that it lets in.
#![allow(dead_code, reason = "not every test program needs everything")]

pub(crate) mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use ms2m_core::{ByteStream, Digest, DigestAlgorithm, MigrationId, Part, Receipt, Result, TransferBackend, TransferJob};
use ms2m_testkit::certificates::Authority;
use ms2m_transfer_direct::agent::{Admission, AllowList, Arrival, Kept, Limits, Store, StoreOptions};
use ms2m_transfer_direct::{Agent, Credentials, DirectTransfer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The nodes of all tests.
pub(crate) const TARGET: &str = "node-b";
pub(crate) const SOURCE: &str = "node-a";

/// An agent that serves until it is dropped, with certificates of its own.
pub(crate) struct Served {
    pub(crate) agent: Agent,
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    pub(crate) home: TempDir,
    end: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<()>>,
}

pub(crate) struct Setup {
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) arrival: Arc<dyn Arrival>,
    pub(crate) limits: Limits,
    pub(crate) store: fn(StoreOptions) -> StoreOptions,
    /// Instead of a directory of the agent's own.
    pub(crate) directory: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        let store = |options| StoreOptions { free_bytes_min: 0, ..options };
        Self { admission: Arc::new(AllowList::new([SOURCE])), arrival: Arc::new(Kept), limits: Limits::default(), store, directory: None }
    }
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::start(Setup::default()).await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new().unwrap());
        let options = StoreOptions::new(setup.directory.unwrap_or_else(|| home.path().join("incoming")));
        let store = Store::open((setup.store)(options)).unwrap();
        let agent = Agent::new(store, setup.admission, setup.arrival, setup.limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = credentials(&authority, home.path(), TARGET);
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn({
            let agent = agent.clone();
            async move { agent.serve(listener, credentials, async { drop(ended.await) }).await }
        });
        Self { agent, address, authority, home, end: Some(end), serving }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.agent.store().options().directory.clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The credentials of a node that the authority knows.
    pub(crate) fn credentials(&self, node: &str) -> Credentials {
        credentials(&self.authority, self.home.path(), node)
    }

    pub(crate) fn client(&self) -> DirectTransfer {
        self.client_at(self.address)
    }

    /// Through a relay.
    pub(crate) fn client_at(&self, address: SocketAddr) -> DirectTransfer {
        DirectTransfer::to_node(&format!("https://{address}"), TARGET, self.credentials(SOURCE)).unwrap()
    }

    /// Tells it to end, and waits.
    pub(crate) async fn end(mut self) {
        drop(self.end.take());
        (&mut self.serving).await.unwrap().unwrap();
    }

    pub(crate) fn files(&self) -> Vec<String> {
        files(&self.directory())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn credentials(authority: &Authority, home: &Path, node: &str) -> Credentials {
    // Another task may be at the same.
    static ISSUING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ISSUING.lock().unwrap();
    let directory = home.join("certificates").join(node);
    if !directory.exists() {
        authority.issue(&directory, node).unwrap();
    }
    Credentials::from_directory(directory)
}

/// All that is below, but the lock.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.push(format!("{name}/"));
            found.extend(files(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else if name != ".lock" {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// So many bytes that a seed decides.
pub(crate) fn archive(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 17).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(crate) fn streamed(bytes: &Bytes) -> ByteStream {
    let pieces: Vec<_> = (0..bytes.len()).step_by(100_000).map(|at| Ok(bytes.slice(at..bytes.len().min(at + 100_000)))).collect();
    Box::pin(stream::iter(pieces))
}

pub(crate) fn job(name: &str, bytes: &Bytes) -> TransferJob {
    TransferJob { migration: id(name), part: Part::Final, archive_bytes: bytes.len() as u64, deadline: Duration::from_secs(60) }
}

pub(crate) fn id(name: &str) -> MigrationId {
    MigrationId::new(name).unwrap()
}

pub(crate) async fn send(client: &DirectTransfer, name: &str, bytes: &Bytes) -> Result<Receipt> {
    client.send(&job(name, bytes), streamed(bytes)).await
}

/// What can be read at the target.
pub(crate) async fn read(client: &DirectTransfer, receipt: &Receipt, offset: u64) -> Result<Vec<u8>> {
    let mut stream = client.open(receipt, offset).await?;
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// The digest of an upload of these bytes.
pub(crate) fn uploaded(bytes: &[u8]) -> Digest {
    DigestAlgorithm::Blake3.of(bytes)
}

/// A receipt of what would be there.
pub(crate) fn receipt(name: &str, bytes: &Bytes) -> Receipt {
    Receipt {
        migration: id(name),
        part: Part::Final,
        digest: uploaded(bytes),
        archive_bytes: bytes.len() as u64,
        transferred_bytes: 0,
        location: String::new(),
    }
}
