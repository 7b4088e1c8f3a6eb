//! The domain of ms2m: what a migration is, with no network, no files and no clock.
//!
//! A migration moves a running, stateful consumer to another node while it serves, and proves that the copy has exactly the
//! state one uninterrupted consumer would have. This crate says how; other crates bring the drivers.
//!
//! # A tour
//! - Four traits are all that is asked of the world: [`CheckpointSource`] takes a checkpoint of the running container,
//!   [`TransferBackend`] moves it, [`RestoreTarget`] makes the copy of it, [`ReplayBroker`] lets the copy catch up and hands
//!   the queue over. Their contracts stand in their docs.
//! - [`engine`] is a pure function from state and event to state and effects. It holds the one commit point, the roll-back,
//!   deadlines and repetitions. Begin there to learn what happens in which order, and why.
//! - [`driver`] performs the engine's effects over the four traits: [`Driver::run`], and [`Driver::resume`] after a crash.
//! - [`timeline`], [`ledger`], [`report`] and [`summary`] define every figure that is told about a migration.
//! - [`Error`] carries a [`Verdict`]: whether to repeat, to roll back, or to give up.
//! - [`DigestChain`] is the order-sensitive digest of everything applied, by which two consumers are compared.
//!
//! # Example
//! ```no_run
//! # use std::sync::Arc;
//! # use ms2m_core::{Driver, Drivers, InstanceId, MemoryStore, MigrationId, MigrationSpec, Outcome, Result};
//! # async fn example(drivers: Drivers) -> Result<()> {
//! let spec = MigrationSpec::new(MigrationId::new("orders-7")?, "orders", InstanceId::new("pod-a")?, InstanceId::new("pod-b")?);
//! let report = Driver::new(drivers, Arc::new(MemoryStore::default())).run(spec).await?;
//! match report.outcome {
//!     Outcome::Completed => println!("moved; nobody served for {:?} ms", report.durations_ms.cutover_gap),
//!     Outcome::RolledBack | Outcome::Cancelled | Outcome::Failed => println!("the source runs on: {:?}", report.reason),
//! }
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

pub mod bytes_stream;
pub mod checkpoint;
pub mod digest;
pub mod driver;
pub mod engine;
pub mod error;
pub mod id;
pub mod ledger;
pub mod pace;
pub mod part;
pub mod phase;
pub mod replay;
pub mod report;
pub mod restore;
pub mod retry;
pub mod summary;
pub mod time;
pub mod timeline;
pub mod transfer;

pub use bytes_stream::ByteStream;
pub use checkpoint::{Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, PreDump, SourceStatus};
pub use digest::{Digest, DigestAlgorithm, DigestChain, Hasher};
pub use driver::{Cancel, Driver, Drivers, MemoryStore, MonotonicClock, NoObserver, Observer, Progress, StateStore};
pub use engine::{Deadlines, MigrationSpec, MigrationState, PreDumpEnd, PreDumpPolicy};
pub use error::{Error, ErrorKind, Result, Verdict};
pub use id::{InstanceId, MigrationId};
pub use ledger::{AuditVerdict, Ledger, LedgerReport};
pub use pace::paced;
pub use part::Part;
pub use phase::Phase;
pub use replay::{
    Begun, CutOver, HandOverJob, HandoverChoice, HandoverMode, Ownership, Parked, Protocol, ReplayBroker, ReplayJob, ReplayProgress,
    ReplayStanding, Retired,
};
pub use report::{Bytes, DurationsMs, MigrationReport, Outcome, PreDumpEntry, TimelineEntry};
pub use restore::{CopyStatus, RestoreJob, RestoreTarget, Restored};
pub use retry::RetryPolicy;
pub use summary::{Percentiles, Summary, SummaryBuilder};
pub use time::{Clock, SystemClock, Timestamp};
pub use timeline::{Mark, Milestone, Timeline};
pub use transfer::{Receipt, TransferBackend, TransferCapability, TransferJob};
