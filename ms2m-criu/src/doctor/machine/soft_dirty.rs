//! Whether the kernel tracks written pages, which pre-dump needs.

use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::check::Check;

const SOFT_DIRTY: u64 = 1 << 55;

/// Clears the marks of this process, writes to one page, and looks whether exactly that became visible.
pub(super) fn probe() -> io::Result<bool> {
    let size = rustix::param::page_size();
    let mut pages = vec![1u8; 2 * size];
    let start = pages.as_ptr().addr();
    let page = start.next_multiple_of(size);
    let pagemap = File::open("/proc/self/pagemap")?;
    let marked = || -> io::Result<bool> {
        let mut entry = [0; size_of::<u64>()];
        pagemap.read_exact_at(&mut entry, (page / size * size_of::<u64>()) as u64)?;
        Ok(u64::from_ne_bytes(entry) & SOFT_DIRTY != 0)
    };
    fs::write("/proc/self/clear_refs", "4")?;
    let before = marked()?;
    pages[page - start] = 2;
    black_box(&mut pages);
    Ok(!before && marked()?)
}

pub(super) fn check(tracked: io::Result<bool>, criu: Option<bool>) -> Check {
    match tracked {
        Ok(true) if criu == Some(false) => {
            Check::warn("soft-dirty", "the kernel tracks written pages (probed), but this CRIU says that it cannot use it: no pre-dump")
                .remedy("install a newer CRIU, or go without pre-dump")
        }
        Ok(true) => Check::ok("soft-dirty", "the kernel tracks written pages: pre-dump works"),
        Ok(false) => Check::warn(
            "soft-dirty",
            "this kernel does not track written pages (probed): the whole memory is written while frozen, also in the one round that hold mode can have",
        )
        .remedy("for large memory use a kernel with CONFIG_MEM_SOFT_DIRTY (x86-64, not arm64); else --pre-dump shortens hold mode only"),
        Err(error) => Check::unknown("soft-dirty", format!("cannot be probed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckResult;

    #[test]
    fn each_finding_has_its_line() {
        assert_eq!(check(Ok(true), None).result, CheckResult::Ok);
        assert_eq!(check(Ok(true), Some(false)).result, CheckResult::Warn);
        assert_eq!(check(Ok(false), Some(false)).result, CheckResult::Warn);
        assert_eq!(check(Err(io::ErrorKind::PermissionDenied.into()), None).result, CheckResult::Unknown);
    }

    #[test]
    fn the_probe_answers_the_same_twice() {
        if let (Ok(first), Ok(second)) = (probe(), probe()) {
            assert_eq!(first, second);
        }
    }
}
