//! Real checkpoints: CRIU, runc and crun behind the traits of `ms2m-core`.
//!
//! - [`archive`] reads what container engines write, and reads and writes our own, safely and in constant memory.
//! - [`image`] decodes CRIU's image files.
//! - [`inspect`] says what is in a checkpoint, and whether it can be restored here.
//! - [`criu`] speaks to CRIU: dump, pre-dump, restore, what it can do here.
//! - [`runtime`] takes checkpoints of containers of runc and crun; [`local`] makes copies of them on this machine.
//! - [`pod`] makes copies in pods, where a container engine has made the container.
//! - [`engine`] makes what a container engine restores by itself.
//! - [`tree`] packs what a container has written.
//! - [`doctor`] says what this machine can do, and what stands in the way of checkpointing one container or process.
//! - [`process`] moves bare process trees.
//! - [`standstill`] moves what serves no queue.
//! - [`store`] is where drivers keep what they take and what arrives.
//! - [`check`] is the line in which checks report.
#![deny(missing_docs)]

pub mod archive;
pub mod check;
pub mod criu;
pub mod doctor;
pub mod engine;
mod facts;
pub mod image;
pub mod inspect;
pub mod local;
pub mod pod;
mod priority;
pub mod process;
mod reserve;
pub mod runtime;
pub mod standstill;
pub mod store;
pub mod tree;
