//! One running container or process: what cannot be checkpointed, and what will be different in the copy.

mod container;
mod descriptor;
mod devices;
mod error;
mod files;
mod inotify;
mod isolation;
mod layer;
mod locks;
mod mounts;
mod objects;
mod room;
mod stdio;
mod subject;
mod tasks;
mod tcp;
mod terminal;
mod tree;
mod unix;

#[cfg(test)]
mod fake;

pub use error::SourceError;

use std::path::PathBuf;

use super::config::{self, Taker};
use super::host::Host;
use super::tool;
use crate::check::Check;
use crate::runtime::Flavor;
use container::Container;
use subject::Subject;

/// What to look at.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The name of a container, or the id of a process.
    pub source: String,
    /// The runtime that has the container. Without it both are asked.
    pub runtime: Option<Flavor>,
    /// Where that runtime keeps its state, when that is not its default.
    pub runtime_root: Option<PathBuf>,
    /// Who will take the checkpoint.
    pub taker: Taker,
    /// Where the checkpoint will be written.
    pub work_dir: PathBuf,
}

/// Looks at a running container or process.
///
/// # Errors
/// When there is no such container or process, or when it is not running.
pub async fn source(options: &SourceOptions) -> Result<Vec<Check>, SourceError> {
    let host = Host::here();
    let container = Container::find(options).await?;
    let pid = match &container {
        Some(container) => container.pid,
        None => options.source.parse().map_err(|_| SourceError::NoSource(options.source.clone()))?,
    };
    let mut subject = Subject::read(&host, pid, container)?;
    subject.unix_peers = unix::peers(pid).await;
    let config = match &subject.container {
        Some(container) => container.config(&host, options.taker),
        None => config::effective(&host, &[config::OURS], None),
    };
    subject.taker = options.taker;
    subject.config = config.unwrap_or_default();
    let mut checks = judge(&subject);
    checks.push(room::check(&subject, &options.work_dir));
    Ok(checks)
}

/// Everything that can be said from what was read.
fn judge(subject: &Subject) -> Vec<Check> {
    let mut checks = vec![subject.check()];
    checks.extend(tasks::checks(subject));
    checks.extend(isolation::checks(subject));
    checks.push(terminal::check(subject));
    checks.push(stdio::check(subject));
    checks.push(objects::check(subject));
    checks.push(devices::check(subject));
    checks.extend(tcp::checks(subject));
    checks.push(unix::check(subject));
    checks.push(locks::check(subject));
    checks.push(files::check(subject));
    checks.push(inotify::check(subject));
    checks.push(layer::check(subject));
    checks.extend(mounts::checks(subject));
    checks
}
