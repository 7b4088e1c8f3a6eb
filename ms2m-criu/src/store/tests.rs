use std::sync::Arc;

use ms2m_core::{ErrorKind, MigrationId, Part, Receipt, TransferBackend, TransferJob};
use ms2m_testkit::MemoryTransfer;

use super::*;
use crate::archive::{ContainerManifest, Limits, Manifest};

fn id(name: &str) -> MigrationId {
    MigrationId::new(name).expect("a name")
}

fn manifest() -> Manifest {
    Manifest::new(vec![ContainerManifest { name: "app".into(), id: "1".into(), ..ContainerManifest::default() }])
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("work")).expect("a store");
    (dir, store)
}

fn taken(job: &JobDir, part: Part, parent: Option<u32>) {
    let images = job.images(part, "app").expect("images");
    fs::write(images.join("pages-1.img"), format!("pages of {part}")).expect("written");
    if let Some(round) = parent {
        std::os::unix::fs::symlink(job.parent(round, "app"), images.join("parent")).expect("linked");
        assert!(images.join("parent/pages-1.img").exists(), "the parent is where CRIU looks");
    }
    let beside = job.beside(part, "app").expect("a directory");
    fs::create_dir(beside.join("volumes")).expect("made");
    fs::write(beside.join("volumes/one.tar"), "v").expect("written");
}

async fn sent(job: &JobDir, part: Part, transfer: &Arc<dyn TransferBackend>) -> Receipt {
    let plan = job.planned(part).expect("readable").expect("planned");
    let deadline = std::time::Duration::from_secs(5);
    let job = TransferJob { migration: job.migration().clone(), part, archive_bytes: plan.bytes(), deadline };
    transfer.send(&job, plan.stream(0)).await.expect("sent")
}

#[tokio::test]
async fn parts_travel_and_are_chained_again() {
    let (_dir, source) = store();
    let (_dir2, target) = store();
    let transfer: Arc<dyn TransferBackend> = Arc::new(MemoryTransfer::default());
    let (from, to) = (source.job(&id("m")).expect("a job"), target.job(&id("m")).expect("a job"));
    let parts = [Part::Round(1), Part::Round(2), Part::Final];
    for (part, parent) in parts.into_iter().zip([None, Some(1), Some(2)]) {
        taken(&from, part, parent);
        assert!(from.planned(part).expect("readable").is_none(), "not yet complete");
        let plan = from.plan(part, manifest()).expect("a plan");
        assert_eq!(from.planned(part).expect("readable").expect("planned").bytes(), plan.bytes());
        let receipt = sent(&from, part, &transfer).await;
        assert!(to.unpacked(part).expect("readable").is_none());
        to.unpack(&receipt, &transfer, &Limits::default()).await.expect("unpacked");
        assert!(to.unpacked(part).expect("readable").is_some());
    }
    to.link(&parts, "app").expect("linked");
    to.link(&parts, "app").expect("linked again");
    let images = to.restored_images(Part::Final, "app");
    assert_eq!(fs::read_to_string(images.join("parent/parent/pages-1.img")).expect("read"), "pages of round-1");
    assert_eq!(fs::read_to_string(to.restored(Part::Final, "app").join("volumes/one.tar")).expect("read"), "v");
}

#[tokio::test]
async fn another_digest_is_refused_and_leaves_nothing() {
    let (_dir, store) = store();
    let transfer: Arc<dyn TransferBackend> = Arc::new(MemoryTransfer::default());
    let job = store.job(&id("m")).expect("a job");
    taken(&job, Part::Final, None);
    job.plan(Part::Final, manifest()).expect("a plan");
    let receipt = sent(&job, Part::Final, &transfer).await;
    let forged = Receipt { digest: ms2m_core::Digest::of(b"else"), ..receipt };
    let error = job.unpack(&forged, &transfer, &Limits::default()).await.expect_err("refused");
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound), "{error:?}");
    assert!(job.unpacked(Part::Final).expect("readable").is_none());
    assert!(!job.restored(Part::Final, "app").exists());
}

#[test]
fn a_new_attempt_replaces_the_last_one() {
    let (_dir, store) = store();
    let job = store.job(&id("m")).expect("a job");
    taken(&job, Part::Final, None);
    job.plan(Part::Final, manifest()).expect("a plan");
    let images = job.images(Part::Final, "app").expect("images");
    assert_eq!(fs::read_dir(images).expect("readable").count(), 0, "emptied");
    assert!(job.planned(Part::Final).expect("readable").is_none(), "the plan of what is gone is gone");
    job.drop_part(Part::Final).expect("dropped");
    job.drop_part(Part::Final).expect("dropped again");
}

#[test]
fn removed_is_removed_and_orphans_are_nobodys() {
    let (_dir, store) = store();
    let held = store.job(&id("held")).expect("a job");
    drop(store.job(&id("left")).expect("a job"));
    drop(store.job(&id("wanted")).expect("a job"));
    let orphans = store.orphans(|migration| migration.as_str() == "wanted").expect("readable");
    assert_eq!(orphans, [id("left")]);
    store.remove(&id("left")).expect("removed");
    store.remove(&id("left")).expect("missing is fine");
    assert!(store.existing(&id("left")).expect("readable").is_none());
    held.remove().expect("removed");
    assert_eq!(store.migrations().expect("readable"), [id("wanted")]);
}

#[test]
fn a_directory_for_all_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("changed");
    assert_eq!(Store::open(dir.path()).expect_err("refused").kind(), ErrorKind::Unauthorized);
    let made = Store::open(dir.path().join("a/b")).expect("made");
    assert_eq!(fs::metadata(made.root()).expect("there").permissions().mode() & 0o777, 0o700);
}
