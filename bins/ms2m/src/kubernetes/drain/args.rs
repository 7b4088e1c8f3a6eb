//! The options of `ms2m drain`.

use clap::Args;

use super::super::args::AccessArgs;
use crate::demo::Output;

/// `ms2m drain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DrainArgs {
    /// The node to empty
    pub(crate) node: String,
    /// The node to move the opted-in pods to [default: the scheduler's choice for each]
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<String>,
    /// So many migrations at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) at_once: u16,
    /// Move the opted-in pods, and leave all others alone
    #[arg(long)]
    pub(crate) migrate_only: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Evict pods, too, that nobody makes again elsewhere
    #[arg(long, conflicts_with = "migrate_only")]
    pub(crate) force: bool,
    /// Evict pods, too, that have an emptyDir, whose content is lost
    #[arg(long, conflicts_with = "migrate_only")]
    pub(crate) delete_emptydir_data: bool,
    /// How long an evicted pod gets to end [default: what it asks for]
    #[arg(long, value_name = "SECONDS", conflicts_with = "migrate_only", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) grace_period: Option<u32>,
    /// How long all of it may take. Migrations that are under way then go on by themselves
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub(crate) timeout: u32,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// How it is told what became of each pod
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn says(words: &str) -> String {
        let words = ["ms2m", "drain"].into_iter().chain(words.split_whitespace());
        Cli::try_parse_from(words).map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn what_evicts_and_what_leaves_alone_contradict_each_other() {
        for fine in
            ["n1", "n1 --to n2 --at-once 2 --timeout 60 --output json", "n1 --force --grace-period 5", "n1 --migrate-only --dry-run"]
        {
            assert_eq!(says(fine), "fine", "{fine}");
        }
        for refused in
            ["", "n1 --at-once 0", "n1 --migrate-only --force", "n1 --migrate-only --grace-period 5", "n1 --timeout 0", "n1 -n shop"]
        {
            assert!(says(refused).starts_with("error"), "{refused}");
        }
    }
}
