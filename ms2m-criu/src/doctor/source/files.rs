//! Files that are open or mapped but have lost their names ("ghosts").

use super::subject::{Subject, some};
use crate::check::Check;
use crate::doctor::size::human;

/// CRIU's own limit.
const GHOST_LIMIT: u64 = 1 << 20;

pub(super) fn check(subject: &Subject) -> Check {
    const NAME: &str = "deleted-files";
    let limit = subject.config.value("ghost-limit").and_then(size).unwrap_or(GHOST_LIMIT);
    let (mut ghosts, mut large, mut renamed) = (Vec::new(), Vec::new(), Vec::new());
    for one in subject.descriptors() {
        let Some((bytes, names)) = one.deleted else { continue };
        let path = one.target.trim_end_matches(" (deleted)");
        if names > 0 {
            renamed.push(format!("{path} ({})", one.place()));
        } else if bytes > limit {
            large.push(format!("{path} ({}, {})", human(bytes), one.place()));
        } else {
            ghosts.push(format!("{path} ({})", human(bytes)));
        }
    }
    for process in &subject.processes {
        for (path, bytes) in &process.deleted_maps {
            let shown = format!("{path} ({} mapped by process {})", human(*bytes), process.pid);
            if *bytes > limit { large.push(shown) } else { ghosts.push(shown) }
        }
    }
    let memfds = subject.descriptors().filter(|one| one.target.starts_with("/memfd:")).count();
    let limit = human(limit);
    if !large.is_empty() {
        return Check::fail(NAME, format!("deleted but in use, and above CRIU's limit of {limit}: {}", some(&large))).remedy(format!(
            "write `ghost-limit 64M` (or more) to {}; a program whose own files were replaced is better restarted first",
            subject.config_file()
        ));
    }
    if !renamed.is_empty() && !subject.config.has("link-remap") {
        return Check::fail(NAME, format!("opened by a name that is gone, while another name is left: {}", some(&renamed)))
            .remedy(format!("write `link-remap` to {}, or let the program open the file again", subject.config_file()));
    }
    let memfds = if memfds > 0 { format!("; {memfds} memfds, carried as memory") } else { String::new() };
    if ghosts.is_empty() {
        return Check::ok(NAME, format!("none{memfds}"));
    }
    Check::ok(NAME, format!("deleted but in use, below CRIU's limit of {limit}: {}{memfds}", some(&ghosts)))
}

/// `10M` as CRIU reads it.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Tree;
    use super::*;
    use crate::check::CheckResult::{Fail, Ok};
    use crate::doctor::config::Config;

    #[test]
    fn a_ghost_above_the_limit_fails() {
        let tree = Tree::new();
        tree.fd(10, 3, "/tmp/x (deleted)", "").fd(10, 4, "/memfd:y (deleted)", "");
        let mut subject = tree.subject();
        subject.processes[0].descriptors[0].deleted = Some((1 << 20, 0));
        let small = check(&subject);
        assert!(small.result == Ok && small.reason.contains("1 memfds"), "{small}");
        subject.processes[0].descriptors[0].deleted = Some(((1 << 20) + 1, 0));
        assert_eq!(check(&subject).result, Fail);
        subject.config = Config::parse("ghost-limit 8M");
        assert_eq!(check(&subject).result, Ok);
    }

    #[test]
    fn a_file_with_another_name_needs_link_remap() {
        let mut subject = Tree::new().fd(10, 3, "/tmp/x (deleted)", "").subject();
        subject.processes[0].descriptors[0].deleted = Some((5, 1));
        assert_eq!(check(&subject).result, Fail);
        subject.config = Config::parse("link-remap");
        assert_eq!(check(&subject).result, Ok);
    }

    #[test]
    fn a_mapped_program_that_was_replaced_counts() {
        let tree = Tree::new();
        tree.maps(10, "7f0000000000-7f0000400000 r-xp 00000000 fe:01 99 /usr/lib/libx.so (deleted)\n7f0000500000-7f0000600000 rw-s 00000000 00:01 5 /memfd:a (deleted)\n");
        let failed = check(&tree.subject());
        assert!(failed.result == Fail && failed.reason.contains("/usr/lib/libx.so (4.0 MiB mapped"), "{failed}");
    }

    #[test]
    fn limits_are_read_as_criu_reads_them() {
        assert_eq!(["512", "4K", "8m", "1G", "1T"].map(size), [Some(512), Some(4096), Some(8 << 20), Some(1 << 30), None]);
    }
}
