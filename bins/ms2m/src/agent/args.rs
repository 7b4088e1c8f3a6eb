//! What can be asked of an agent.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ms2m_core::MigrationId;

use crate::demo::Output;

/// `ms2m agent`.
#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Subcommand, Clone, Debug)]
pub(super) enum What {
    /// Say how an agent is: its release, whether it takes checkpoints, its room, what is going on.
    ///
    /// Exit status 1 when it cannot be reached, or is ending.
    Status(Who),
    /// List the checkpoints that an agent holds.
    List(Who),
    /// Remove all that an agent holds of a migration. It is fine when there is nothing.
    Discard {
        #[command(flatten)]
        who: Who,
        /// The migration
        #[arg(value_parser = migration)]
        migration: MigrationId,
    },
}

/// Which agent, and how it is spoken to.
#[derive(Args, Clone, Debug)]
pub(super) struct Who {
    /// The agent's address, as in https://node-2:9443
    #[arg(value_name = "URL")]
    pub(super) url: String,
    /// A directory with tls.crt and tls.key, which say who this side is, and ca.crt, which says whom it trusts
    #[arg(long, value_name = "DIR", default_value = "/etc/ms2m/tls")]
    pub(super) credentials: PathBuf,
    /// The node whose certificate the agent must show [default: the host of its address]
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// How it is told
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
}

fn migration(text: &str) -> Result<MigrationId, String> {
    MigrationId::new(text).map_err(|error| error.to_string())
}
