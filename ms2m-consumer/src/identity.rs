//! [`Identity`]: which running consumer this is.

use std::path::PathBuf;

use ms2m_core::{Error, ErrorKind, InstanceId, Result};

/// Where a consumer learns its [`InstanceId`] from.
///
/// After a thaw, source and copy of a checkpointed process are alike to the last bit. Only a file that the environment provides
/// tells them apart, so it is read again whenever the connection to the broker was lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// Always this one. For consumers that are not checkpointed as a process.
    Fixed(InstanceId),
    /// The content of a file, without surrounding white space: a pod UID from the downward API, or `/etc/hostname`.
    File(PathBuf),
}

impl Identity {
    /// From a file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// From `/etc/hostname`, which container runtimes write for each container. Never by a system call: the kernel's host name is
    /// part of a checkpoint.
    #[must_use]
    pub fn hostname() -> Self {
        Self::file("/etc/hostname")
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the file cannot be read, [`ErrorKind::Invalid`] when its content is no name.
    pub fn read(&self) -> Result<InstanceId> {
        match self {
            Self::Fixed(instance) => Ok(instance.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = "this consumer's identity cannot be read; mount the pod's UID there by the downward API";
                    Error::retry(ErrorKind::Unavailable, message).with("file", path.display()).caused_by(error)
                })?;
                InstanceId::new(text.trim()).map_err(|error| error.with("file", path.display()))
            }
        }
    }
}

impl From<InstanceId> for Identity {
    fn from(instance: InstanceId) -> Self {
        Self::Fixed(instance)
    }
}
