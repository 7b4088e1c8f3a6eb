//! Checkpoint archives: what container engines write, and our own. Streaming, in constant memory, and distrustful.
//!
//! # Reading
//! [`open`] (or [`Reader`] over any [`Input`]) walks the members of a tar. [`extract`] and [`extract_stream`] put them into a new
//! directory. An archive is refused, with the [`Rule`] that it breaks, when it holds anything but regular files and directories, a name
//! that leads elsewhere, one member twice, more than its [`Limits`] allow, less than it announces, or something behind its end.
//! After a refusal nothing of an extraction is left.
//!
//! Compressed input (gzip, zstd: podman's default) is decompressed on the way, with a limit on the ratio and on the window, and every
//! other limit counted on what comes out. Archives in our own format are never compressed.
//!
//! # Our own format
//! A plain tar, the same bytes for the same checkpoint:
//!
//! | member | what |
//! |---|---|
//! | `manifest.json` | [`Manifest`]; always first |
//! | `containers/NAME/checkpoint/` | CRIU's images of the final dump |
//! | `containers/NAME/pre-1/`, `pre-2/` … | of the pre-dump rounds, each in an archive of its own or beside the final images |
//! | `containers/NAME/rootfs-diff.tar` | the writable layer, as an OCI layer (`.wh.` files for what was deleted) |
//! | `containers/NAME/volumes/VOLUME.tar` | content of volumes that travel along |
//! | `containers/NAME/spec.json` | the OCI runtime specification, for people and for checks: nothing is created from it |
//!
//! CRIU links an incremental image directory to the previous one by a symbolic link `parent`. Links do not travel: the manifest says
//! which directory follows which, and extraction makes the links from that.
//!
//! [`TarPlan`] writes it: it knows the archive's length before it reads a byte, and can begin at any offset.

mod error;
mod extract;
mod format;
mod input;
mod limits;
mod manifest;
mod name;
mod plan;
mod reader;
mod stream;
mod target;

pub(crate) use error::printable;
pub use error::{ArchiveError, Result, Rule};
pub use extract::{Expect, Extracted, extract, extract_stream};
pub(crate) use format::own_facts;
pub use format::{Engine, Facts, SpecMount, detect};
pub use input::{Compression, FileInput, Input, OpenInput, PlainInput, open};
pub use limits::Limits;
pub use manifest::{ContainerManifest, MANIFEST, Manifest, MountFact, ParentLink, RuntimeFact, image_directory};
pub use plan::TarPlan;
pub use reader::{Kind, Member, Reader};
