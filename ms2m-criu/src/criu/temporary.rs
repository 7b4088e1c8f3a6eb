//! Directories that a killed CRIU leaves in `/tmp`.

use std::path::Path;

use rustix::mount::{UnmountFlags, unmount};

const PREFIX: &str = "/tmp/.criu.";

/// Removes those that a log names: of a CRIU that has ended, for those of one that runs are its root.
///
/// What cannot be removed stays; it is empty, and the machine's next start removes it.
pub(crate) fn remove_named_in(log: &Path) {
    let text = std::fs::read(log).unwrap_or_default();
    for directory in named_in(&String::from_utf8_lossy(&text)) {
        let _ = unmount(directory, UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(directory);
    }
}

fn named_in(text: &str) -> Vec<&str> {
    let mut found: Vec<_> = text
        .match_indices(PREFIX)
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest[PREFIX.len()..].find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
            rest[..end.map_or(rest.len(), |end| PREFIX.len() + end)].trim_end_matches('.')
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_log_names_them() {
        let log = "mnt: Bind to /tmp/.criu.mntns.9kG0Ye/9-0000.\nmnt: /tmp/.criu.mntns.9kG0Ye\n\t`/tmp/.criu.cgmounts.aB3xYz'\n/tmp/other";
        assert_eq!(super::named_in(log), ["/tmp/.criu.cgmounts.aB3xYz", "/tmp/.criu.mntns.9kG0Ye"]);
    }
}
