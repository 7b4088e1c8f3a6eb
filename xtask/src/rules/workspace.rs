//! The workspace as cargo describes it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};

use super::tree::Tree;
use crate::cargo::{cargo, stdout};

/// The platform whose dependencies the rules look at, the same on every machine.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo, with every feature on: a rule holds for all of them.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut command = MetadataCommand::new();
        command.current_dir(root).features(CargoOpt::AllFeatures).other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()]);
        let metadata = command.exec().context("cargo cannot describe the workspace")?;
        Ok(Self { root: root.to_owned(), metadata })
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The packages of the workspace.
    pub(super) fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// The members that others build on: those with a library and no program.
    pub(super) fn libraries(&self) -> impl Iterator<Item = &Package> {
        let of_kind = |package: &Package, is: fn(&cargo_metadata::Target) -> bool| package.targets.iter().any(is);
        self.members()
            .into_iter()
            .filter(move |package| of_kind(package, |target| target.is_lib()) && !of_kind(package, |target| target.is_bin()))
    }

    /// The normal dependencies of one member, with their own, or those of all members.
    ///
    /// From `cargo tree`, because it resolves features as a build does. The graph in `cargo metadata` also has
    /// dependencies that only a weak feature (`dep?/feature`) of somebody names and that nobody builds.
    pub(super) fn tree(&self, member: Option<&str>) -> Result<Tree> {
        let mut command = cargo();
        command.current_dir(&self.root).args([
            "tree",
            "--edges",
            "normal",
            "--all-features",
            "--prefix",
            "depth",
            "--format",
            "{p}",
            "--target",
            PLATFORM,
        ]);
        match member {
            Some(name) => command.args(["--package", name]),
            None => command.arg("--workspace"),
        };
        Tree::parse(&stdout(&mut command)?)
    }
}
