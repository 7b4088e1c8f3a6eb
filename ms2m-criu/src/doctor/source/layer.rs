//! The root file system: what of it must travel.

use std::fs;
use std::path::{Path, PathBuf};

use super::subject::Subject;
use crate::check::Check;
use crate::doctor::size::human;

/// How many files are counted before the sum is called a lower bound.
const MOST: usize = 200_000;

/// The writable layer: where, and how large.
pub(super) struct Layer {
    pub(super) dir: PathBuf,
    pub(super) bytes: u64,
    pub(super) whole: bool,
}

/// The overlay's upper directory, when the root is an overlay.
pub(super) fn of(subject: &Subject) -> Option<Layer> {
    // The last mount on a mount point is the one that is seen.
    let root = subject.mounts.iter().rfind(|mount| mount.mount_point == Path::new("/"))?;
    let upper = root.super_options.get("upperdir").filter(|_| root.fs_type == "overlay")?.clone()?;
    let (bytes, whole) = sum(&subject.host.path(&upper));
    Some(Layer { dir: upper.into(), bytes, whole })
}

fn sum(dir: &Path) -> (u64, bool) {
    let (mut bytes, mut left, mut dirs) = (0, MOST, vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.metadata() else { continue };
            left = left.saturating_sub(1);
            if left == 0 {
                return (bytes, false);
            }
            if kind.is_dir() {
                dirs.push(entry.path());
            } else {
                bytes += kind.len();
            }
        }
    }
    (bytes, true)
}

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "root-fs";
    if subject.container.is_none() {
        return Check::ok(NAME, "files are not carried with a process: the copy finds them under the same paths");
    }
    match of(subject) {
        Some(layer) => {
            let least = if layer.whole { "" } else { "more than " };
            Check::ok(NAME, format!("overlay; the writable layer travels along: {least}{} in {}", human(layer.bytes), layer.dir.display()))
        }
        None => Check::warn(NAME, "a plain directory: what the container has changed cannot be told from its image")
            .remedy("fine on one machine, where source and copy use the same directory; for another node run it on an overlay, or read-only with volumes"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Ok, Warn};

    #[test]
    fn the_writable_layer_is_measured() {
        let tree = Tree::new();
        assert_eq!(check(&tree.container("{}")).result, Warn);
        tree.mounts(10, "20 1 0:50 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/up,workdir=/w\n");
        tree.file("/up/a/b", &"x".repeat(2048)).file("/up/c", &"x".repeat(1024));
        let good = check(&tree.container("{}"));
        assert!(good.result == Ok && good.reason.contains("3.0 KiB in /up"), "{good}");
        assert_eq!(check(&tree.subject()).result, Ok);
    }
}
