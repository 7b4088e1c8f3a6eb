//! Packing and extracting our own archives, between directories in memory where there is such a thing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt as _;
use ms2m_criu::archive::{ContainerManifest, Limits, Manifest, TarPlan, extract_stream};

const PAGES: usize = 256 << 20;

fn home() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// One image of pages and many small ones, as CRIU writes them.
fn checkpoint(home: &Path) -> TarPlan {
    let images = home.join("containers/main/checkpoint");
    fs::create_dir_all(&images).unwrap();
    fs::write(images.join("pages-1.img"), vec![0x5a; PAGES]).unwrap();
    for number in 0..100 {
        fs::write(images.join(format!("core-{number}.img")), vec![1; 2_000]).unwrap();
    }
    let container = ContainerManifest { name: "main".into(), id: "1".into(), ..Default::default() };
    TarPlan::scan(home, Manifest::new(vec![container])).unwrap()
}

fn archive(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (source, targets) = (home(), home());
    let plan = checkpoint(source.path());
    let mut group = criterion.benchmark_group("archive");
    group.throughput(Throughput::Bytes(plan.bytes())).sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function("pack", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut body = plan.stream(0);
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                bytes += piece.unwrap().len() as u64;
            }
            assert_eq!(bytes, plan.bytes());
        });
    });
    // From here on what is extracted is held in memory already: what a transfer hands over.
    let pieces: Vec<_> = runtime.block_on(async { plan.stream(0).collect().await });
    let pieces: Vec<_> = pieces.into_iter().map(Result::unwrap).collect();
    let fresh = |number: u64| -> PathBuf { targets.path().join(number.to_string()) };
    for (name, packed) in [("extract", false), ("pack and extract", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut time = Duration::ZERO;
                for round in 0..rounds {
                    let target = fresh(round);
                    time += runtime.block_on(async {
                        let body: ms2m_core::ByteStream =
                            if packed { plan.stream(0) } else { Box::pin(futures_util::stream::iter(pieces.clone().into_iter().map(Ok))) };
                        let begin = Instant::now();
                        extract_stream(body, &target, &Limits::default()).await.unwrap();
                        begin.elapsed()
                    });
                    fs::remove_dir_all(target).unwrap();
                }
                time
            });
        });
    }
    group.finish();
}

criterion_group!(benches, archive);
criterion_main!(benches);
