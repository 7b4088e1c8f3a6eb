//! [`CheckpointSource`]: where a checkpoint comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::bytes_stream::ByteStream;
use crate::error::{Error, ErrorKind, Result};
use crate::id::MigrationId;
use crate::part::Part;

/// What a checkpoint driver can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CheckpointCapability {
    /// Whether [`CheckpointSource::pre_dump`] works here, and hardly disturbs the container.
    pub pre_dump: bool,
    /// Without that: whether it works, but freezes the container as long as the final dump does. One such round is worth while before a source
    /// stands still until the hand-over, since only what has changed travels then.
    #[serde(default)]
    pub freezing_round: bool,
    /// Whether the container can be left running after the dump.
    pub leave_running: bool,
}

impl CheckpointCapability {
    /// Whether [`CheckpointSource::pre_dump`] works, at whatever cost.
    #[must_use]
    pub fn has_rounds(self) -> bool {
        self.pre_dump || self.freezing_round
    }
}

/// One request to checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckpointJob {
    /// Whose checkpoint it is; a second call with the same id and part replaces the first one's result.
    pub migration: MigrationId,
    /// The pre-dump round to build on: it has arrived at the target. `None`: nothing has, so everything must be written.
    pub parent: Option<u32>,
    /// Whether the container runs on afterwards. `false` leaves it stopped.
    pub leave_running: bool,
    /// How long the whole call may take.
    pub deadline: Duration,
}

/// A finished checkpoint, or the part of one that a pre-dump round wrote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose checkpoint it is.
    pub migration: MigrationId,
    /// Which part of it.
    pub part: Part,
    /// The round on which it builds: it holds everything that has changed since. `None`: it is whole.
    pub parent: Option<u32>,
    /// Size of what [`CheckpointSource::open`] will yield, in bytes.
    pub archive_bytes: u64,
    /// How long the container was frozen, as measured by whoever froze it.
    pub freeze: Duration,
    /// Facts to check on arrival (engine, versions, architecture, base image …), for people and for preflight.
    pub manifest: BTreeMap<String, String>,
}

/// What a pre-dump round did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreDump {
    /// What to send; its part is [`Part::Round`]. Its freeze is that of the round, and is told beside it in the report.
    pub checkpoint: Checkpoint,
    /// Memory that this round had to write, in bytes: what was dirty since its parent.
    pub dirty_bytes: u64,
    /// Memory in all, in bytes: written, and found unchanged in the parents.
    pub memory_bytes: u64,
}

/// What is known about the source container.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SourceStatus {
    /// It exists. It may be stuck: only its own words in the journal say that it works.
    Present,
    /// It is certain that no process of it is left, so nothing of it can consume any more.
    Gone,
}

/// Takes checkpoints of one source container.
///
/// # Contract
/// - After `Ok` of [`checkpoint`](Self::checkpoint) the container runs (or is stopped, as asked) and
///   [`open`](Self::open) yields the checkpoint. After `Err` it runs as before and nothing is left behind.
/// - The freeze time is measured, never guessed.
/// - A part holds everything that has changed since the parent that it names. A driver that cannot tell that for the parent
///   of its job (another dump has reset the tracking since, or a repeated call finds it reset) builds on an older round or
///   writes everything, and says so in [`Checkpoint::parent`]. A repeated round whose result still stands may answer with it.
/// - Every call is idempotent by migration id and part, and ends within the job's deadline.
/// - [`SourceStatus::Gone`] is only said when it is certain: a copy may be made owner on its word.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CheckpointSource: fmt::Debug + Send + Sync + 'static {
    /// The driver's name in reports, for example `snapshot`, `process`, `runtime`, `kubelet`.
    fn name(&self) -> &'static str;

    /// What this driver can do here.
    fn capability(&self) -> CheckpointCapability;

    /// Whether the source container is still there.
    ///
    /// # Errors
    /// When that cannot be found out now; never to say that it is gone.
    async fn status(&self) -> Result<SourceStatus>;

    /// One pre-copy round, from 1, while the container runs: what has changed since the job's parent. [`open`](Self::open)
    /// yields it as [`Part::Round`].
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] unless [`CheckpointCapability::has_rounds`]. After an error the container runs as before, and
    /// a checkpoint can be taken all the same.
    async fn pre_dump(&self, job: &CheckpointJob, round: u32) -> Result<PreDump> {
        Err(Error::fatal(ErrorKind::Unsupported, format!("the {} driver has no pre-dump", self.name()))
            .with("migration", &job.migration)
            .with("round", round))
    }

    /// Takes the checkpoint, or its [final part](Part::Final) when the job names a parent. The source is parked by the broker's
    /// protocol when this is called.
    ///
    /// # Errors
    /// After an error the container runs as before.
    async fn checkpoint(&self, job: &CheckpointJob) -> Result<Checkpoint>;

    /// The bytes of one part, from `offset_bytes` on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such part for this migration.
    async fn open(&self, checkpoint: &Checkpoint, offset_bytes: u64) -> Result<ByteStream>;

    /// Ends the source container for good: the copy owns the queue. Missing is `Ok`.
    ///
    /// # Errors
    /// When it is not certain that the container has ended.
    async fn retire(&self, migration: &MigrationId) -> Result<()>;

    /// Forgets the checkpoint with all its parts. Missing is `Ok`.
    ///
    /// # Errors
    /// When something may be left over.
    async fn discard(&self, migration: &MigrationId) -> Result<()>;
}
