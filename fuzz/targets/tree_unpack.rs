//! Any bytes as a container's writable layer: whatever it says, nothing beside its directory is touched.
#![no_main]

mod mend;

use libfuzzer_sys::fuzz_target;
use ms2m_criu::tree::{TreeLimits, unpack};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    mend::mend(&mut bytes);
    let home = tempfile::Builder::new().prefix("ms2m-fuzz-").tempdir_in("/dev/shm").expect("a directory");
    let (outside, inside) = (home.path().join("outside"), home.path().join("inside"));
    for directory in [&outside, &inside] {
        std::fs::create_dir(directory).expect("made");
    }
    std::os::unix::fs::symlink(&outside, inside.join("door")).expect("linked");
    let _ = unpack(&inside, TreeLimits { bytes_max: 1 << 20, entries_max: 1_000 }, bytes.as_slice());
    assert_eq!(std::fs::read_dir(&outside).expect("still there").count(), 0, "something came out");
    assert_eq!(std::fs::read_dir(home.path()).expect("still there").count(), 2, "something came out");
});
