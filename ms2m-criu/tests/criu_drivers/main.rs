//! The conformance suites of the traits, for every driver, with the real CRIU, runc and crun.
//!
//! `MS2M_HEAP_MIB` says with how much memory the freeze is measured with and without pre-dump (128 unless set).
//!
//! The virtual machine is for what the host's kernel may lack: a boot checks a driver's pre-dump and the restore of what it has written.

mod containers;
mod freeze;
mod processes;
mod program;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use ms2m_core::{Checkpoint, CheckpointJob, CheckpointSource, MigrationId};
use ms2m_criu::runtime::Flavor;
use ms2m_testkit::conformance;
use ms2m_testkit_machine::{Options, inside_async, vm};

use crate::containers::{container, copy_of_container};
use crate::processes::{copy_of_process, process};

/// How much memory the program looks after, in MiB.
const MEMORY_MIB: u32 = 8;

#[test]
fn runc_containers_are_checkpointed() {
    inside_async(&Options::default(), |_| conformance::checkpoint(|| container(Flavor::Runc)));
}

#[test]
fn crun_containers_are_checkpointed() {
    inside_async(&Options::default(), |_| conformance::checkpoint(|| container(Flavor::Crun)));
}

#[test]
fn processes_are_checkpointed() {
    inside_async(&Options::default(), |_| conformance::checkpoint(process));
}

#[test]
fn runc_copies_are_made() {
    inside_async(&Options::default(), |_| conformance::restore(|| copy_of_container(Flavor::Runc)));
}

#[test]
fn crun_copies_are_made() {
    inside_async(&Options::default(), |_| conformance::restore(|| copy_of_container(Flavor::Crun)));
}

#[test]
fn copies_of_processes_are_made() {
    inside_async(&Options::default(), |_| conformance::restore(copy_of_process));
}

#[test]
fn drivers_pre_dump_and_restore_what_they_have_written() {
    vm::inside(&Options::default().deadline(Duration::from_secs(1200)), |_| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            for flavor in [Flavor::Runc, Flavor::Crun] {
                conformance::checkpoint(|| container(flavor)).await;
                println!("{flavor}: checkpoints conform");
            }
            // Its crun 1.21 does not give CRIU a container's own configuration, so it cannot restore.
            conformance::restore(|| copy_of_container(Flavor::Runc)).await;
            println!("runc: copies conform");
            conformance::checkpoint(process).await;
            println!("process: checkpoints conform");
            conformance::restore(copy_of_process).await;
            println!("process: copies conform");
        });
    });
}

#[test]
fn pre_dump_shortens_the_freeze() {
    let heap = std::env::var("MS2M_HEAP_MIB").ok().and_then(|heap| heap.parse().ok()).unwrap_or(128);
    let options = Options::default().deadline(Duration::from_secs(1500)).memory_mib(2048 + heap * 5 / 2);
    vm::inside(&options.env("MS2M_HEAP_MIB", heap.to_string()), |_| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(freeze::measured(heap));
    });
}

/// A checkpoint as its parts: with rounds where the driver can make them. Between any two of them the program works.
async fn parts(source: Arc<dyn CheckpointSource>, works: impl Fn() -> bool) -> Vec<Bytes> {
    let migration = MigrationId::new("parts").expect("a name");
    let job = |parent| CheckpointJob { migration: migration.clone(), parent, leave_running: true, deadline: Duration::from_secs(30) };
    let mut parts = Vec::new();
    let rounds = if source.capability().has_rounds() { 3 } else { 0 };
    for round in 1..=rounds {
        let parent = Some(round - 1).filter(|parent| *parent > 0);
        let done = source.pre_dump(&job(parent), round).await.expect("a round");
        assert_eq!(done.checkpoint.parent, parent, "a round builds on the one before it");
        parts.push(bytes(&*source, &done.checkpoint).await);
        assert!(works(), "between two rounds");
    }
    let parent = Some(rounds).filter(|parent| *parent > 0);
    let last = source.checkpoint(&job(parent)).await.expect("a checkpoint");
    assert_eq!(last.parent, parent, "the final part builds on the last round");
    parts.push(bytes(&*source, &last).await);
    source.discard(&migration).await.expect("discarded");
    parts
}

async fn bytes(source: &dyn CheckpointSource, checkpoint: &Checkpoint) -> Bytes {
    let stream = source.open(checkpoint, 0).await.expect("it is there");
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("it is read");
    pieces.concat().into()
}
