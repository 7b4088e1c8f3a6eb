//! Packing by size, beside one SHA-256 pass over the same archive: the bound.
//!
//! `MS2M_BENCH_LARGE=1` adds 4 GiB, sparse and dense.

use ms2m_core::DigestAlgorithm;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ms2m_oci::{Compression, Facts, LayoutName, PackOptions, pack};

/// A tar with one file of pages. Dense pages hold words that seldom repeat, as a heap does; sparse ones are a hole.
fn archive(home: &Path, bytes: u64, dense: bool) -> PathBuf {
    let path = home.join("archive.tar");
    let mut header = tar::Header::new_ustar();
    header.set_path("checkpoint/pages-1.img").unwrap();
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_cksum();
    let mut file = File::create(&path).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let words = (0..1 << 19).scan(1_u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(((*state >> 40) as u16).to_le_bytes())
    });
    let block: Vec<u8> = words.flatten().collect();
    for _ in 0..if dense { bytes >> 20 } else { 0 } {
        file.write_all(&block).unwrap();
    }
    file.set_len(512 + bytes + 1024).unwrap();
    file.sync_all().unwrap();
    path
}

fn bench(criterion: &mut Criterion) {
    let home = tempfile::tempdir().unwrap();
    let mut sizes = vec![("27 MiB", 27 << 20, true), ("256 MiB", 256 << 20, true)];
    if std::env::var_os("MS2M_BENCH_LARGE").is_some() {
        sizes.extend([("4 GiB", 4 << 30, true), ("4 GiB sparse", 4 << 30, false)]);
    }
    for (name, bytes, dense) in sizes {
        let archive = archive(home.path(), bytes, dense);
        let mut group = criterion.benchmark_group("pack");
        group.throughput(Throughput::Bytes(bytes)).sample_size(10).measurement_time(Duration::from_secs(3));
        group.bench_function(BenchmarkId::new("one SHA-256 pass", name), |bencher| bencher.iter(|| black_box(one_pass(&archive))));
        let ways = [("pack", Compression::None, false), ("pack, copied", Compression::None, true), ("pack, zstd", Compression::Zstd, true)];
        for (way, compression, copy) in ways {
            let options = PackOptions { compression, copy, ..PackOptions::default() };
            group.bench_function(BenchmarkId::new(way, name), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| packed_in(home.path(), &archive, &options)).sum());
            });
        }
        group.finish();
        fs::remove_file(archive).unwrap();
    }
}

/// Reads and digests in one thread, as a simple tool would.
fn one_pass(path: &Path) -> Vec<u8> {
    let (mut file, mut hash, mut piece) = (File::open(path).unwrap(), DigestAlgorithm::Sha256.hasher(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).unwrap() {
            0 => return hash.finalize().as_bytes().to_vec(),
            read => hash.update(&piece[..read]),
        }
    }
}

fn packed_in(home: &Path, archive: &Path, options: &PackOptions) -> Duration {
    let name = LayoutName { directory: home.join("layout"), tag: None };
    let begin = Instant::now();
    pack(archive, &name, &Facts::default(), options, &mut |_| ControlFlow::Continue(())).unwrap();
    let took = begin.elapsed();
    fs::remove_dir_all(name.directory).unwrap();
    took
}

criterion_group!(benches, bench);
criterion_main!(benches);
