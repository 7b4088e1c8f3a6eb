//! The domain of ms2m.
#![deny(missing_docs)]

pub mod bytes_stream;
pub mod checkpoint;
pub mod digest;
pub mod error;
pub mod id;
pub mod phase;
pub mod replay;
pub mod restore;
pub mod time;
pub mod transfer;

pub use bytes_stream::ByteStream;
pub use checkpoint::{Checkpoint, CheckpointCapability, CheckpointJob, CheckpointSource, SourceStatus};
pub use digest::{Digest, DigestChain};
pub use error::{Error, ErrorKind, Result, Verdict};
pub use id::{InstanceId, MigrationId};
pub use phase::Phase;
pub use replay::{
    Begun, CutOver, HandOverJob, HandoverChoice, HandoverMode, Ownership, Parked, Protocol, ReplayBroker, ReplayJob, ReplayProgress,
    ReplayStanding, Retired,
};
pub use restore::{RestoreJob, RestoreTarget, Restored};
pub use time::{Clock, SystemClock, Timestamp};
pub use transfer::{Receipt, TransferBackend, TransferCapability, TransferJob};
