//! What this program does in a node: the source's and the target's part of a node's agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ms2m_core::{
    Checkpoint, CheckpointJob, CheckpointSource as _, CopyStatus, InstanceId, MigrationId, Receipt, RestoreJob, RestoreTarget as _,
    TransferBackend as _, TransferJob,
};
use ms2m_criu::criu::Criu;
use ms2m_criu::pod::{Copy, Gate, PodTarget, SOCKET};
use ms2m_criu::runtime::{Flavor, Runtime, RuntimeSource};
use ms2m_transfer_shared_volume::SharedVolume;

pub(crate) const ROLE: &str = "MS2M_TEST_ROLE";
pub(crate) const MIGRATION: &str = "MS2M_TEST_MIGRATION";
pub(crate) const SHARED: &str = "MS2M_TEST_SHARED";
pub(crate) const CONTAINER: &str = "MS2M_TEST_CONTAINER";
pub(crate) const POD: &str = "MS2M_TEST_POD";

const DEADLINE: Duration = Duration::from_secs(60);
const WORK: &str = "/var/lib/ms2m-test";

struct Here {
    migration: MigrationId,
    transfer: SharedVolume,
    /// Of the round, where there is one.
    round: PathBuf,
    /// Of all that the copy is made of.
    receipts: PathBuf,
    discard: PathBuf,
}

/// Nothing outside of a node.
pub(crate) fn run() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name}"));
    let (migration, shared) = (variable(MIGRATION), PathBuf::from(variable(SHARED)));
    let here = Here {
        transfer: SharedVolume::new(shared.join("volume")).within_one_machine(),
        round: shared.join(format!("{migration}.round")),
        receipts: shared.join(format!("{migration}.receipts")),
        discard: shared.join(format!("{migration}.discard")),
        migration: MigrationId::new(migration).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "target" => target(here, variable(POD)).await,
            "round" => round(here, variable(CONTAINER)).await,
            source => take(here, variable(CONTAINER), source == "broken-source").await,
        }
    });
}

async fn source(container: String) -> RuntimeSource {
    let runtime = Runtime::new(Flavor::Runc).with_root("/run/containerd/runc/k8s.io");
    RuntimeSource::open(runtime, Criu::new("criu"), WORK, &[("main".into(), container)]).await.unwrap().of_an_engine()
}

impl Here {
    fn job(&self, parent: Option<u32>) -> CheckpointJob {
        CheckpointJob { migration: self.migration.clone(), parent, leave_running: true, deadline: DEADLINE }
    }

    async fn send(&self, source: &RuntimeSource, checkpoint: &Checkpoint) -> Receipt {
        let (migration, archive_bytes) = (self.migration.clone(), checkpoint.archive_bytes);
        let job = TransferJob { migration, part: checkpoint.part, archive_bytes, deadline: DEADLINE };
        self.transfer.send(&job, source.open(checkpoint, 0).await.unwrap()).await.unwrap()
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Option<T> {
    Some(serde_json::from_slice(&std::fs::read(file).ok()?).unwrap())
}

fn write(file: &Path, value: &impl serde::Serialize) {
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(value).unwrap()).unwrap();
    std::fs::rename(new, file).unwrap();
}

async fn round(here: Here, container: String) {
    let source = source(container).await;
    let round = source.pre_dump(&here.job(None), 1).await.unwrap().checkpoint;
    write(&here.round, &here.send(&source, &round).await);
}

async fn take(here: Here, container: String, broken: bool) {
    let source = source(container).await;
    let begun = Instant::now();
    let round: Option<Receipt> = read(&here.round);
    let checkpoint = source.checkpoint(&here.job(round.as_ref().map(|_| 1))).await.unwrap();
    let dump = begun.elapsed();
    if broken {
        let images = Path::new(WORK).join("migrations").join(here.migration.as_str()).join("source/final/containers/main/checkpoint");
        let core = images.join("core-1.img");
        let length = std::fs::metadata(&core).unwrap().len();
        std::fs::write(core, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    let begun = Instant::now();
    let receipt = here.send(&source, &checkpoint).await;
    let (migration, bytes) = (&here.migration, checkpoint.archive_bytes);
    println!("{migration}: dump {dump:?}, frozen {:?}, copy {:?}, {bytes} bytes", checkpoint.freeze, begun.elapsed());
    let round = round.filter(|_| checkpoint.parent.is_some());
    write(&here.receipts, &round.into_iter().chain([receipt]).collect::<Vec<_>>());
    source.discard(&here.migration).await.unwrap();
}

async fn target(here: Here, pod_uid: String) {
    let gate = Gate::open(Path::new(SOCKET)).unwrap();
    let copy = Copy { pod_uid, containers: vec!["main".into()] };
    let target = PodTarget::new(gate, (Flavor::Runc, Criu::new("criu")), WORK, copy);
    let job = RestoreJob { migration: here.migration.clone(), copy: InstanceId::new("copy").unwrap(), deadline: DEADLINE };
    let begun = Instant::now();
    target.prepare(&job).await.unwrap();
    println!("{}: prepared in {:?}", here.migration, begun.elapsed());
    let transfer = Arc::new(here.transfer.clone());
    let (begun, mut staged) = (Instant::now(), false);
    let receipts: Vec<Receipt> = loop {
        if let Some(receipts) = read(&here.receipts) {
            break receipts;
        }
        if let Some(round) = read(&here.round).filter(|_| !std::mem::replace(&mut staged, true)) {
            target.stage(&job, &round, transfer.clone()).await.unwrap();
            assert_eq!(target.status(&here.migration).await.unwrap(), CopyStatus::Gone, "a runtime that waits is no copy");
            println!("staged");
        }
        if here.discard.exists() {
            target.discard(&here.migration).await.unwrap();
            target.discard(&here.migration).await.unwrap();
            println!("discarded");
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "no checkpoint came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let begun = Instant::now();
    let restored = target.restore(&job, &receipts, transfer.clone()).await;
    match restored {
        Ok(_) => {
            println!("{}: restored: unpack and restore {:?}", here.migration, begun.elapsed());
            assert_eq!(target.status(&here.migration).await.unwrap(), CopyStatus::Present);
            target.restore(&job, &receipts, transfer).await.unwrap();
            target.promote(&here.migration).await.unwrap();
            target.promote(&here.migration).await.unwrap();
        }
        Err(error) => {
            println!("{}: failed: {error}", here.migration);
            assert_eq!(target.status(&here.migration).await.unwrap(), CopyStatus::Gone);
        }
    }
    target.discard(&here.migration).await.unwrap();
    here.transfer.discard(&here.migration).await.unwrap();
}
