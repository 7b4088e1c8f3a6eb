//! The target's side of a transfer through a registry.

use std::sync::Arc;

use anyhow::Result;
use futures_util::StreamExt as _;
use ms2m_core::{Receipt, TransferBackend};
use ms2m_transfer_registry::{Credentials, Registry, RegistryOptions};
use ms2m_transfer_sealed::{Key, Sealed};

use crate::args::Pull;

/// Reads all of a part; its digest is checked on the way.
pub(crate) fn run(pull: &Pull) -> Result<()> {
    let receipt: Receipt = serde_json::from_str(&pull.receipt)?;
    let options = RegistryOptions { plain_http: true, credentials: Credentials::Anonymous, ..RegistryOptions::default() };
    let registry = Arc::new(Registry::new(&pull.repository, options)?);
    let backend: Arc<dyn TransferBackend> = match &pull.key {
        Some(key) => Arc::new(Sealed::with_key(registry, Key::load(key)?)),
        None => registry,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stream = backend.open(&receipt, 0).await?;
        while let Some(piece) = stream.next().await {
            std::hint::black_box(piece?);
        }
        Ok(())
    })
}
