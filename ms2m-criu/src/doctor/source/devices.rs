//! Devices: GPUs, and everything else whose state is in the hardware or its driver.

use super::subject::{Subject, some};
use crate::check::Check;

/// Devices without a state of their own, and tun, which CRIU knows.
const CARRIED: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "console", "net/tun"];
const GPU: [&str; 4] = ["nvidia", "dri/", "kfd", "mali"];

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "devices";
    let open = subject.descriptors().filter(|one| !one.regular).filter_map(|one| Some((one.path()?, one.place())));
    let mapped = subject
        .processes
        .iter()
        .flat_map(|process| process.special_maps.iter().map(|map| (map.as_str(), format!("mapped by process {}", process.pid))));
    let (mut gpus, mut others) = (Vec::new(), Vec::new());
    for (path, place) in open.chain(mapped) {
        let Some(device) = path.strip_prefix("/dev/") else { continue };
        let harmless = CARRIED.contains(&device) || ["pts/", "shm/", "mqueue/", "hugepages/"].iter().any(|dir| device.starts_with(dir));
        if GPU.iter().any(|gpu| device.starts_with(gpu)) {
            gpus.push(format!("{path} ({place})"));
        } else if !harmless && !path.ends_with(" (deleted)") {
            others.push(format!("{path} ({place})"));
        }
    }
    if !gpus.is_empty() {
        return Check::fail(NAME, format!("GPU in use: {}; what it holds is not in the process's memory", some(&gpus)))
            .remedy("release the GPU before the checkpoint, or use CRIU's plugin for it (cuda-checkpoint, amdgpu)");
    }
    if !others.is_empty() {
        return Check::fail(NAME, format!("devices are open that CRIU does not know: {}", some(&others)))
            .remedy("close them before the checkpoint");
    }
    Check::ok(NAME, "no GPU and no other device that CRIU does not know")
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok};

    #[test]
    fn a_gpu_fails_and_null_does_not() {
        let tree = Tree::new();
        tree.fd(10, 0, "/dev/null", "").fd(10, 1, "/dev/pts/0", "");
        assert_eq!(check(&tree.subject()).result, Ok);
        tree.fd(10, 3, "/dev/fuse", "");
        let fuse = check(&tree.subject());
        assert!(fuse.result == Fail && fuse.reason.contains("/dev/fuse"), "{fuse}");
        tree.fd(10, 4, "/dev/nvidia0", "");
        let check = check(&tree.subject());
        assert!(check.result == Fail && check.reason.contains("/dev/nvidia0 (descriptor 4"), "{check}");
    }

    #[test]
    fn a_mapped_device_counts() {
        let tree = Tree::new();
        tree.maps(10, "7f0000000000-7f0000001000 rw-s 00000000 00:05 99 /dev/dri/renderD128\n");
        assert_eq!(check(&tree.subject()).result, Fail);
    }
}
