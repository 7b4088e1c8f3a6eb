//! What takes minutes to build and is kept outside the clone, by the scripts of `testbed/`.

use std::process::{Child, Command, Stdio};

use anyhow::Result;

use super::debian;
use crate::cargo::workspace_root;
use crate::steps::{Outcome, execute};

const BUILDER: &str = "mmdebstrap";

/// Namespaces, mounts, containerd and CRIU need root.
pub(crate) fn root_user() -> Result<Outcome> {
    if rustix::process::geteuid().is_root() {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::LeftOut("this needs root: run `cargo xtask test` as root, in a machine or container of its own if you like".to_owned()))
}

/// The Debian root with CRIU, runc and crun that every test's machine stands on.
pub(crate) fn sid_root() -> Result<Outcome> {
    bootstrapped_by("root", "the Debian root with CRIU, runc and crun")
}

/// The virtual machine with the kernel that CRIU's pre-dump needs.
pub(crate) fn virtual_machine() -> Result<Outcome> {
    bootstrapped_by("vm", "the virtual machine for CRIU's pre-dump")
}

/// Kubernetes for the nodes of a cluster, compiled by Go, which fetches a newer version of itself where it has to.
pub(crate) fn kubernetes() -> Result<Outcome> {
    if !Command::new("go").arg("version").output().is_ok_and(|output| output.status.success()) {
        let how = "install Go 1.26 or newer, see https://go.dev/doc/install";
        return Ok(Outcome::LeftOut(format!("go, which compiles Kubernetes for the tests, is missing; {how}")));
    }
    built_by("cluster", "the Kubernetes of the cluster")
}

/// Helm, likewise.
pub(crate) fn helm() -> Result<Outcome> {
    built_by("helm", "Helm")
}

/// What takes minutes to build, begun before it is needed and in the time that the other steps leave; whoever needs it waits for it.
#[derive(Debug)]
pub(crate) struct Early(Vec<Child>);

impl Early {
    /// What fails is told when the tests that need it try again.
    pub(crate) fn begin() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(Vec::new());
        }
        let mut scripts = vec!["cluster", "helm"];
        if matches!(builder(), Ok(None)) {
            scripts.extend(["root", "vm"]);
        }
        let begin = |script| {
            let mut nice = Command::new("nice");
            nice.args(["-n", "19"]).arg(workspace_root().join("testbed").join(script)).arg("setup");
            nice.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        Self(scripts.into_iter().filter_map(|script| begin(script).ok()).collect())
    }

    /// Nothing of it runs any more.
    pub(crate) fn wait(mut self) {
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// What mmdebstrap builds.
fn bootstrapped_by(script: &str, what: &str) -> Result<Outcome> {
    match builder()? {
        Some(missing) => Ok(missing),
        None => built_by(script, what),
    }
}

/// The script knows whether there is anything to do.
fn built_by(script: &str, what: &str) -> Result<Outcome> {
    let path = workspace_root().join("testbed").join(script);
    Ok(match execute(Command::new(path).arg("setup"))? {
        Outcome::Passed => Outcome::Passed,
        _ => Outcome::LeftOut(format!("{what} could not be built, see above; `testbed/{script} setup` tries again")),
    })
}

/// `None` when it is there.
fn builder() -> Result<Option<Outcome>> {
    let installed = || Command::new(BUILDER).arg("--version").output().is_ok_and(|output| output.status.success());
    let how = format!("`apt-get install {BUILDER}` as root on Debian, or from your system's packages");
    if installed() {
        return Ok(None);
    }
    if !debian::may_install() {
        return Ok(Some(Outcome::LeftOut(format!("{BUILDER} is missing; {how}"))));
    }
    debian::install(BUILDER)?;
    Ok(if installed() {
        None
    } else {
        Some(Outcome::LeftOut(format!("{BUILDER} is missing and its installation failed, see above; {how}")))
    })
}
