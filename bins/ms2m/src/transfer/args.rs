//! What can be chosen about a transfer.

use std::path::PathBuf;

use clap::Args;
use ms2m_transfer_sealed::Recipient;

use crate::backend::BackendArgs;
use crate::demo::Output;

/// `ms2m transfer`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TransferArgs {
    /// The checkpoint archive
    #[arg(value_name = "TAR")]
    pub(crate) archive: PathBuf,
    /// Where it shall go: a directory (a path that begins with / or .), the http(s) URL of an agent, or an image reference
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
    /// The container that it is of [default: the archive's name without its ending]
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// The migration that it belongs to [default: CONTAINER]. The same one again goes on where it broke off, or replaces what is there
    #[arg(long, value_name = "NAME")]
    pub(crate) migration: Option<String>,
    /// For a registry: whom to encrypt for, as the public key age1…
    #[arg(long, value_name = "age1…", conflicts_with = "unsealed")]
    pub(crate) recipient: Option<Recipient>,
    /// Give up after this time, repetitions included
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) within: u64,
    #[command(flatten)]
    pub(crate) way: BackendArgs,
    /// What is printed at the end
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}
