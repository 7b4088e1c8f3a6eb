//! What a TARGET means.

use std::path::PathBuf;
use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, Result, TransferBackend};
use ms2m_transfer_sealed::Sealed;
use ms2m_transfer_shared_volume::SharedVolume;

use super::args::TransferArgs;
use crate::backend;
use crate::pack::facts;

/// Where a checkpoint can go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Directory(PathBuf),
    Agent(String),
    Image(String),
}

impl Target {
    /// A URL is an agent, a path is a directory, everything else an image.
    pub(super) fn parse(text: &str) -> Self {
        if text.starts_with("http://") || text.starts_with("https://") {
            Self::Agent(text.to_owned())
        } else if text.starts_with('/') || text.starts_with('.') {
            Self::Directory(text.into())
        } else {
            Self::Image(text.to_owned())
        }
    }
}

/// The way to the target.
pub(super) fn backend(args: &TransferArgs) -> Result<Arc<dyn TransferBackend>> {
    let target = Target::parse(&args.target);
    if args.recipient.is_some() && !matches!(target, Target::Image(_)) {
        let message = "--recipient is for registries: an agent's connection is encrypted, and a directory belongs to who uses it";
        return Err(Error::fatal(ErrorKind::Invalid, message));
    }
    Ok(match target {
        Target::Directory(directory) => Arc::new(SharedVolume::new(directory)),
        Target::Agent(url) => Arc::new(backend::direct(&args.way.credentials, args.way.node.as_deref(), &url)?),
        Target::Image(repository) => match &args.recipient {
            Some(recipient) => {
                let inner = Arc::new(backend::registry(&args.way, &repository, None)?);
                Arc::new(Sealed::for_target(inner, recipient.clone()))
            }
            None if args.way.unsealed => {
                let facts = facts::facts(&args.archive)?;
                Arc::new(backend::registry(&args.way, &repository, Some(facts.annotations()))?)
            }
            None => {
                let message = "a checkpoint is all of a process's memory: name with --recipient whom a registry shall keep it for, or say \
                               --unsealed";
                return Err(Error::fatal(ErrorKind::Invalid, message));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart_by_their_form() {
        for path in ["/mnt/checkpoints", "./here", "../there", "."] {
            assert_eq!(Target::parse(path), Target::Directory(path.into()));
        }
        for url in ["https://node-2:9443", "http://10.0.0.2:9443/checkpoint"] {
            assert_eq!(Target::parse(url), Target::Agent(url.into()));
        }
        for image in ["registry.example/checkpoints/orders:m-1", "localhost:5000/orders", "orders"] {
            assert_eq!(Target::parse(image), Target::Image(image.into()));
        }
    }
}
