//! A container that waits for a checkpoint.

use std::path::Path;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_criu::pod::{GivenBundle, Order, remove_abandoned, remove_leftovers, wait};
use ms2m_criu::runtime::Runtime;

use crate::call::{Call, Verb};
use crate::config::Config;

/// The pod's annotation that names the migration.
const RESTORE_FROM: &str = "migration.ms2m.io/restore-from";
/// The one that names the containers, separated by commas, where not all of the pod wait.
const RESTORE_CONTAINER: &str = "migration.ms2m.io/restore-container";
/// What containerd and CRI-O write into a container's configuration.
const TYPES: [&str; 2] = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];
const NAMES: [&str; 2] = ["io.kubernetes.cri.container-name", "io.kubernetes.container.name"];
const PODS: [&str; 2] = ["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
/// For the restore itself; kubelet waits two minutes for all.
const RESTORE_WITHIN: Duration = Duration::from_secs(100);

/// Restores it when it is one that waits for a checkpoint; says whether it was.
pub(crate) fn create(config: &Config, call: &Call, bundle: &Path) -> Result<bool> {
    let mut given = GivenBundle::open(bundle, &config.state, &call.id)?;
    let Some(migration) = given.annotation(RESTORE_FROM) else { return Ok(false) };
    let any = |names: [&str; 2]| names.into_iter().find_map(|name| given.annotation(name));
    if any(TYPES) != Some("container") {
        return Ok(false);
    }
    let missing =
        |what: &str| Error::fatal(ErrorKind::Invalid, format!("the engine has not written the {what} into the container's annotations"));
    let (container, pod) = (any(NAMES).ok_or_else(|| missing("container's name"))?, any(PODS).ok_or_else(|| missing("pod's UID"))?);
    if given.annotation(RESTORE_CONTAINER).is_some_and(|restored| !restored.split(',').any(|restored| restored == container)) {
        return Ok(false);
    }
    let hello = given.hello(migration, container, pod)?;
    // Its pod has been restored before: this is the application's own start.
    if hello.marker.exists() {
        return Ok(false);
    }
    let Verb::Create { options, .. } = &call.verb else { return Ok(false) };
    let (io, runtime) = (io()?, runtime(config, call));
    // This is the second attempt of a kubelet, maybe. What is in the way of removing the first does not hinder it.
    let _ = io.block_on(remove_abandoned(&config.state));
    let waited = wait(&config.socket, &hello, |order| {
        let options = (call.global.clone(), options.clone());
        match order {
            Order::Refuse { reason } => {
                Err(Error::fatal(ErrorKind::Cancelled, format!("the copy is not made: {reason}")).with("migration", &hello.migration))
            }
            Order::Launch { images, descriptors } => {
                let _within = io.enter();
                given.launch(&runtime, options, (images, descriptors)).map(|()| Duration::ZERO)
            }
            Order::Restore { directory, manifest, connected } => {
                io.block_on(given.restore(&runtime, options, (directory, *manifest), connected, RESTORE_WITHIN))
            }
        }
    });
    if waited.is_err() {
        // Should that not do, `delete` comes.
        let _ = io.block_on(given.withdraw(&runtime));
    }
    waited.map(|()| true)
}

/// Whatever a restore has left, also one that was interrupted.
pub(crate) fn clean(config: &Config, call: &Call) -> Result<()> {
    // Almost always there is nothing, and no reason to start anything.
    if call.id.is_empty() || !config.state.join(&call.id).exists() {
        return Ok(());
    }
    io()?.block_on(remove_leftovers(&config.state, &call.id))
}

fn runtime(config: &Config, call: &Call) -> Runtime {
    let runtime = Runtime::new(config.flavor()).with_program(&config.runtime);
    match &call.root {
        Some(root) => runtime.with_root(root),
        None => runtime,
    }
}

fn io() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::fatal(ErrorKind::Other, "no threads to run on").caused_by(error))
}
