//! CRIU's configuration files: one option a line, as on its command line but without the dashes.

use std::io;

use super::host::Host;
use crate::runtime::Flavor;

/// The options that one or more files set. Later lines count.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Config {
    options: Vec<(String, Option<String>)>,
}

impl Config {
    /// What `text` sets.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let options = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
            let value = value.trim_start_matches(['=', ' ', '\t']).trim_matches('"');
            (name.trim_start_matches('-').to_owned(), (!value.is_empty()).then(|| value.to_owned()))
        });
        Self { options: options.collect() }
    }

    /// Adds what `other` sets, which then counts.
    pub(super) fn extend(&mut self, other: Self) {
        self.options.extend(other.options);
    }

    /// Everything that is set, in order.
    pub(super) fn options(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// Whether `name` is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(set, _)| set == name)
    }

    /// The value of `name` that counts.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.options().filter(|(set, _)| *set == name).last().and_then(|(_, value)| value)
    }
}

/// The file that CRIU always reads.
pub(super) const DEFAULT: &str = "/etc/criu/default.conf";

/// The file that CRIU reads besides when `runtime` calls it.
pub(super) fn file_of(runtime: Flavor) -> &'static str {
    match runtime {
        Flavor::Runc => "/etc/criu/runc.conf",
        Flavor::Crun => "/etc/criu/crun.conf",
    }
}

/// Who takes the checkpoint, which decides what CRIU is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Taker {
    /// ms2m itself, which calls CRIU and asks it to carry what it can.
    #[default]
    Ms2m,
    /// The container runtime, by its command `checkpoint`. The kubelet's checkpoints are taken so.
    Runtime,
}

/// What the driver for bare processes asks of CRIU.
pub(super) const OURS: &str = "tcp-close\nskip-in-flight\nghost-limit 16M\nnetwork-lock skip\nmanage-cgroups ignore\n";
/// What the driver for containers asks besides.
pub(super) const OURS_FOR_CONTAINERS: &str = "ext-unix-sk\nfile-locks\nlink-remap\n";

/// What counts when CRIU is asked for `asked` and, perhaps by a runtime, called. Files that are missing set nothing.
pub(super) fn effective(host: &Host, asked: &[&str], runtime: Option<Flavor>) -> io::Result<Config> {
    let mut config = Config::default();
    for options in asked {
        config.extend(Config::parse(options));
    }

    for file in [Some(DEFAULT), runtime.map(file_of)].into_iter().flatten() {
        match host.read(file) {
            Ok(text) => config.extend(Config::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::fake::Fake;

    #[test]
    fn the_later_line_counts() {
        let config = Config::parse("tcp-close # ours\n\n# nothing\nnetwork-lock nftables\nnetwork-lock = \"skip\"\n--ghost-limit 8M\n");
        assert!(config.has("tcp-close") && !config.has("ours"));
        assert_eq!(config.value("network-lock"), Some("skip"));
        assert_eq!(config.value("ghost-limit"), Some("8M"));
    }

    #[test]
    fn the_file_of_the_runtime_counts_over_the_default() {
        let fake = Fake::new();
        assert_eq!(effective(&fake.host, &[], Some(Flavor::Runc)).unwrap(), Config::default());
        fake.file(DEFAULT, "network-lock nftables\n").file("/etc/criu/runc.conf", "network-lock skip\n");
        assert_eq!(effective(&fake.host, &[], Some(Flavor::Runc)).unwrap().value("network-lock"), Some("skip"));
        assert_eq!(effective(&fake.host, &[], Some(Flavor::Crun)).unwrap().value("network-lock"), Some("nftables"));
    }

    #[test]
    fn ms2m_asks_for_more_and_the_default_file_still_counts() {
        let fake = Fake::new();
        let ours = effective(&fake.host, &[OURS], None).unwrap();
        assert!(ours.has("tcp-close") && ours.value("ghost-limit") == Some("16M"));
        fake.file(DEFAULT, "ghost-limit 1M\n");
        assert_eq!(effective(&fake.host, &[OURS], None).unwrap().value("ghost-limit"), Some("1M"));
    }
}
