//! [`LocalTarget`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join;
use ms2m_core::{
    CopyStatus, Error, ErrorKind, InstanceId, MigrationId, Part, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend,
};
use tokio::sync::OnceCell;

use super::bundle::{Bundle, remove_directory};
use super::cgroup::Cgroup;
use super::record::{self, Record};
use super::restore::{self, Arrived};
use super::template::Template;
use super::{check, hostname, mount, surroundings};
use crate::archive::{ContainerManifest, Limits, Manifest, extract_stream};
use crate::criu::{Criu, Version, temporary};
use crate::runtime::{ContainerStatus, Process, Runtime};

/// How long processes that were killed may take to end.
const END: Duration = Duration::from_secs(20);

/// Makes copies as containers of a runtime on this machine.
#[derive(Clone, Debug)]
pub struct LocalTarget {
    runtime: Runtime,
    work_dir: PathBuf,
    templates: Vec<Template>,
    criu: Arc<OnceCell<Version>>,
}

impl LocalTarget {
    /// Copies made from `templates`, one for each container of the checkpoint, below `work_dir`.
    #[must_use]
    pub fn new(runtime: Runtime, work_dir: impl Into<PathBuf>, templates: Vec<Template>) -> Self {
        Self { runtime, work_dir: work_dir.into(), templates, criu: Arc::default() }
    }

    /// The container that this part of a copy becomes.
    fn container(&self, copy: &InstanceId, template: &Template) -> String {
        if self.templates.len() == 1 { copy.to_string() } else { format!("{copy}-{}", template.name) }
    }

    fn bundles(&self, copy: &InstanceId) -> Vec<(Bundle, &Template)> {
        let bundle = |template| (Bundle::new(&self.work_dir, &self.container(copy, template)), template);
        self.templates.iter().map(bundle).collect()
    }

    fn arrivals(&self, migration: &MigrationId) -> PathBuf {
        record::directory(&self.work_dir, migration).join("arrived")
    }

    async fn is_running(&self, container: &str) -> Result<bool> {
        let Some(state) = self.runtime.state(container).await? else { return Ok(false) };
        let alive = Process::open(state.pid)?.is_some_and(|process| process.is_alive().unwrap_or(true));
        Ok(alive && state.status != ContainerStatus::Stopped)
    }

    async fn unpack(&self, migration: &MigrationId, receipt: &Receipt, transfer: &dyn TransferBackend) -> Result<Manifest> {
        let target = self.arrivals(migration).join(receipt.part.to_string());
        let manifest = target.join(crate::archive::MANIFEST);
        if let Ok(json) = std::fs::read(&manifest) {
            return Ok(Manifest::parse(&json)?);
        }
        std::fs::create_dir_all(self.arrivals(migration)).map_err(super::bundle::io("the directory", &target))?;
        // It gets its name when it is complete: a driver before this one may have been killed half way.
        let partial = target.with_extension("partial");
        remove_directory(&partial)?;
        let extracted = extract_stream(transfer.open(receipt, 0).await?, &partial, &Limits::default()).await?;
        let manifest = extracted.manifest.ok_or_else(|| Error::fatal(ErrorKind::Corrupt, "what has arrived has no manifest"))?;
        std::fs::rename(&partial, &target).map_err(super::bundle::io("the directory", &target))?;
        Ok(manifest)
    }

    /// The final part with the rounds that it builds on beside it.
    async fn gather(&self, job: &RestoreJob, receipts: &[Receipt], transfer: &dyn TransferBackend) -> Result<Vec<Arrived>> {
        let Some((last, rounds)) = receipts.split_last() else {
            return Err(Error::fatal(ErrorKind::Invalid, "there is nothing to restore from"));
        };
        let arrivals = self.arrivals(&job.migration);
        let manifest = self.unpack(&job.migration, last, transfer).await?;
        let place = |part: Part, name: &str| arrivals.join(part.to_string()).join("containers").join(name);
        for round in rounds {
            let part = self.unpack(&job.migration, round, transfer).await?;
            let Part::Round(number) = round.part else { continue };
            for container in &part.containers {
                let images = format!("pre-{number}");
                let (from, to) = (place(round.part, &container.name).join(&images), place(last.part, &container.name).join(&images));
                match std::fs::rename(&from, &to) {
                    // Moved by a call before this one.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound && to.exists() => {}
                    moved => moved.map_err(super::bundle::io("the pre-dump round", &from))?,
                }
            }
        }
        self.check(&manifest).await?;
        let arrived = |manifest: ContainerManifest| Arrived { directory: place(last.part, &manifest.name), manifest };
        let arrived: Vec<_> = manifest.containers.into_iter().map(arrived).collect();
        arrived.iter().try_for_each(|arrived| check::images(&arrived.images()))?;
        Ok(arrived)
    }

    async fn check(&self, manifest: &Manifest) -> Result<()> {
        let features = crate::facts::cpu_features();
        let (flavor, criu) = (self.runtime.flavor(), self.criu().await?);
        let machine = check::Machine { flavor, criu, architecture: std::env::consts::ARCH, cpu_features: &features };
        check::manifest(manifest, &machine, &self.templates)
    }

    /// The CRIU that the runtime will use.
    async fn criu(&self) -> Result<&Version> {
        Ok(self.criu.get_or_try_init(|| async { Criu::default().version().await }).await?)
    }

    /// Whether every container of the copy runs, and nobody is making it any more.
    async fn is_complete(&self, copy: &InstanceId) -> Result<bool> {
        for (bundle, _) in self.bundles(copy) {
            let making = !Cgroup::named(&restore::launch_cgroup(&bundle.id)).processes()?.is_empty();
            if making || !self.is_running(&bundle.id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is left to do for a copy that runs.
    async fn settle(&self, copy: &InstanceId) -> Result<()> {
        for (bundle, template) in self.bundles(copy) {
            if let (Some(state), true) = (self.runtime.state(&bundle.id).await?, template.has_own_hostname()) {
                hostname::set(state.pid, copy.as_str())?;
            }
            // The copy has its own hold on what was mounted for it.
            mount::detach_below(&bundle.mounts())?;
        }
        Ok(())
    }

    /// Kills what there is of a copy, for certain: first whoever might still be making it, then what was made.
    async fn end(&self, copy: &InstanceId) -> Result<()> {
        for (bundle, _) in self.bundles(copy) {
            self.end_one(&bundle).await?;
        }
        Ok(())
    }

    async fn end_one(&self, bundle: &Bundle) -> Result<()> {
        Cgroup::named(&restore::launch_cgroup(&bundle.id)).kill(END).await?;
        Cgroup::named(&bundle.id).kill(END).await?;
        self.runtime.remove(&bundle.id).await?;
        self.runtime.forget(&bundle.id)?;
        temporary::remove_abandoned();
        Ok(())
    }

    /// Kills what there is of a copy, for certain, and removes what was made for it.
    async fn remove(&self, bundle: &Bundle) -> Result<()> {
        self.end_one(bundle).await?;
        Cgroup::named(&restore::launch_cgroup(&bundle.id)).remove()?;
        Cgroup::named(&bundle.id).remove()?;
        bundle.remove()
    }
}

#[async_trait]
impl RestoreTarget for LocalTarget {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn prepare(&self, job: &RestoreJob) -> Result<()> {
        let bundles = self.bundles(&job.copy);
        // Before anything is on record: what is there is not ours to discard.
        for (bundle, _) in &bundles {
            if self.runtime.state(&bundle.id).await?.is_some() {
                let message = "there is a container of the copy's name already; choose another name for the copy";
                return Err(Error::fatal(ErrorKind::AlreadyExists, message).with("container", &bundle.id));
            }
        }
        let containers = bundles.iter().map(|(bundle, _)| bundle.id.clone()).collect();
        Record { copy: job.copy.clone(), containers, promoted: false }.store(&self.work_dir, &job.migration)?;
        let bundles: Vec<_> = bundles.into_iter().map(|(bundle, template)| (bundle, template.clone())).collect();
        let prepared = blocking(move || bundles.iter().try_for_each(|(bundle, template)| prepare(bundle, template)));
        // Asked meanwhile: it is wanted once the checkpoint is there.
        if let Err(error) = try_join(prepared, self.criu()).await {
            self.discard(&job.migration).await?;
            return Err(error);
        }
        Ok(())
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.unpack(&job.migration, receipt, &*transfer).await.map(drop)
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        if self.is_complete(&job.copy).await? {
            self.settle(&job.copy).await?;
            return Ok(Restored { copy: job.copy.clone(), restore: Duration::ZERO });
        }
        // Whoever was at it when the driver before this one ended.
        self.end(&job.copy).await?;
        let arrived = self.gather(job, receipts, &*transfer).await?;
        let left = || job.deadline.saturating_sub(begun.elapsed());
        for (bundle, template) in self.bundles(&job.copy) {
            let Some(arrived) = arrived.iter().find(|arrived| arrived.manifest.name == template.name).cloned() else { continue };
            let (place, wanted, files) = (bundle.clone(), template.clone(), arrived.clone());
            let restored = async {
                blocking(move || restore::furnish(&place, &wanted, &files)).await?;
                restore::restore(&self.runtime, &bundle, &arrived, left()).await?;
                // crun puts only the first process into the container's cgroup.
                Cgroup::named(&bundle.id).adopt(&Cgroup::named(&restore::launch_cgroup(&bundle.id)))
            };
            if let Err(error) = restored.await {
                // No half-made copy may live on.
                self.end(&job.copy).await?;
                return Err(error);
            }
        }
        let restore = begun.elapsed();
        self.settle(&job.copy).await?;
        Ok(Restored { copy: job.copy.clone(), restore })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let Some(record) = Record::load(&self.work_dir, migration)? else { return Ok(CopyStatus::Gone) };
        for container in &record.containers {
            // In this order: the runtime need not be asked again and again.
            if Cgroup::named(container).processes()?.is_empty() && !self.is_running(container).await? {
                return Ok(CopyStatus::Gone);
            }
        }
        Ok(CopyStatus::Present)
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        let Some(mut record) = Record::load(&self.work_dir, migration)? else { return Ok(()) };
        record.promoted = true;
        record.store(&self.work_dir, migration)?;
        for container in &record.containers {
            Cgroup::named(&restore::launch_cgroup(container)).remove()?;
        }
        // The record stays: whether the copy lives is asked until the source is retired.
        remove_directory(&self.arrivals(migration))
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        match Record::load(&self.work_dir, migration)? {
            Some(record) if !record.promoted => {
                for container in &record.containers {
                    self.remove(&Bundle::new(&self.work_dir, container)).await?;
                }
            }
            _ => {}
        }
        remove_directory(&record::directory(&self.work_dir, migration))
    }
}

/// Makes everything for one container that does not depend on the checkpoint.
fn prepare(bundle: &Bundle, template: &Template) -> Result<()> {
    bundle.prepare(template)?;
    surroundings::prepare(bundle, template)?;
    Cgroup::named(&bundle.id).create()?;
    Cgroup::named(&restore::launch_cgroup(&bundle.id)).create()
}

/// Removes what a container stood on that was itself once made as a copy below `work_dir`. Missing is fine.
pub(crate) fn remove_bundle(work_dir: &std::path::Path, container: &str) -> Result<()> {
    Bundle::new(work_dir, container).remove()
}

/// File system calls on a thread where they may block.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
    tokio::task::spawn_blocking(call).await.map_err(died)?
}
