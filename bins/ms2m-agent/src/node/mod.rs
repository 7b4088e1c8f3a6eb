//! What the agent does for controllers: pods of its node are checkpointed, and copies are made in pods of its node.

mod args;
mod images;
mod live;
mod ways;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ms2m_core::{CheckpointSource, Error, ErrorKind, MigrationId, RestoreTarget, Result, TransferBackend};
use ms2m_criu::criu::Criu;
use ms2m_criu::pod::{Copy, Gate, PodTarget, forget_ended};
use ms2m_criu::runtime::{Runtime, RuntimeSource};
use ms2m_remote::{Node, Restores, SourcePlace, Taker, TargetPlace, Way};
use ms2m_transfer_direct::{Agent, Credentials};
use tokio::sync::Mutex;

use crate::image_store::ImageStoreArgs;
pub(crate) use args::NodeArgs;
use images::Images;
use live::Live;
use ways::Ways;

/// Sources that are kept at a time.
const SOURCES_MAX: usize = 256;

/// Who takes checkpoints of what.
type Kept = (SourcePlace, Arc<dyn CheckpointSource>);

/// The drivers of this node.
#[derive(Debug)]
pub(crate) struct ThisNode {
    ways: Ways,
    runtime: Runtime,
    criu: Criu,
    work_dir: PathBuf,
    live: Live,
    gate: Gate,
    images: Arc<Images>,
    /// They remember the last pre-dump.
    sources: Mutex<HashMap<MigrationId, Kept>>,
}

impl ThisNode {
    pub(crate) async fn open(args: &NodeArgs, stores: &ImageStoreArgs, agent: Agent, credentials: Credentials) -> Result<Self> {
        let work_dir = args.work_dir.clone();
        let live = Live::open(args.live_file(), args.controllers.clone()).await?;
        let (gate, sources) = (Gate::open(&args.runtime_socket)?, Mutex::default());
        let ways = Ways::open(&args.ways, &work_dir, agent, credentials)?;
        let images = Arc::new(Images::new(&args.cri_socket, stores, &work_dir));
        images.forget_now_and_then();
        Ok(Self { ways, runtime: args.runtime(), criu: Criu::new(&args.criu), work_dir, live, gate, images, sources })
    }

    async fn taker(&self, place: &SourcePlace) -> Result<Arc<dyn CheckpointSource>> {
        let members: Vec<_> = place.members.iter().map(|member| (member.name.clone(), member.id.clone())).collect();
        let source = RuntimeSource::open(self.runtime.clone(), self.criu.clone(), &self.work_dir, &members).await?.of_an_engine();
        match (place.taker, members.as_slice()) {
            (Taker::Agent, _) => Ok(Arc::new(source)),
            (Taker::AgentForImage, _) => Ok(Arc::new(source.for_an_image()?)),
            (Taker::Kubelet, [(_, id)]) => Ok(Arc::new(self.images.source(source, id)?)),
            _ => {
                let message =
                    "this agent cannot take the checkpoint as the controller asks for it; use programs of the same release on all nodes";
                Err(Error::fatal(ErrorKind::Unsupported, message))
            }
        }
    }
}

/// Makes the work directory; others must not look into what is a process' memory.
pub(crate) fn make_work_dir(args: &NodeArgs) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.work_dir).map_err(|error| {
        let message = "the work directory cannot be made; run the agent as root, or name another one with --work-dir";
        Error::fatal(ErrorKind::Other, message).with("path", args.work_dir.display()).caused_by(error)
    })
}

#[async_trait]
impl Node for ThisNode {
    async fn source(&self, place: &SourcePlace) -> Result<Arc<dyn CheckpointSource>> {
        let mut sources = self.sources.lock().await;
        if let Some((known, source)) = sources.get(&place.migration)
            && known == place
        {
            return Ok(Arc::clone(source));
        }
        if sources.len() >= SOURCES_MAX {
            let message = "this node has as many migrations as it takes at a time; try again when some of them have ended";
            return Err(Error::retry(ErrorKind::LimitExceeded, message).with("migrations_max", SOURCES_MAX));
        }
        let source = self.taker(place).await?;
        sources.insert(place.migration.clone(), (place.clone(), Arc::clone(&source)));
        Ok(source)
    }

    async fn target(&self, place: &TargetPlace) -> Result<Arc<dyn RestoreTarget>> {
        if let Some(image) = &place.image {
            return self.images.target(place, image, self.criu.clone()).await;
        }
        let copy = Copy { pod_uid: place.pod_uid.clone(), containers: place.containers.clone() };
        let with = (self.runtime.flavor(), self.criu.clone());
        Ok(Arc::new(PodTarget::new(self.gate.clone(), with, &self.work_dir, copy)))
    }

    async fn restores(&self) -> Result<Restores> {
        self.images.restores().await
    }

    async fn way(&self, way: &Way) -> Result<Arc<dyn TransferBackend>> {
        self.ways.to(way)
    }

    async fn arrived(&self, way: &Way) -> Result<Arc<dyn TransferBackend>> {
        self.ways.from(way)
    }

    async fn recipient(&self) -> Result<String> {
        Ok(self.ways.recipient())
    }

    async fn expect(&self, place: &TargetPlace) -> Result<()> {
        // With each migration that comes, so that nothing grows with those that have been.
        if let Err(error) = forget_ended(&self.work_dir) {
            tracing::warn!(%error, "what is known of copies that have ended cannot be removed");
        }
        self.live.expect(&place.migration, &place.from_node).await
    }

    async fn source_done(&self, migration: &MigrationId) {
        self.sources.lock().await.remove(migration);
    }

    async fn target_done(&self, migration: &MigrationId) -> Result<()> {
        self.live.forget(migration).await
    }
}
