//! What this program does in a node: the source's and the target's part of a node's agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ms2m_core::{
    CheckpointJob, CheckpointSource as _, CopyStatus, InstanceId, MigrationId, Part, Receipt, RestoreJob, RestoreTarget as _,
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
    receipt: PathBuf,
    discard: PathBuf,
}

/// Nothing outside of a node.
pub(crate) fn run() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name}"));
    let (migration, shared) = (variable(MIGRATION), PathBuf::from(variable(SHARED)));
    let here = Here {
        transfer: SharedVolume::new(shared.join("volume")).within_one_machine(),
        receipt: shared.join(format!("{migration}.receipt")),
        discard: shared.join(format!("{migration}.discard")),
        migration: MigrationId::new(migration).unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "target" => target(here, variable(POD)).await,
            source => take(here, variable(CONTAINER), source == "broken-source").await,
        }
    });
}

async fn take(here: Here, container: String, broken: bool) {
    let runtime = Runtime::new(Flavor::Runc).with_root("/run/containerd/runc/k8s.io");
    let source = RuntimeSource::open(runtime, Criu::new("criu"), WORK, &[("main".into(), container)]).await.unwrap().of_an_engine();
    let begun = Instant::now();
    let job = CheckpointJob { migration: here.migration.clone(), parent: None, leave_running: true, deadline: DEADLINE };
    let checkpoint = source.checkpoint(&job).await.unwrap();
    let dump = begun.elapsed();
    if broken {
        let images = Path::new(WORK).join("migrations").join(here.migration.as_str()).join("source/final/containers/main/checkpoint");
        let core = images.join("core-1.img");
        let length = std::fs::metadata(&core).unwrap().len();
        std::fs::write(core, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
    let begun = Instant::now();
    let job =
        TransferJob { migration: here.migration.clone(), part: Part::Final, archive_bytes: checkpoint.archive_bytes, deadline: DEADLINE };
    let receipt = here.transfer.send(&job, source.open(&checkpoint, 0).await.unwrap()).await.unwrap();
    println!("{}: dump {dump:?}, frozen {:?}, copy {:?}, {} bytes", here.migration, checkpoint.freeze, begun.elapsed(), job.archive_bytes);
    let new = here.receipt.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(&receipt).unwrap()).unwrap();
    std::fs::rename(new, &here.receipt).unwrap();
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
    let begun = Instant::now();
    while !here.receipt.exists() {
        if here.discard.exists() {
            target.discard(&here.migration).await.unwrap();
            target.discard(&here.migration).await.unwrap();
            println!("discarded");
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "no checkpoint came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let receipt: Receipt = serde_json::from_slice(&std::fs::read(&here.receipt).unwrap()).unwrap();
    let transfer = Arc::new(here.transfer.clone());
    let begun = Instant::now();
    target.stage(&job, &receipt, transfer.clone()).await.unwrap();
    let unpack = begun.elapsed();
    let begun = Instant::now();
    let restored = target.restore(&job, std::slice::from_ref(&receipt), transfer.clone()).await;
    match restored {
        Ok(_) => {
            println!("{}: restored: unpack {unpack:?}, restore {:?}", here.migration, begun.elapsed());
            assert_eq!(target.status(&here.migration).await.unwrap(), CopyStatus::Present);
            target.restore(&job, &[receipt], transfer).await.unwrap();
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
