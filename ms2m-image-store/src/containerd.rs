//! [`Containerd`]: its store, by `ctr`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use ms2m_core::{Error, ErrorKind, MigrationId, Result};
use ms2m_oci::{OciError, stream};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

use crate::ImageStore;
use crate::again::{self, Again};
use crate::archive::{Archive, died};
use crate::name::{APPLICATIONS, ARRIVALS, COPIES, application_image_name, arrival_image_name};
use crate::tool::Tool;

const CTR: Tool = Tool {
    program: "ctr",
    install: "ctr, which comes with containerd, is not here; install it where this runs, or use no image store",
    remedy: "containerd's store cannot be used; does containerd run, is its socket the right one, and may this process use it?",
};

/// The label of images that kubelet does not remove when it needs room.
const PINNED: &str = "io.cri-containerd.pinned=pinned";

/// Which containerd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerdOptions {
    /// Its socket.
    pub socket: PathBuf,
    /// The namespace of its images; Kubernetes looks into `k8s.io`.
    pub namespace: String,
    /// Where images are unpacked, if not containerd's own choice: what its CRI uses.
    pub snapshotter: Option<String>,
    /// For an archive to become an image.
    pub within: Duration,
}

impl Default for ContainerdOptions {
    /// The socket, namespace and snapshotter of Kubernetes, and ten minutes.
    fn default() -> Self {
        Self {
            socket: "/run/containerd/containerd.sock".into(),
            namespace: "k8s.io".into(),
            snapshotter: None,
            within: Duration::from_secs(600),
        }
    }
}

/// containerd's store. The archive goes through a pipe into `ctr images import`: what is on the disk beside it is containerd's own copy, and
/// what that is unpacked to.
#[derive(Debug)]
pub struct Containerd {
    options: ContainerdOptions,
    /// One at a time: who comes second finds what the first has done.
    one: Mutex<()>,
    knows_local: OnceCell<bool>,
}

impl Containerd {
    /// Of these options.
    #[must_use]
    pub fn new(options: ContainerdOptions) -> Self {
        Self { options, one: Mutex::default(), knows_local: OnceCell::new() }
    }

    fn ctr(&self) -> Command {
        let mut command = CTR.command();
        command.arg("--address").arg(&self.options.socket).arg("--namespace").arg(&self.options.namespace);
        command
    }

    async fn holds(&self, name: &str) -> Result<bool> {
        let mut list = self.ctr();
        list.args(["images", "list", "--quiet", &format!("name=={name}")]);
        Ok(CTR.run(&mut list, self.options.within).await?.lines().any(|line| line == name))
    }

    /// ctr 2 has containerd import by itself, through its transfer service, unless told to do the work. That takes nearly twice as long: 1.9
    /// instead of 1.1 s for 67 MB. ctr 1 knows the other way only.
    async fn knows_local(&self) -> Result<bool> {
        let ask = || async {
            let mut help = CTR.command();
            Ok(CTR.run(help.args(["images", "import", "--help"]), self.options.within).await?.contains("--local"))
        };
        self.knows_local.get_or_try_init(ask).await.copied()
    }

    async fn take_out(&self, name: &str) -> Result<()> {
        // Synchronously: afterwards the bytes are gone, too. One that is not there is not missed.
        let mut remove = self.ctr();
        CTR.run(remove.args(["images", "remove", "--sync", name]), self.options.within).await.map(drop)
    }

    async fn name_again(&self, from: &str, name: &str) -> Result<()> {
        let mut tag = self.ctr();
        CTR.run(tag.args(["images", "tag", "--force", from, name]), self.options.within).await.map(drop)
    }

    async fn import_archive(&self, archive: &Archive, repository: &str) -> Result<()> {
        let failed =
            |error| Error::undo(ErrorKind::Other, "the archive cannot be read").with("path", archive.path.display()).caused_by(error);
        let layer = File::open(&archive.path).map_err(failed)?;
        let (image, facts, tag) = (archive.image.clone(), archive.facts.clone(), archive.tag.clone());
        let written = self.import(repository, move |to| stream(&image, &facts, &tag, layer, to).map(drop)).await?;
        match written {
            // It has not read the padding behind the end.
            Err(OciError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    async fn import_or_nothing(&self, archive: &Archive, repository: &str, name: &str) -> Result<()> {
        let Err(error) = self.import_archive(archive, repository).await else { return Ok(()) };
        // It may have got its name before it failed to be unpacked.
        if let Err(left) = self.take_out(name).await {
            tracing::warn!(image = name, %left, "an image that could not be loaded may be left in containerd's store");
        }
        Err(error.with("image", name))
    }

    /// It gets its name when containers can be made of it. What the name means already may be an attempt before this one, so it is not looked for; who
    /// loads it asks the runtime, which is what counts and quicker.
    async fn load_copy(&self, archive: &Archive) -> Result<()> {
        let arrival = arrival_image_name(&archive.tag);
        self.import_or_nothing(archive, ARRIVALS, &arrival).await?;
        let named = self.name_again(&arrival, archive.image_name()).await;
        // Its content stays as long as it has another name.
        let mut remove = self.ctr();
        CTR.run(remove.args(["images", "remove", &arrival]), self.options.within).await?;
        named
    }

    /// Has `write` write the tar of a layout, which is read as images of this repository. What comes of the writing counts when the reader is content.
    async fn import<E: Send + 'static>(
        &self,
        repository: &str,
        write: impl FnOnce(io::PipeWriter) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<(), E>> {
        let failed = |error| Error::undo(ErrorKind::Other, "there is no pipe to be had").caused_by(error);
        let (from, to) = io::pipe().map_err(failed)?;
        let mut import = self.ctr();
        import.args(["images", "import", "--base-name", repository]);
        if self.knows_local().await? {
            import.arg("--local");
        }
        if let Some(snapshotter) = &self.options.snapshotter {
            import.args(["--snapshotter", snapshotter]);
        }
        let child = CTR.start(import.arg("-").stdin(Stdio::from(OwnedFd::from(from))))?;
        // The command holds the pipe's other end, and the writer would wait for a reader that is only itself.
        drop(import);
        let written = tokio::task::spawn_blocking(move || write(to));
        // When it ends early, the writer's pipe is broken.
        let ended = CTR.end(child, self.options.within).await;
        let written = written.await.map_err(died)?;
        CTR.good(&ended?)?;
        Ok(written)
    }

    /// A document of an image that is here.
    async fn document(&self, digest: &str) -> Result<Value> {
        let mut get = self.ctr();
        again::document(&CTR.run(get.args(["content", "get", digest]), self.options.within).await?)
    }
}

#[async_trait]
impl ImageStore for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    async fn check(&self) -> Result<()> {
        CTR.run(CTR.command().arg("--version"), self.options.within).await.map(drop)
    }

    async fn load(&self, archive: &Archive) -> Result<()> {
        let _one = self.one.lock().await;
        if archive.repository == COPIES {
            return self.load_copy(archive).await;
        }
        let name = archive.image_name();
        if self.holds(name).await? {
            return Ok(());
        }
        self.import_or_nothing(archive, archive.repository, name).await?;
        if self.holds(name).await? {
            return Ok(());
        }
        let message = "ctr has imported the image under another name; use a containerd whose ctr knows --base-name";
        Err(Error::undo(ErrorKind::Unsupported, message).with("image", name))
    }

    async fn resolve(&self, reference: &str) -> Result<()> {
        let mut pull = self.ctr();
        pull.args(["images", "pull"]);
        if let Some(snapshotter) = &self.options.snapshotter {
            pull.args(["--snapshotter", snapshotter]);
        }
        let pulled = CTR.run(pull.arg(reference), self.options.within).await;
        pulled.map(drop).map_err(|error| {
            let message = "containerd asks the registry for the application's image when it restores, over HTTPS, with the system's authorities and \
                           without a login, and does not get it; let the node reach it in this way, or write restoreDriver: Runtime";
            Error::undo(ErrorKind::Unsupported, message).with("image", reference).caused_by(error)
        })
    }

    async fn keep(&self, reference: &str, migration: &MigrationId) -> Result<()> {
        let name = application_image_name(migration);
        let _one = self.one.lock().await;
        if self.holds(&name).await? {
            return Ok(());
        }
        let mut manifest = self.document(again::digest_of(reference)?).await?;
        if let Some(digest) = again::for_this_machine(&manifest)? {
            manifest = self.document(&digest).await?;
        }
        let config = self.document(again::config_of(&manifest)?).await?;
        let (again, tag) = (Again::of(manifest, config, migration), migration.to_string());
        let written = self.import(APPLICATIONS, move |to| again.write(&tag, to)).await?;
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(Error::undo(ErrorKind::Other, "the application's image cannot be kept").with("image", name).caused_by(error));
            }
            _ => {}
        }
        let mut label = self.ctr();
        CTR.run(label.args(["images", "label", &name, PINNED]), self.options.within).await.map(drop)
    }

    async fn tag(&self, from: &str, name: &str) -> Result<()> {
        let _one = self.one.lock().await;
        self.name_again(from, name).await
    }

    async fn remove(&self, name: &str) -> Result<()> {
        // What is just being loaded goes afterwards.
        let _one = self.one.lock().await;
        self.take_out(name).await
    }
}
