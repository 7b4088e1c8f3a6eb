//! Options.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// Packs and moves checkpoint archives side by side with other tools and with what bounds them on this machine, and has a controller move many pods.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Sizes of the archive: 27M, 256M, 4G; 4G:sparse is one of holes
    #[arg(long = "size", value_name = "SIZE", value_delimiter = ',', default_values = ["27M", "256M"])]
    pub(crate) sizes: Vec<Size>,

    /// How often everything is measured, in turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,

    /// What is measured; controller needs root, and what the cluster tests need
    #[arg(long = "only", value_enum, value_delimiter = ',', default_values = ["packing", "registry", "direct"])]
    pub(crate) parts: Vec<Part>,

    /// With controller: how many pods move at once
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pub(crate) migrations: usize,

    /// Other tools to leave out: some take minutes for 4 GiB
    #[arg(long, value_name = "TOOL", value_delimiter = ',')]
    pub(crate) without: Vec<String>,

    /// Where archives, layouts and stores are: four times the size is needed
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) directory: PathBuf,

    /// Where ms2m and ms2m-agent are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    /// Reads a part from a registry, as the target of a migration does.
    #[command(hide = true)]
    Pull(Pull),
    /// Runs the controller under measurement, until its input ends.
    #[command(hide = true)]
    Operate(Operate),
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Operate {
    #[arg(long)]
    pub(crate) migrations_max: usize,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Pull {
    pub(crate) repository: String,
    /// As `ms2m transfer --output json` prints it.
    pub(crate) receipt: String,
    /// What it was sealed for.
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// `ms2m pack` and skopeo, umoci, buildah, one pass of SHA-256
    Packing,
    /// Push and pull: `ms2m transfer`, plain and sealed, and curl, skopeo
    Registry,
    /// `ms2m transfer` to `ms2m-agent`, and SHA-256, TLS and TCP alone
    Direct,
    /// Many migrations at once on a private Kubernetes with simulated nodes: memory and time of the controller
    Controller,
}

/// How large an archive is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) sparse: bool,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (amount, sparse) = text.strip_suffix(":sparse").map_or((text, false), |amount| (amount, true));
        let shift = match amount.chars().last() {
            Some('M') => 20,
            Some('G') => 30,
            _ => return Err("a size is a number and M or G, as in 256M or 4G:sparse".into()),
        };
        let number: u64 = amount[..amount.len() - 1].parse().map_err(|_| format!("{amount} is no size; 256M is one"))?;
        let bytes =
            number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or("a size must be more than nothing and less than 2^64")?;
        Ok(Self { bytes, sparse })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            bytes if bytes.is_multiple_of(1 << 30) => write!(f, "{} GiB", bytes >> 30)?,
            bytes => write!(f, "{} MiB", bytes >> 20)?,
        }
        f.write_str(if self.sparse { ", sparse" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_told() {
        let told = |text: &str| text.parse::<Size>().map(|size| size.to_string());
        assert_eq!(told("27M").as_deref(), Ok("27 MiB"));
        assert_eq!(told("1024M").as_deref(), Ok("1 GiB"));
        assert_eq!(told("4G:sparse").as_deref(), Ok("4 GiB, sparse"));
        for wrong in ["", "M", "0M", "4", "4K", "x4G", "-1M", "99999999999G", "4G:dense", "é"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
