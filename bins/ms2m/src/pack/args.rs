//! The options of `ms2m pack`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ms2m_oci::{Compression, LayoutName};

use crate::demo::Output;

/// What to pack, and where to.
#[derive(Args, Debug)]
pub(crate) struct PackArgs {
    /// A checkpoint archive of containerd, CRI-O, podman or ms2m, not compressed.
    pub(crate) archive: PathBuf,
    /// The OCI image layout to write, or to add to. Without a tag the image is called by its digest.
    #[arg(long, value_name = "oci:DIR[:TAG]")]
    pub(crate) to: LayoutName,
    /// How to write the layer.
    #[arg(long, value_enum, default_value_t = CompressionChoice::None)]
    pub(crate) compress: CompressionChoice,
    /// Copy the archive even where the layout could link to it: for one that will be written to again.
    #[arg(long, conflicts_with = "compress")]
    pub(crate) copy: bool,
    /// How to tell what was done.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// How a layer is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CompressionChoice {
    /// As it stands: no byte is copied where the file system can link
    None,
    /// zstd: less to transfer, at the price of a pass of compression
    Zstd,
}

impl From<CompressionChoice> for Compression {
    fn from(choice: CompressionChoice) -> Self {
        match choice {
            CompressionChoice::None => Self::None,
            CompressionChoice::Zstd => Self::Zstd,
        }
    }
}
