//! A thread in the cluster's network.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::ClusterError;

/// The network of the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Network(pub(crate) PathBuf);

impl Network {
    /// Moves the calling thread there for good, and with it what it starts.
    fn enter(&self) -> Result<(), ClusterError> {
        let failed = || format!("enter the network {}", self.0.display());
        let network = File::open(&self.0).map_err(ClusterError::io(failed()))?;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).map_err(ClusterError::io(failed()))
    }

    /// Runs `work` there, on a thread of its own.
    pub(crate) fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, ClusterError> {
        let worker = || {
            self.enter()?;
            Ok(work())
        };
        // Its panic is the caller's.
        thread::scope(|scope| scope.spawn(worker).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
