//! A container that waits for a checkpoint.

use std::path::Path;
use std::time::Duration;

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_criu::pod::{GivenBundle, Order, remove_leftovers, wait};
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
    let given = GivenBundle::open(bundle, &config.state, &call.id)?;
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
    wait(&config.socket, &hello, |order| match order {
        Order::Refuse { reason } => {
            Err(Error::fatal(ErrorKind::Cancelled, format!("the copy is not made: {reason}")).with("migration", &hello.migration))
        }
        Order::Restore { directory, manifest, connected } => {
            let Verb::Create { options, .. } = &call.verb else { return Ok(Duration::ZERO) };
            let options = (call.global.clone(), options.clone());
            block_on(given.restore(&runtime(config, call), options, (directory, *manifest), connected, RESTORE_WITHIN))
        }
    })?;
    Ok(true)
}

/// Whatever a restore has left, also one that was interrupted.
pub(crate) fn clean(config: &Config, call: &Call) -> Result<()> {
    // Almost always there is nothing, and no reason to start anything.
    if call.id.is_empty() || !config.state.join(&call.id).exists() {
        return Ok(());
    }
    block_on(remove_leftovers(&config.state, &call.id))
}

fn runtime(config: &Config, call: &Call) -> Runtime {
    let runtime = Runtime::new(config.flavor()).with_program(&config.runtime);
    match &call.root {
        Some(root) => runtime.with_root(root),
        None => runtime,
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let cannot = |error| Error::fatal(ErrorKind::Other, "no threads to run on").caused_by(error);
    runtime.map_err(cannot)?.block_on(work)
}
