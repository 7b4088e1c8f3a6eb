//! What sealing costs: the same parts plain and sealed, sent and read.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt as _;
use ms2m_core::{MigrationId, Part, TransferBackend, TransferJob};
use ms2m_testkit::MemoryTransfer;
use ms2m_testkit::memory_transfer::pieces;
use ms2m_transfer_sealed::{Key, Sealed};

fn bench(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (name, bytes) in [("27 MiB", 27_usize << 20), ("256 MiB", 256 << 20)] {
        let body: Bytes = (0..bytes).map(|at| (at >> 3) as u8).collect::<Vec<_>>().into();
        let migration = MigrationId::new("bench").unwrap();
        let job = TransferJob { migration, part: Part::Final, archive_bytes: bytes as u64, deadline: Duration::from_secs(600) };
        let memory = || Arc::new(MemoryTransfer::default());
        let backends: [(&str, Arc<dyn TransferBackend>); 2] =
            [("plain", memory()), ("sealed", Arc::new(Sealed::with_key(memory(), Key::generate())))];
        let mut group = criterion.benchmark_group("transfer");
        group.throughput(Throughput::Bytes(bytes as u64)).sample_size(10).measurement_time(Duration::from_secs(4));
        for (kind, backend) in backends {
            group.bench_function(BenchmarkId::new(format!("{kind}, sent"), name), |bencher| {
                bencher.to_async(&runtime).iter(|| async { black_box(backend.send(&job, pieces(body.clone())).await.unwrap()) });
            });
            let receipt = runtime.block_on(backend.send(&job, pieces(body.clone()))).unwrap();
            group.bench_function(BenchmarkId::new(format!("{kind}, read"), name), |bencher| {
                bencher.to_async(&runtime).iter(|| async {
                    let mut stream = backend.open(&receipt, 0).await.unwrap();
                    while let Some(piece) = stream.next().await {
                        black_box(piece.unwrap());
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
