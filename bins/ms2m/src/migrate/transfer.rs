//! The way from the source to its copy.

use std::path::Path;
use std::sync::Arc;

use ms2m_core::{MigrationId, Result, TransferBackend};
use ms2m_oci::Facts;
use ms2m_transfer_sealed::{Key, Sealed};
use ms2m_transfer_shared_volume::SharedVolume;

use super::args::{MigrateArgs, TransferChoice};
use super::local::{make_private, place};
use crate::backend;

/// The backend that is asked for. clap sees to it that what it needs is there.
pub(super) fn transfer(args: &MigrateArgs, migration: &MigrationId) -> Result<Arc<dyn TransferBackend>> {
    Ok(match args.transfer.unwrap_or(TransferChoice::SharedVolume) {
        TransferChoice::SharedVolume => Arc::new(SharedVolume::new(args.work_dir.join("transfer")).within_one_machine()),
        TransferChoice::Direct => {
            let url = args.agent.as_deref().unwrap_or_default();
            Arc::new(backend::direct(&args.way.credentials, args.way.node.as_deref(), url)?)
        }
        TransferChoice::Registry => {
            let repository = args.repository.as_deref().unwrap_or_default();
            if args.way.unsealed {
                let facts = Facts {
                    container: args.source().to_owned(),
                    engine: Some("ms2m".to_owned()),
                    migration: Some(migration.to_string()),
                    ..Facts::default()
                };
                Arc::new(backend::registry(&args.way, repository, Some(facts.annotations()))?)
            } else {
                let inner = Arc::new(backend::registry(&args.way, repository, None)?);
                Arc::new(Sealed::with_key(inner, key(&place(args, migration))?))
            }
        }
    })
}

/// The migration's own key. It is kept for a driver that goes on after this one, and removed with the migration.
fn key(place: &Path) -> Result<Key> {
    let file = place.join("transfer.key");
    if file.exists() {
        return Key::load(&file);
    }
    make_private(place)?;
    let key = Key::generate();
    key.save(&file)?;
    Ok(key)
}
