//! The domain of ms2m.
#![deny(missing_docs)]

pub mod bytes_stream;
pub mod checkpoint;
pub mod digest;
pub mod driver;
pub mod engine;
pub mod error;
pub mod id;
pub mod ledger;
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
pub use checkpoint::{Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, SourceStatus};
pub use digest::{Digest, DigestChain};
pub use driver::{Cancel, Driver, Drivers, MemoryStore, MonotonicClock, NoObserver, Observer, Progress, StateStore};
pub use engine::{Deadlines, MigrationSpec, MigrationState};
pub use error::{Error, ErrorKind, Result, Verdict};
pub use id::{InstanceId, MigrationId};
pub use ledger::{AuditVerdict, Ledger, LedgerReport};
pub use phase::Phase;
pub use replay::{
    Begun, CutOver, HandOverJob, HandoverChoice, HandoverMode, Ownership, Parked, Protocol, ReplayBroker, ReplayJob, ReplayProgress,
    ReplayStanding, Retired,
};
pub use report::{Bytes, DurationsMs, MigrationReport, Outcome, TimelineEntry};
pub use restore::{RestoreJob, RestoreTarget, Restored};
pub use retry::RetryPolicy;
pub use summary::{Percentiles, Summary, SummaryBuilder};
pub use time::{Clock, SystemClock, Timestamp};
pub use timeline::{Mark, Milestone, Timeline};
pub use transfer::{Receipt, TransferBackend, TransferCapability, TransferJob};
