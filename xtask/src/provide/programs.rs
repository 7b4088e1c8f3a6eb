//! The programs of a cluster, such as need nothing of the system on which they run.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::cargo::{cargo, workspace_root};
use crate::rules::Workspace;
use crate::steps::{Outcome, execute};

/// What the image of a cluster has in it.
pub(crate) const PROGRAMS: [&str; 4] = ["ms2m-agent", "ms2m-certificate", "ms2m-controller", "ms2m-runtime"];
/// Whose programs the tests on a cluster start.
pub(crate) const OF_CLUSTER_TESTS: [&str; 8] =
    ["ms2m", "ms2m-agent", "ms2m-certificate", "ms2m-controller", "ms2m-runtime", "counter", "embed-operator", "ms2m-testkit-cluster"];

/// For the tests. Built together with what they start, so that all have the same dependencies with the same features.
pub(crate) fn static_debug_programs() -> Result<Outcome> {
    static_programs(false, &OF_CLUSTER_TESTS).map(|(outcome, _)| outcome)
}

/// Builds these packages, and puts the programs of a cluster into the directory `static` beside the ordinary ones; where they are.
///
/// Only the workspace's own packages are compiled again for it: their dependencies are the ordinary ones.
pub(crate) fn static_programs(release: bool, packages: &[&str]) -> Result<(Outcome, PathBuf)> {
    let target = Workspace::load(&workspace_root())?.metadata().target_directory.clone();
    let profile = target.join(if release { "release" } else { "debug" }).into_std_path_buf();
    let to = profile.join("static");
    let mut build = cargo();
    build.args(["build", "--bins"]).args(packages.iter().flat_map(|package| ["--package", package]));
    build.env("RUSTC_WORKSPACE_WRAPPER", workspace_root().join("xtask/static-rustc"));
    if release {
        build.arg("--release");
    }
    if let failed @ Outcome::Failed(_) = execute(&mut build)? {
        return Ok((failed, to));
    }
    std::fs::create_dir_all(&to).with_context(|| format!("{} cannot be made", to.display()))?;
    for program in PROGRAMS {
        let built = profile.join(program);
        ensure!(
            is_static(&std::fs::read(&built)?),
            "{} needs libraries of the system; is RUSTC_WORKSPACE_WRAPPER set elsewhere?",
            built.display()
        );
        // Whoever runs the former one keeps it.
        let new = to.join(format!("{program}.new"));
        std::fs::copy(&built, &new).with_context(|| format!("{} cannot be copied", built.display()))?;
        std::fs::rename(&new, to.join(program))?;
    }
    Ok((Outcome::Passed, to))
}

/// Whether no loader is named in a 64-bit ELF file.
fn is_static(elf: &[u8]) -> bool {
    const LOADER: u32 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(elf.get(at..at + bytes)?);
        Some(u64::from_le_bytes(value))
    };
    let segments = || {
        let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        (0..count).map(|index| number(usize::try_from(table + index * size).ok()?, 4)).collect::<Option<Vec<_>>>()
    };
    elf.starts_with(b"\x7fELF\x02\x01") && segments().is_some_and(|segments| !segments.is_empty() && !segments.contains(&u64::from(LOADER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_told_from_one_without() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&own), "this test is an ordinary program");
        let header = |kind: u8| {
            let mut elf = vec![0; 0x40 + 56];
            elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (elf[0x20], elf[0x36], elf[0x38], elf[0x40]) = (0x40, 56, 1, kind);
            elf
        };
        assert!(is_static(&header(1)) && !is_static(&header(3)));
        assert!(!is_static(b"#!/bin/sh\n") && !is_static(&header(1)[..0x30]));
    }
}
