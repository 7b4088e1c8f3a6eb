//! After the machine's own crash: only what is still whole is kept.
//!
//! Nothing is synced to the disk while a migration waits for it. A process that is killed takes nothing back of what it has written, and a machine that
//! crashes takes the pod with it that the copy was to be made in. What is left for a sync to protect is a file that has its name and not its bytes, and
//! the name says what the bytes have to be.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ms2m_core::{Digest, Result};

use super::{Store, failed, names};
use crate::wire::PIECE_BYTES;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Store {
    /// Removes what is not what its name says, if the machine was started since this directory was last opened.
    pub(super) fn check_after_boot(&self) -> Result<()> {
        self.check_in_boot(std::fs::read_to_string(BOOT_ID).ok())
    }

    /// `None`: it cannot be told, and everything is looked at.
    fn check_in_boot(&self, boot: Option<String>) -> Result<()> {
        let path = self.options.directory.join(names::LOCK);
        if boot.is_some() && std::fs::read_to_string(&path).ok() == boot {
            return Ok(());
        }
        for stored in self.list()? {
            let file = Path::new(&stored.location);
            let found = digest_of(file, stored.digest)?;
            if found != stored.digest {
                tracing::warn!(migration = %stored.migration, part = %stored.part, expected = %stored.digest, %found, "a checkpoint was damaged when the machine went down, and is removed");
                std::fs::remove_file(file).map_err(failed("removed", file))?;
            }
        }
        std::fs::write(&path, boot.unwrap_or_default()).map_err(failed("written", &path))
    }
}

fn digest_of(path: &Path, like: Digest) -> Result<Digest> {
    let mut file = File::open(path).map_err(failed("read", path))?;
    let (mut hasher, mut piece) = (like.algorithm().hasher(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).map_err(failed("read", path))? {
            0 => return Ok(hasher.finalize()),
            bytes => hasher.update(&piece[..bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use ms2m_core::{DigestAlgorithm, MigrationId, Part};

    use super::super::StoreOptions;
    use super::*;

    #[test]
    fn after_a_boot_only_what_is_whole_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Store::open(StoreOptions { free_bytes_min: 0, ..StoreOptions::new(directory.path()) }).unwrap();
        let migration = MigrationId::new("m-1").unwrap();
        let put = |store: &Store, part, algorithm: DigestAlgorithm| {
            let mut incomplete = store.unnamed(Some(3), algorithm).unwrap();
            incomplete.write(b"abc").unwrap();
            let digest = incomplete.check(None).unwrap();
            store.publish(&migration, part, digest, incomplete).unwrap().stored
        };
        let store = open();
        let whole = put(&store, Part::Round(0), DigestAlgorithm::Sha256);
        let damaged = put(&store, Part::Final, DigestAlgorithm::Blake3);
        // As the file system leaves it whose blocks have not reached the disk.
        std::fs::write(&damaged.location, [0; 3]).unwrap();
        drop(store);
        assert_eq!(open().list().unwrap().len(), 2, "not looked at within one boot");

        let store = open();
        store.check_in_boot(Some("another".into())).unwrap();
        assert_eq!(store.list().unwrap(), [whole]);
        put(&store, Part::Final, DigestAlgorithm::Blake3);
        std::fs::write(&damaged.location, [0; 3]).unwrap();
        store.check_in_boot(Some("another".into())).unwrap();
        assert_eq!(store.list().unwrap().len(), 2);
        store.check_in_boot(None).unwrap();
        assert_eq!(store.list().unwrap().len(), 1, "a machine that does not tell its boots");
    }
}
