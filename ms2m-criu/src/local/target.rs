//! [`LocalTarget`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{join_all, try_join, try_join_all};
use ms2m_core::{
    CopyStatus, Error, ErrorKind, InstanceId, MigrationId, Receipt, RestoreJob, RestoreTarget, Restored, Result, TransferBackend,
};
use tokio::sync::OnceCell;

use super::arrival::{Arrivals, Arrived};
use super::bundle::{Bundle, remove_directory};
use super::cgroup::Cgroup;
use super::launch::{How, Launched, launch_cgroup};
use super::network::Namespace;
use super::record::{self, Kept as _, Record};
use super::template::Template;
use super::{check, connections, hostname, mount, push, restore, surroundings};
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

    /// The network that is the copy's and not the source's, if there is one.
    fn network(&self, copy: &InstanceId) -> Option<Namespace> {
        let (bundle, template) = self.bundles(copy).into_iter().next()?;
        Namespace::of(&template.network, bundle.directory())
    }

    fn arrivals(&self, migration: &MigrationId) -> Arrivals {
        Arrivals::of(&self.work_dir, migration)
    }

    async fn is_running(&self, container: &str) -> Result<bool> {
        let Some(state) = self.runtime.state(container).await? else { return Ok(false) };
        let alive = Process::open(state.pid)?.is_some_and(|process| process.is_alive().unwrap_or(true));
        Ok(alive && state.status != ContainerStatus::Stopped)
    }

    /// The CRIU that the runtime will use.
    async fn criu(&self) -> Result<&Version> {
        Ok(self.criu.get_or_try_init(|| async { Criu::default().version().await }).await?)
    }

    /// Whether every container of the copy runs, and nobody is making it any more.
    async fn is_complete(&self, copy: &InstanceId) -> Result<bool> {
        for (bundle, _) in self.bundles(copy) {
            let making = !Cgroup::named(&launch_cgroup(&bundle.id)).processes()?.is_empty();
            if making || !self.is_running(&bundle.id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes all containers of a copy live. After an error some of them may.
    async fn make(&self, copy: &InstanceId, arrived: Vec<Arrived>, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        let (network, images) = (self.network(copy), arrived.clone());
        let locked = network.clone();
        blocking(move || {
            let Some(network) = &locked else { return Ok(()) };
            connections::close_outer(&images, network)?;
            network.lock()
        })
        .await?;
        let connected = network.is_some();
        let members = self.bundles(copy).into_iter().zip(arrived).map(|((bundle, template), arrived)| async move {
            let (place, wanted, files) = (bundle.clone(), template.clone(), arrived.clone());
            blocking(move || restore::furnish(&place, &wanted, &files, connected)).await?;
            let launched = Launched::start(&self.runtime, &bundle, &How::default(), &arrived)?;
            restore::restore(&self.runtime, &bundle, &arrived, launched, deadline.saturating_sub(begun.elapsed())).await?;
            // crun puts only the first process into the container's cgroup.
            Cgroup::named(&bundle.id).adopt(&Cgroup::named(&launch_cgroup(&bundle.id)))?;
            Ok::<_, Error>(bundle)
        });
        // All of them to their end: who gives up early leaves something half-made.
        let mut living = Vec::new();
        for bundle in join_all(members).await {
            let bundle = bundle?;
            let processes = Cgroup::named(&bundle.id).processes()?;
            if processes.is_empty() {
                let message = "a container of the copy has ended as soon as it was restored";
                return Err(Error::undo(ErrorKind::Other, message).with("container", &bundle.id));
            }
            living.extend(processes);
        }
        unlock(network).await?;
        if connected {
            let push = move || {
                push::push(&living);
                Ok(())
            };
            blocking(push).await?;
        }
        Ok(())
    }

    /// The first process of a container of the copy. To ask the runtime takes longer than most other steps of a restore.
    async fn first_process(&self, container: &str) -> Result<Option<i32>> {
        match Cgroup::named(container).first_process()? {
            Some(first) => Ok(Some(first)),
            None => Ok(self.runtime.state(container).await?.map(|state| state.pid)),
        }
    }

    /// What is left to do for a copy that runs.
    async fn settle(&self, copy: &InstanceId) -> Result<()> {
        let settle = |(bundle, template): (Bundle, &Template)| {
            let named = template.has_own_hostname();
            async move {
                if named && let Some(first) = self.first_process(&bundle.id).await? {
                    hostname::set(first, copy.as_str())?;
                }
                // The copy has its own hold on what was mounted for it.
                mount::detach_below(&bundle.mounts())
            }
        };
        try_join_all(self.bundles(copy).into_iter().map(settle)).await.map(drop)
    }

    /// Kills what there is of a copy, for certain: first whoever might still be making it, then what was made.
    async fn end(&self, copy: &InstanceId) -> Result<()> {
        // First: a connection whose end cannot get through is not forgotten, and in the way of the next attempt.
        unlock(self.network(copy)).await?;
        for (bundle, _) in self.bundles(copy) {
            self.end_one(&bundle).await?;
        }
        Ok(())
    }

    async fn end_one(&self, bundle: &Bundle) -> Result<()> {
        Cgroup::named(&launch_cgroup(&bundle.id)).kill(END).await?;
        Cgroup::named(&bundle.id).kill(END).await?;
        self.runtime.remove(&bundle.id).await?;
        self.runtime.forget(&bundle.id)?;
        temporary::remove_abandoned();
        Ok(())
    }

    /// Kills what there is of a copy, for certain, and removes what was made for it.
    async fn remove(&self, bundle: &Bundle) -> Result<()> {
        self.end_one(bundle).await?;
        Cgroup::named(&launch_cgroup(&bundle.id)).remove()?;
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
        let (copy, network) = (job.copy.clone(), self.network(&job.copy));
        let prepared = blocking(move || {
            bundles.iter().try_for_each(|(bundle, template)| prepare(bundle, template, &copy, network.as_ref()))?;
            // It is kept in the first one's bundle.
            network.map_or(Ok(()), |network| network.prepare())
        });
        // Asked meanwhile: it is wanted once the checkpoint is there.
        if let Err(error) = try_join(prepared, self.criu()).await {
            self.discard(&job.migration).await?;
            return Err(error);
        }
        Ok(())
    }

    async fn stage(&self, job: &RestoreJob, receipt: &Receipt, transfer: Arc<dyn TransferBackend>) -> Result<()> {
        self.arrivals(&job.migration).stage(receipt, &*transfer).await
    }

    async fn restore(&self, job: &RestoreJob, receipts: &[Receipt], transfer: Arc<dyn TransferBackend>) -> Result<Restored> {
        let begun = Instant::now();
        if self.is_complete(&job.copy).await? {
            unlock(self.network(&job.copy)).await?;
            self.settle(&job.copy).await?;
            return Ok(Restored { copy: job.copy.clone(), restore: Duration::ZERO });
        }
        // Whoever was at it when the driver before this one ended.
        self.end(&job.copy).await?;
        let features = crate::facts::cpu_features();
        let (flavor, criu) = (self.runtime.flavor(), self.criu().await?);
        let machine = check::Machine { flavor, criu, architecture: std::env::consts::ARCH, cpu_features: &features };
        let names: Vec<_> = self.templates.iter().map(|template| template.name.as_str()).collect();
        let arrived = self.arrivals(&job.migration).gather(receipts, &*transfer, &machine, &names).await?;
        if let Err(error) = self.make(&job.copy, arrived, job.deadline.saturating_sub(begun.elapsed())).await {
            // No half-made copy may live on.
            self.end(&job.copy).await?;
            return Err(error);
        }
        let restore = begun.elapsed();
        self.settle(&job.copy).await?;
        Ok(Restored { copy: job.copy.clone(), restore })
    }

    async fn status(&self, migration: &MigrationId) -> Result<CopyStatus> {
        let Some(record) = Record::load(&self.work_dir, migration)? else { return Ok(CopyStatus::Gone) };
        for container in &record.containers {
            // In this order: the runtime need not be asked again and again.
            if !Cgroup::named(container).processes()?.is_empty() || self.is_running(container).await? {
                return Ok(CopyStatus::Present);
            }
        }
        Ok(CopyStatus::Gone)
    }

    async fn promote(&self, migration: &MigrationId) -> Result<()> {
        let Some(mut record) = Record::load(&self.work_dir, migration)? else { return Ok(()) };
        record.promoted = true;
        record.store(&self.work_dir, migration)?;
        for container in &record.containers {
            Cgroup::named(&launch_cgroup(container)).remove()?;
        }
        // The record stays: whether the copy lives is asked until the source is retired.
        remove_directory(&self.arrivals(migration).directory)
    }

    async fn discard(&self, migration: &MigrationId) -> Result<()> {
        match Record::load(&self.work_dir, migration)? {
            Some(record) if !record.promoted => {
                unlock(self.network(&record.copy)).await?;
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
fn prepare(bundle: &Bundle, template: &Template, copy: &InstanceId, network: Option<&Namespace>) -> Result<()> {
    bundle.prepare(template, copy, network.map(Namespace::path))?;
    surroundings::prepare(bundle, template)?;
    Cgroup::named(&bundle.id).create()?;
    Cgroup::named(&launch_cgroup(&bundle.id)).create()
}

/// Removes what a container stood on that was itself once made as a copy below `work_dir`. Missing is fine.
pub(crate) fn remove_bundle(work_dir: &std::path::Path, container: &str) -> Result<()> {
    Bundle::new(work_dir, container).remove()
}

async fn unlock(network: Option<Namespace>) -> Result<()> {
    blocking(move || network.map_or(Ok(()), |network| network.unlock())).await
}

/// File system calls on a thread where they may block.
pub(crate) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let died = |error| Error::undo(ErrorKind::Other, "a thread has died").caused_by(error);
    tokio::task::spawn_blocking(call).await.map_err(died)?
}
