//! The ways on which checkpoints leave this node, and come to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ms2m_core::{Error, ErrorKind, Result, TransferBackend};
use ms2m_remote::Way;
use ms2m_transfer_direct::{Agent, Credentials, DirectTransfer};
use ms2m_transfer_registry::{Registry, RegistryOptions};
use ms2m_transfer_sealed::{Key, Sealed};
use ms2m_transfer_shared_volume::SharedVolume;

use super::args::WayArgs;

#[derive(Debug)]
pub(super) struct Ways {
    agent: Agent,
    credentials: Credentials,
    args: WayArgs,
    /// What is encrypted for this node, this opens.
    key: Key,
}

impl Ways {
    pub(super) fn open(args: &WayArgs, work_dir: &Path, agent: Agent, credentials: Credentials) -> Result<Self> {
        let file = work_dir.join("transfer.key");
        let key = match Key::load(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = Key::generate();
                key.save(&file)?;
                key
            }
            known => known?,
        };
        Ok(Self { agent, credentials, args: args.clone(), key })
    }

    pub(super) fn recipient(&self) -> String {
        self.key.recipient().to_string()
    }

    /// From here to a target.
    pub(super) fn to(&self, way: &Way) -> Result<Arc<dyn TransferBackend>> {
        match way {
            Way::Direct { url, node } => Ok(Arc::new(DirectTransfer::to_node(url, node, self.credentials.clone())?)),
            Way::Registry { repository, recipient } => {
                let recipient = recipient.parse().map_err(|_| Error::fatal(ErrorKind::Invalid, "the target's public key is none"))?;
                Ok(Arc::new(Sealed::for_target(self.registry(repository)?, recipient)))
            }
            Way::SharedVolume => self.volume(),
            _ => Err(unknown()),
        }
    }

    /// What has come here.
    pub(super) fn from(&self, way: &Way) -> Result<Arc<dyn TransferBackend>> {
        match way {
            Way::Direct { .. } => Ok(Arc::new(self.agent.here())),
            Way::Registry { repository, .. } => Ok(Arc::new(Sealed::with_key(self.registry(repository)?, self.key.clone()))),
            Way::SharedVolume => self.volume(),
            _ => Err(unknown()),
        }
    }

    fn registry(&self, repository: &str) -> Result<Arc<Registry>> {
        let ca_pem = self.args.registry_authority.as_ref().map(read).transpose()?;
        let (plain_http, layer_media_type) = (self.args.registry_plain_http, ms2m_transfer_sealed::MEDIA_TYPE.to_owned());
        Ok(Arc::new(Registry::new(repository, RegistryOptions { ca_pem, plain_http, layer_media_type, ..RegistryOptions::default() })?))
    }

    fn volume(&self) -> Result<Arc<dyn TransferBackend>> {
        let directory = self.args.shared_volume.as_ref().ok_or_else(|| {
            let message = "the agent of this node knows no shared volume; name its directory with --shared-volume, on all nodes, or choose another \
                           transferMode";
            Error::fatal(ErrorKind::Unsupported, message)
        })?;
        Ok(Arc::new(SharedVolume::new(directory)))
    }
}

fn unknown() -> Error {
    let message = "this agent does not know the way that the controller names; use programs of the same release on all nodes";
    Error::fatal(ErrorKind::Unsupported, message)
}

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = "the registry's authority cannot be read; name its file with --registry-authority";
        Error::fatal(ErrorKind::NotFound, message).with("path", path.display()).caused_by(error)
    })
}
