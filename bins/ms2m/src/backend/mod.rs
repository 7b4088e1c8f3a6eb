//! From options to a [`TransferBackend`](ms2m_core::TransferBackend).

mod args;

use std::collections::BTreeMap;
use std::path::Path;

use ms2m_core::{Error, ErrorKind, Result};
use ms2m_transfer_direct::{Credentials, DirectTransfer};
use ms2m_transfer_registry::{Registry, RegistryOptions};

pub(crate) use self::args::BackendArgs;

/// To an agent, which shows the certificate of `node`, or of the host in its address.
pub(crate) fn direct(credentials: &Path, node: Option<&str>, url: &str) -> Result<DirectTransfer> {
    let credentials = Credentials::from_directory(credentials);
    match node {
        Some(node) => DirectTransfer::to_node(url, node, credentials),
        None => DirectTransfer::new(url, credentials),
    }
}

/// Through a repository, plain with these annotations, or `None`: for bytes that are sealed.
pub(crate) fn registry(args: &BackendArgs, repository: &str, plain: Option<BTreeMap<String, String>>) -> Result<Registry> {
    let mut options = RegistryOptions {
        ca_pem: args.registry_authority.as_deref().map(read).transpose()?,
        plain_http: args.plain_http,
        ..RegistryOptions::default()
    };
    match plain {
        Some(annotations) => options.annotations = annotations,
        None => options.layer_media_type = ms2m_transfer_sealed::MEDIA_TYPE.into(),
    }
    Registry::new(repository, options)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = "the registry's authority cannot be read; name its file with --registry-authority";
        Error::fatal(ErrorKind::NotFound, message).with("path", path.display()).caused_by(error)
    })
}
