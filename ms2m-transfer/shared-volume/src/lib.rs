//! [`SharedVolume`]: checkpoints pass through a directory that source and target both see, be it on one machine or on a network
//! file system.
//!
//! ```text
//! DIRECTORY/MIGRATION/round-1.blake3-…  final.blake3-…    one file for each part that has arrived
//! DIRECTORY/MIGRATION/.final.4711-0.part                  on its way
//! ```
//! A part appears under its name only when it is complete, by a rename within its directory, and file and directory are on disk
//! before the call returns. Runs of zeroes of 64 KiB and more become holes. Its digest is computed while it passes, and again while
//! it is read. [Within one machine](SharedVolume::within_one_machine) there is no waiting for the disk and no second digest.
#![deny(missing_docs)]

mod backend;
mod publish;
mod receive;
mod send;
mod sparse;

pub use backend::SharedVolume;
