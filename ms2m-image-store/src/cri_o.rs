//! [`CriO`]: the store that CRI-O shares with podman and buildah, by `skopeo`.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use ms2m_oci::{LayoutName, PackOptions, pack};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::ImageStore;
use crate::archive::{Archive, died};
use crate::name::application_image_name;
use crate::tool::{Tool, said};

const SKOPEO: Tool = Tool {
    program: "skopeo",
    install: "skopeo is not here; install it where this runs, or use no image store",
    remedy: "the store of CRI-O cannot be used; is the storage the right one, and does this run as root of the node?",
};

/// Which storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CriOOptions {
    /// `DRIVER@ROOT+RUNROOT`, as skopeo writes it, if it is not the one of the system's `storage.conf`.
    pub storage: Option<String>,
    /// A directory on the file system of the archives, for this store alone: there the archive is linked to, and everything else is removed.
    pub scratch: PathBuf,
    /// For an archive to become an image.
    pub within: Duration,
}

/// The store of CRI-O. `skopeo` reads a layout in which the archive is a link, where the file system can link.
#[derive(Debug)]
pub struct CriO {
    options: CriOOptions,
    one: Mutex<()>,
}

impl CriO {
    /// Of these options. Removes what an earlier process has left in the scratch directory.
    ///
    /// # Errors
    /// When that directory cannot be made.
    pub fn new(options: CriOOptions) -> Result<Self> {
        let scratch = &options.scratch;
        let failed = |error| {
            let message = "the directory for layouts cannot be made; give one on the file system of the archives";
            Error::fatal(ErrorKind::Other, message).with("path", scratch.display()).caused_by(error)
        };
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(scratch).map_err(failed)?;
        Ok(Self { options, one: Mutex::default() })
    }

    fn reference(&self, name: &str) -> String {
        let storage = self.options.storage.as_ref().map_or(String::new(), |storage| format!("[{storage}]"));
        format!("containers-storage:{storage}{name}")
    }

    /// It stands for bytes that were checked when they arrived: there is no signature to look for.
    fn skopeo() -> Command {
        let mut command = SKOPEO.command();
        command.arg("--insecure-policy");
        command
    }

    async fn holds(&self, name: &str) -> Result<bool> {
        let mut inspect = Self::skopeo();
        let child = SKOPEO.start(inspect.args(["inspect", "--raw", &self.reference(name)]))?;
        Ok(SKOPEO.end(child, self.options.within).await?.status.success())
    }

    /// A layout of the archive, gone when dropped.
    async fn layout(&self, archive: &Archive) -> Result<(TempDir, String)> {
        let (scratch, archive) = (self.options.scratch.clone(), archive.clone());
        let packed = tokio::task::spawn_blocking(move || {
            let failed = |error| Error::undo(ErrorKind::Other, "no layout can be made").with("path", scratch.display()).caused_by(error);
            let directory = tempfile::tempdir_in(&scratch).map_err(failed)?;
            let name = LayoutName { directory: directory.path().join("layout"), tag: Some(archive.tag.clone()) };
            let packed = pack(&archive.path, &name, &archive.facts, &PackOptions::default(), &mut |_| ControlFlow::Continue(()))?;
            if packed.image == archive.image {
                return Ok((directory, name.to_string()));
            }
            let message = "the archive is not what has arrived; the disk may be broken: send it again";
            Err(Error::undo(ErrorKind::Corrupt, message)
                .with("expected", archive.image.layer.digest)
                .with("found", packed.image.layer.digest))
        });
        packed.await.map_err(died)?
    }
}

#[async_trait]
impl ImageStore for CriO {
    fn name(&self) -> &'static str {
        "cri-o"
    }

    async fn check(&self) -> Result<()> {
        SKOPEO.run(SKOPEO.command().arg("--version"), self.options.within).await.map(drop)
    }

    async fn load(&self, archive: &Archive) -> Result<()> {
        let name = archive.image_name();
        let _one = self.one.lock().await;
        if self.holds(name).await? {
            return Ok(());
        }
        let (_directory, layout) = self.layout(archive).await?;
        let mut copy = Self::skopeo();
        copy.args(["copy", "--quiet", &layout, &self.reference(name)]);
        SKOPEO.run(&mut copy, self.options.within).await.map(drop).map_err(|error| error.with("image", name))
    }

    async fn resolve(&self, reference: &str) -> Result<()> {
        if self.holds(reference).await? {
            return Ok(());
        }
        let mut copy = Self::skopeo();
        copy.args(["copy", "--quiet", &format!("docker://{reference}"), &self.reference(reference)]);
        SKOPEO.run(&mut copy, self.options.within).await.map(drop).map_err(|error| error.with("image", reference))
    }

    async fn keep(&self, reference: &str, migration: &MigrationId) -> Result<()> {
        self.tag(reference, &application_image_name(migration)).await
    }

    async fn tag(&self, from: &str, name: &str) -> Result<()> {
        let _one = self.one.lock().await;
        let mut copy = Self::skopeo();
        copy.args(["copy", "--quiet", &self.reference(from), &self.reference(name)]);
        SKOPEO.run(&mut copy, self.options.within).await.map(drop).map_err(|error| error.with("image", name))
    }

    async fn remove(&self, name: &str) -> Result<()> {
        // What is just being loaded goes afterwards.
        let _one = self.one.lock().await;
        if !self.holds(name).await? {
            return Ok(());
        }
        let mut delete = Self::skopeo();
        let child = SKOPEO.start(delete.args(["delete", &self.reference(name)]))?;
        let output = SKOPEO.end(child, self.options.within).await?;
        if !output.status.success() && said(&output).contains("in use by") {
            tracing::warn!(image = name, "a container uses the image: it stays until the runtime removes it");
            return Ok(());
        }
        SKOPEO.good(&output).map(drop).map_err(|error| error.with("image", name))
    }
}
