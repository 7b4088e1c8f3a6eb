//! What has arrived: unpacked, checked, and put together from its parts.

use std::path::{Path, PathBuf};

use ms2m_core::{Error, ErrorKind, MigrationId, Part, Receipt, Result, TransferBackend};

use super::bundle::{io, remove_directory};
use super::{check, record};
use crate::archive::{ContainerManifest, Limits, MANIFEST, Manifest, extract_stream, image_directory};
use crate::runtime::descriptors;
use crate::{facts, reserve};

/// What one container is restored from.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// `containers/NAME` of the checkpoint.
    pub(crate) directory: PathBuf,
    pub(crate) manifest: ContainerManifest,
}

impl Arrived {
    pub(crate) fn images(&self) -> PathBuf {
        self.directory.join("checkpoint")
    }
}

/// Where the parts of one migration arrive.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) directory: PathBuf,
    /// Those of this boot: nothing here is synced to the disk, so after a crash of the machine they are unpacked again.
    unpacked: PathBuf,
}

impl Arrivals {
    pub(crate) fn of(work_dir: &Path, migration: &MigrationId) -> Self {
        let directory = record::directory(work_dir, migration).join("arrived");
        Self { unpacked: directory.join(facts::boot().as_deref().unwrap_or("unpacked")), directory }
    }

    fn place(&self, part: Part) -> PathBuf {
        self.unpacked.join(part.to_string())
    }

    /// Unpacks a round, and keeps memory at hand for what is restored from it.
    pub(crate) async fn stage(&self, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<()> {
        self.unpack(receipt, transfer).await?;
        if receipt.part == Part::Round(1) {
            reserve::hold(&self.directory, receipt.archive_bytes).await;
        }
        Ok(())
    }

    /// When a round of a container has arrived: a directory for the images of a runtime that is started before the final part has come, and what the standard
    /// streams are at the source.
    pub(crate) fn ahead(&self, container: &str) -> Result<Option<(PathBuf, Vec<String>)>> {
        let first = Part::Round(1);
        let round = self.place(first).join("containers").join(container).join(image_directory(first));
        let Some(descriptors) = descriptors::read(&round) else { return Ok(None) };
        let images = self.unpacked.join("ahead").join(container);
        // One that was made before may be open already, and stays.
        std::fs::create_dir_all(&images).map_err(io("the directory", &images))?;
        Ok(Some((images, descriptors)))
    }

    /// Unpacks one part, unless that was done before.
    async fn unpack(&self, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<Manifest> {
        let target = self.place(receipt.part);
        if let Ok(json) = std::fs::read(target.join(MANIFEST)) {
            return Ok(Manifest::parse(&json)?);
        }
        std::fs::create_dir_all(&self.unpacked).map_err(io("the directory", &target))?;
        // It gets its name when it is complete: a driver before this one may have been killed half way.
        let partial = target.with_extension("partial");
        remove_directory(&partial)?;
        let extracted = extract_stream(transfer.open(receipt, 0).await?, &partial, &Limits::default()).await?;
        let manifest = extracted.manifest.ok_or_else(|| Error::fatal(ErrorKind::Corrupt, "what has arrived has no manifest"))?;
        std::fs::rename(&partial, &target).map_err(io("the directory", &target))?;
        Ok(manifest)
    }

    /// The final part with the rounds that it builds on beside it: what each of these containers is restored from.
    pub(crate) async fn gather(
        &self,
        receipts: &[Receipt],
        transfer: &dyn TransferBackend,
        machine: &check::Machine<'_>,
        names: &[&str],
    ) -> Result<Vec<Arrived>> {
        let Some((last, rounds)) = receipts.split_last() else {
            return Err(Error::fatal(ErrorKind::Invalid, "there is nothing to restore from"));
        };
        reserve::release(&self.directory);
        let manifest = self.unpack(last, transfer).await?;
        let place = |part: Part, name: &str| self.place(part).join("containers").join(name);
        for round in rounds {
            let part = self.unpack(round, transfer).await?;
            let Part::Round(number) = round.part else { continue };
            for container in &part.containers {
                let images = format!("pre-{number}");
                let (from, to) = (place(round.part, &container.name).join(&images), place(last.part, &container.name).join(&images));
                match std::fs::rename(&from, &to) {
                    // Moved by a call before this one.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound && to.exists() => {}
                    moved => moved.map_err(io("the pre-dump round", &from))?,
                }
            }
        }
        check::manifest(&manifest, machine, names)?;
        let find = |name: &&str| {
            let found = manifest.containers.iter().find(|container| container.name == **name);
            let missing = || Error::fatal(ErrorKind::Unsupported, format!("the checkpoint holds no container `{name}`"));
            found.map(|manifest| Arrived { directory: place(last.part, &manifest.name), manifest: manifest.clone() }).ok_or_else(missing)
        };
        let arrived = names.iter().map(find).collect::<Result<Vec<_>>>()?;
        arrived.iter().try_for_each(|arrived| check::images(&arrived.images()))?;
        Ok(arrived)
    }
}
