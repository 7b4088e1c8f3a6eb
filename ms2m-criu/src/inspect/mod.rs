//! What is in a checkpoint, and whether it can be restored here.
//!
//! [`inspect`] reads an archive of any [`Engine`](crate::archive::Engine), a directory with an extracted one, or a bare directory of CRIU
//! images, without extracting anything and without root. Memory pages are never read. Secrets in the environment are masked before they
//! enter the [`Inspection`], so neither text nor JSON can show them.

mod collect;
mod machine;
mod mask;
mod model;
mod text;
mod verdict;
mod view;

use std::io::Read;
use std::path::Path;

use ms2m_core::{Error, ErrorKind};

use crate::archive::{ArchiveError, Limits, PlainInput};
use crate::image::ImageError;

pub use machine::Here;
pub use mask::{Variable, mask_argument_list, mask_value, mask_variable};
pub use model::{ContainerView, FileView, Inspection, Pod, ProcessView, Round, Sizes, SocketView, Source, SourceKind};

/// Why something could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The archive is refused, or cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An image is malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is no checkpoint that is known here.
    #[error("{path}: {reason}")]
    NotACheckpoint {
        /// What was given.
        path: String,
        /// What it is instead, and what to give.
        reason: String,
    },
}

impl From<InspectError> for Error {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Archive(error) => error.into(),
            InspectError::Image(error) => error.into(),
            InspectError::NotACheckpoint { .. } => Self::fatal(ErrorKind::Unsupported, error.to_string()),
        }
    }
}

/// Looks into the checkpoint at `path`, and judges whether it could be restored on the machine described by `here`.
///
/// # Errors
/// When it cannot be read, breaks a rule of [archives](crate::archive), holds a malformed image, or is no checkpoint.
pub fn inspect(path: &Path, limits: &Limits, here: &Here) -> Result<Inspection, InspectError> {
    judged(collect::collect(path, limits)?, here)
}

/// The same of an archive that comes as plain bytes, such as the layer of an image; `name` is what it is called in the result, `bytes` its size
/// there. It is read to its end, so that a reader that checks its bytes can speak.
///
/// # Errors
/// See [`inspect`].
pub fn inspect_stream(name: &str, bytes: u64, archive: impl Read, limits: &Limits, here: &Here) -> Result<Inspection, InspectError> {
    let source = Source { path: name.to_owned(), kind: SourceKind::Image, compression: None, bytes, members: 0 };
    judged(collect::collect_stream(source, PlainInput::new(archive), limits)?, here)
}

fn judged(collected: collect::Collected, here: &Here) -> Result<Inspection, InspectError> {
    let mut inspection = view::view(collected)?;
    inspection.judge(here);
    Ok(inspection)
}
