//! How long a container stands still, with pre-dump and without, side by side.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ms2m_core::engine::PreDumpPolicy;
use ms2m_core::{CheckpointJob, CheckpointSource as _, MigrationId, Part};
use ms2m_criu::runtime::Flavor;
use tokio::time::sleep;

use crate::containers::Running;
use crate::program;

/// The first one, number 0, is slow because the emulator translates everything.
const RUNS: u32 = 3;
/// In place of sending a round.
const BETWEEN: Duration = Duration::from_millis(500);

/// Of a program with so much memory, of which a hundredth is dirty between any two rounds. Every run is printed.
pub(crate) async fn measured(heap_mib: u32) {
    let running = Running::of(Flavor::Runc, program::hot("/log", heap_mib));
    let source = running.source().await;
    let migration = MigrationId::new("freeze").expect("a name");
    let job = |parent| CheckpointJob { migration: migration.clone(), parent, leave_running: true, deadline: Duration::from_secs(600) };
    for run in 0..=RUNS {
        let begun = Instant::now();
        let full = source.checkpoint(&job(None)).await.expect("a checkpoint");
        source.discard(&migration).await.expect("discarded");
        let took = begun.elapsed();
        let (mut dirty, mut parent) = (Vec::new(), None);
        let end = loop {
            if let Some(end) = PreDumpPolicy::default().end(&dirty) {
                break end;
            }
            let round = parent.map_or(1, |parent| parent + 1);
            let done = source.pre_dump(&job(parent), round).await.expect("a round");
            dirty.push(done.dirty_bytes);
            parent = Some(round);
            sleep(BETWEEN).await;
        };
        let first = running.part(&migration, Part::Round(1));
        let [kept, written] = [&["--block-size=1"][..], &["--block-size=1", "--apparent-size"]].map(|options| size(options, &first));
        assert!(kept + dirty[1] / 2 < written, "what a later round has is removed from the first: {kept} of {written} bytes are kept");
        let last = source.checkpoint(&job(parent)).await.expect("a checkpoint");
        assert_eq!(last.parent, parent, "it builds on the last round");
        source.discard(&migration).await.expect("discarded");
        let [whole, rest] = [&full, &last].map(|checkpoint| checkpoint.freeze.as_secs_f64() * 1e3);
        println!(
            "{heap_mib} MiB, run {run}: freeze {whole:.0} ms ({} bytes, {took:.1?} in all) without pre-dump, {rest:.0} ms ({} bytes) after \
             rounds of {dirty:?} dirty bytes ({end}): {:.1} times shorter",
            full.archive_bytes,
            last.archive_bytes,
            whole / rest
        );
        assert!(last.archive_bytes < full.archive_bytes / 10, "the rounds were of no use");
    }
}

/// Of everything in a directory, in bytes, as `du` says.
fn size(options: &[&str], directory: &Path) -> u64 {
    let output = Command::new("du").arg("--summarize").args(options).arg(directory).output().expect("du");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}
