//! What a copy is made from, known before any checkpoint exists.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde::{Deserialize, Serialize};

use super::network::Network;
use crate::runtime::{Container, External};

/// Where the copy's root file system comes from. What the source has written arrives with the checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseRootfs {
    /// Directories of an image, topmost first; the copy writes into a layer of its own.
    Layers(Vec<PathBuf>),
    /// A directory to copy.
    CopyOf(PathBuf),
}

/// One container to make.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Template {
    /// Its name within the checkpoint.
    pub name: String,
    /// Its configuration. Name, cgroup, annotations and host name become the copy's.
    pub spec: Spec,
    /// Its base.
    pub rootfs: BaseRootfs,
    /// Mounts to prepare for it.
    pub externals: Vec<External>,
    /// The file in the container from which the application learns which instance it is.
    pub identity_file: PathBuf,
    /// Its network, the same for all containers of a copy.
    #[serde(default)]
    pub network: Network,
}

/// Which instance it is, unless the application looks elsewhere. Not the kernel's host name: that one is part of a checkpoint.
pub const IDENTITY_FILE: &str = "/etc/hostname";

impl Template {
    /// A copy alike to a running container of this machine.
    ///
    /// # Errors
    /// When its mounts cannot be read, or are such that nothing can be derived from them.
    pub fn of(name: &str, container: &Container) -> Result<Self> {
        let rootfs = match container.layers()? {
            Some(layers) => BaseRootfs::Layers(layers.lower),
            None => BaseRootfs::CopyOf(container.rootfs().to_owned()),
        };
        if let BaseRootfs::Layers(layers) = &rootfs
            && let Some(relative) = layers.iter().find(|layer| layer.is_relative())
        {
            let message = "the container's image layers are mounted by relative names; name a prepared bundle for the copy instead";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("layer", relative.display()));
        }
        Ok(Self {
            name: name.to_owned(),
            spec: container.spec().clone(),
            rootfs,
            externals: container.externals()?,
            identity_file: PathBuf::from(IDENTITY_FILE),
            network: Network::AsConfigured,
        })
    }

    /// Copies alike to running containers that move together, each with its name within the checkpoint. Those that share a network
    /// namespace get one of their own.
    ///
    /// # Errors
    /// As [`of`](Self::of); [`ErrorKind::Unsupported`] when some of them share a network and some do not.
    pub fn together(containers: &[(String, &Container)]) -> Result<Vec<Self>> {
        let mut templates = containers.iter().map(|(name, container)| Self::of(name, container)).collect::<Result<Vec<_>>>()?;
        if templates.len() > 1 && Container::share_network(containers.iter().map(|(_, container)| *container))? {
            templates.iter_mut().for_each(|template| template.network = Network::Own);
        }
        Ok(templates)
    }

    /// Whether its host name is its own to change.
    pub(super) fn has_own_hostname(&self) -> bool {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|list| list.iter().any(|one| one.typ() == LinuxNamespaceType::Uts && one.path().is_none()))
    }

    /// With another identity file.
    #[must_use]
    pub fn with_identity_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.identity_file = file.into();
        self
    }

    /// In a network namespace that was prepared for the copy.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the source has neither joined one nor shares one: CRIU then restores what it has dumped.
    pub fn with_network(mut self, namespace: impl Into<PathBuf>) -> Result<Self> {
        let namespaces = self.spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let joined = namespaces.is_some_and(|list| list.iter().any(|one| one.typ() == LinuxNamespaceType::Network && one.path().is_some()));
        if !joined && self.network == Network::AsConfigured {
            let message = "only the copy of a container that has joined a network namespace by its file can be put into another one";
            return Err(Error::fatal(ErrorKind::Unsupported, message).with("container", &self.name));
        }
        self.network = Network::At(namespace.into());
        Ok(self)
    }

    /// From a bundle that was prepared by hand: its configuration, and its root file system as the base.
    ///
    /// # Errors
    /// When it holds no readable configuration.
    pub fn with_bundle(mut self, bundle: &Path) -> Result<Self> {
        let file = bundle.join("config.json");
        self.spec = Spec::load(&file).map_err(|error| {
            let message = "the bundle for the copy has no readable configuration";
            Error::fatal(ErrorKind::Invalid, message).with("file", file.display()).caused_by(error)
        })?;
        let root = self.spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path());
        self.rootfs = BaseRootfs::CopyOf(bundle.join(root));
        Ok(self)
    }
}
